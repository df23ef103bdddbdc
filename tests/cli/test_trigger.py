"""Fire events of every kind: well-formed, signed, about whom was asked."""

import json
import re
from datetime import UTC, datetime

import pytest
from running import run, sink_beside

from northbound.cli.events import Who, all_kinds, find_kinds, make_view
from northbound.cli.saying import endpoint_at
from northbound.dialects import all_dialects, dialect_named
from northbound.model.errors import InvalidInput
from northbound.model.event import Event, EventType
from northbound.model.wire import Key, Proof
from northbound.testing.sink import Mount

EVERY_KIND = [(name, kind) for name, dialect in sorted(all_dialects().items()) for kind in all_kinds(dialect)]
KEY = Key(secret=b"user:password")


@pytest.mark.parametrize(("name", "kind"), EVERY_KIND)
def test_every_kind_of_every_wire_can_be_sent(name: str, kind: str) -> None:
    """What is made is read as that kind again, and verifies."""
    dialect = dialect_named(name)
    _, _, view = make_view(dialect, kind, Who(room="room-7", user="42"), {})
    now = datetime.now(UTC)
    keys = () if dialect.key_scope == "hub" else (KEY,)
    endpoint = endpoint_at("http://sink.test/callback", dialect, options={}, keys=keys)

    request = dialect.sign(dialect.encode([view], endpoint), endpoint, now, bytes(32))

    assert kind in [dialect.kind(event.vendor) for event in dialect.decode(request, {})]
    assert not keys or dialect.verify(request, keys, now, {}) is not Proof.NONE


def test_an_event_is_about_whom_was_asked() -> None:
    dialect = dialect_named("avd")
    _, _, view = make_view(dialect, "leave", Who(room="room-7", user="42", name="Shan"), {})
    (event,) = dialect.decode(dialect.encode([view], endpoint_at("http://sink.test/", dialect, options={})), {})

    assert (event.room_id, event.participant_id, event.facts.name) == ("room-7", "42", "Shan")


@pytest.mark.parametrize(
    ("name", "kind"), [one for one in EVERY_KIND if one[0] in ("avd", "mpaas", "anyrtc", "standard")]
)
def test_two_events_are_never_the_same_one(name: str, kind: str) -> None:
    """Not even within one millisecond, by whatever ids the wire tells a repeat."""
    dialect = dialect_named(name)
    endpoint = endpoint_at("http://sink.test/", dialect, options={})
    keys: set[str] = set()
    for _ in range(2):
        _, _, view = make_view(dialect, kind, Who(), {})
        (event,) = dialect.decode(dialect.encode([view], endpoint), {})
        assert event.dedupe_key is not None
        keys.add(re.sub(r"^\d+\|", "", event.dedupe_key))  # without the time that stands in front

    assert len(keys) == 2


def test_what_a_wire_counts_within_its_recording_is_the_first_of_a_new_one() -> None:
    """A second notice is no repeat of the first, and leaves no gap behind it."""
    dialect = dialect_named("anyrtc")
    endpoint = endpoint_at("http://sink.test/", dialect, options={})
    found: list[Event] = []
    for _ in range(2):
        _, _, view = make_view(dialect, "recording/40", Who(), {})
        found += dialect.decode(dialect.encode([view], endpoint), {})

    assert [one.sequence for one in found] == [0, 0]
    assert found[0].recording_id != found[1].recording_id


def test_kinds_are_found_by_their_end_and_by_our_types() -> None:
    assert find_kinds(dialect_named("mpaas"), "3") == ["room/3"]
    assert find_kinds(dialect_named("avd"), "LEAVE") == ["leave"]
    assert find_kinds(dialect_named("aliyun_rtc"), EventType.PARTICIPANT_LEFT.value) == ["Leave"]
    with pytest.raises(InvalidInput, match="it has: "):
        find_kinds(dialect_named("avd"), "nothing")


def test_trigger_tells_the_answer_and_what_it_means() -> None:
    with sink_beside(Mount(path="", dialect="avd", keys=(Key(secret=b"k"),))) as receiver:
        good = run("trigger", "--dialect", "avd", "--event", "leave", "--url", receiver.url, "--secret", "k", "--json")
        bad = run("trigger", "--dialect", "avd", "--event", "leave", "--url", receiver.url, "--secret", "other")

    assert good.exit_code == 0, good.output
    assert json.loads(good.stdout)["accepted"] is True
    assert bad.exit_code == 1
    assert "not accepted" in bad.stdout
    assert (receiver.tallies[""].verified, receiver.tallies[""].refused) == (1, 1)


def test_trigger_knows_every_wire(subtests: pytest.Subtests) -> None:
    names = [name for name, dialect in all_dialects().items() if dialect.key_scope != "hub"]
    mounts = tuple(Mount(path=f"/{name}", dialect=name, keys=(KEY,)) for name in names)
    with sink_beside(*mounts) as receiver:
        for name in names:
            with subtests.test(name):
                kind = all_kinds(dialect_named(name))[0]
                url = f"{receiver.url}/{name}"
                done = run("trigger", "--dialect", name, "--event", kind, "--url", url, "--secret", KEY.secret.decode())

                assert done.exit_code == 0, done.output
                assert receiver.tallies[f"/{name}"].verified == 1


def test_trigger_at_nobody_is_unreachable() -> None:
    done = run("trigger", "--dialect", "avd", "--event", "leave", "--url", "http://127.0.0.1:1/x")

    assert done.exit_code == 3
    assert "connection refused" in done.stderr


def test_trigger_lists_the_kinds() -> None:
    done = run("trigger", "--dialect", "mpaas", "--list", "--json")

    assert "room/1" in json.loads(done.stdout)
