"""Who is sent an event, in which words, at which place: derived ids, the chain of places, losses told (laws 3, 5)."""

from itertools import product
from typing import Any, ClassVar

import msgspec
import pytest

from northbound.dialects import all_dialects
from northbound.dialects.base import Dialect, Options
from northbound.logic.route import (
    COMPILED_LONG,
    SHORT,
    Loss,
    RoutingTable,
    Said,
    build_table,
    compile_for,
    route,
    test_delivery,
)
from northbound.model.delivery import Delivery, Fill, Lane, View
from northbound.model.errors import InvalidInput
from northbound.model.event import Event, EventType, Media, Role
from northbound.testing.fakes import NOW, Folding, app, endpoint, event, folded, registry, source, subscription

T = EventType
DIALECTS = all_dialects()
JOINED = event(T.PARTICIPANT_JOINED, "a", when=1)


def routed(
    folding: Folding, table: RoutingTable, dialects: dict[str, Any] | None = None
) -> tuple[list[Delivery], list[Loss]]:
    """Route all steps as the stage does."""
    deliveries: list[Delivery] = []
    losses: list[Loss] = []
    sent: dict[tuple[str, str], int] = {}
    for step in folding.steps:
        if step.deliver:
            found, lost = route(
                step, app(), table, dialects or DIALECTS, lambda name, key=step.key: sent.get((name, key))
            )
            sent.update({(one.endpoint_id, step.key): one.seq for one in found})
            deliveries += found
            losses += lost
    return deliveries, losses


def table_of(*objects: Any) -> RoutingTable:
    return build_table(registry(app(), source(), *objects))


def rule(pattern: str, identity: str = "sub_1", **fields: Any) -> Any:
    return subscription(identity, pattern=pattern, **fields)


# --- ids and places --------------------------------------------------------------------------------------------------


def test_routing_twice_makes_the_same_deliveries():
    table = table_of(endpoint(), subscription())
    folding = folded([event(T.ROOM_OPENED), JOINED])

    assert routed(folding, table) == routed(folding, table)
    assert [one.id for one in routed(folding, table)[0]] == ["dl_ev_000000_ep_1", "dl_ev_000001_ep_1"]


def test_each_place_names_the_one_before_that_was_sent():
    """Law 5: a receiver proves that it missed nothing that matched."""
    table = table_of(endpoint(), rule('{"type": ["participant.joined", "participant.left"]}'))
    people = [event(kind, "a", when=when) for when, kind in enumerate([T.PARTICIPANT_JOINED, T.PARTICIPANT_LEFT] * 2)]
    deliveries, _ = routed(folded([event(T.ROOM_OPENED), *people]), table)

    assert [(one.prev, one.seq) for one in deliveries] == [(None, 2), (2, 3), (3, 4), (4, 5)]


def test_rooms_have_chains_of_their_own():
    table = table_of(endpoint(), subscription())
    folding = folded([event(T.ROOM_OPENED, room=room) for room in ("r1", "r2", "r1")])
    deliveries, _ = routed(folding, table)

    assert [(one.order_key, one.prev, one.seq) for one in deliveries] == [
        ("src_1//r1", None, 1),
        ("src_1//r2", None, 1),
        ("src_1//r1", 1, 2),
    ]


def test_several_requests_for_one_event_are_a_chain_too():
    """One medium a request: same event, same place, ids of their own."""
    table = table_of(endpoint(dialect="avd"), subscription())
    facts = {"media": (Media.AUDIO, Media.VIDEO)}
    deliveries, _ = routed(folded([event(T.TRACK_PUBLISHED, "a", track_id="t", facts=facts)]), table)

    assert [one.id for one in deliveries] == ["dl_ev_000000_ep_1", "dl_ev_000000_ep_1_1"]
    assert [(one.prev, one.seq) for one in deliveries] == [(None, 1), (1, 1)]


def test_a_delivery_says_where_it_belongs():
    (one,), _ = routed(folded([JOINED]), table_of(endpoint(dialect="avd"), subscription()))

    assert (one.dialect, one.subscription_id, one.source_id, one.event_id) == ("avd", "sub_1", "src_1", "ev_000000")
    assert (one.lane, one.event_type, one.created_at) == (Lane.LIVE, "participant.joined", NOW)


# --- who -------------------------------------------------------------------------------------------------------------


def test_one_delivery_per_endpoint_even_if_two_subscriptions_match():
    table = table_of(
        endpoint(),
        endpoint("ep_2"),
        rule('{"type": ["participant.joined"]}', "sub_1"),
        subscription("sub_2", "ep_1", "ep_2", "ep_1"),
    )
    deliveries, _ = routed(folded([JOINED]), table)

    assert [(one.endpoint_id, one.subscription_id) for one in deliveries] == [("ep_1", "sub_1"), ("ep_2", "sub_2")]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{}", 3),
        ('{"type": ["participant.left"]}', 1),
        ('{"type": [{"prefix": "participant."}]}', 2),
        ('{"type": ["room.closed"]}', 0),
        ('{"data": {"participant_id": ["a"]}}', 2),
        ('{"type": ["participant.joined"], "data": {"participant_id": ["b"]}}', 0),
        ('{"nbdialect": ["elsewhere"]}', 3),
        ('{"type": ["participant.joined"', 0),
        ('{"no such key": ["x"]}', 0),
        ("", 0),
    ],
)
def test_patterns_over_the_neutral_view(pattern: str, expected: int):
    """One that does not compile any more, an older rule, matches nothing and stops nobody."""
    folding = folded([event(T.ROOM_OPENED), JOINED, event(T.PARTICIPANT_LEFT, "a", when=2)])

    assert len(routed(folding, table_of(endpoint(), rule(pattern)))[0]) == expected
    assert len(routed(folding, table_of(endpoint("ep_2"), rule(pattern, "s"), subscription("t", "ep_2")))[0]) == 3


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("broadcaster", ["joined by b", "published by b", "left by b"]),
        ("audience", ["joined by a", "updated by b", "published by a", "left by a"]),
        ("unknown", ["joined by u", "published by u", "left by u"]),
    ],
)
def test_a_role_is_known_of_what_does_not_carry_it(role: str, expected: list[str]):
    """A leave and a publishing have the role that the room knows; a change of role has the new one."""
    people = {"b": {"role": Role.BROADCASTER}, "a": {"role": Role.AUDIENCE}, "u": {}}
    told = [event(T.ROOM_OPENED)]
    told += [event(T.PARTICIPANT_JOINED, one, when=1, facts=facts) for one, facts in people.items()]
    told += [event(T.TRACK_PUBLISHED, one, when=2, facts={"media": (Media.AUDIO,)}) for one in people]
    told += [event(T.PARTICIPANT_LEFT, one, when=3) for one in people]
    told += [event(T.PARTICIPANT_JOINED, "b", when=4, facts=people["b"])]
    told += [event(T.PARTICIPANT_UPDATED, "b", when=5, facts={"role": Role.AUDIENCE})]
    said: list[str] = []
    for step in folded(told).steps:
        seen = Said(step, app(), DIALECTS).as_matched("standard")
        if seen.get("nbrole") == role:
            said.append(f"{seen['type'].partition('.')[2]} by {seen['data']['participant_id']}")
    pattern = f'{{"type": ["participant.left"], "nbrole": ["{role}", {{"exists": false}}]}}'

    assert sorted(said) == sorted([*expected, *(["joined by b"] if role == "broadcaster" else [])])
    assert len(routed(folded(told), table_of(endpoint(), rule(pattern)))[0]) == 1


def test_a_room_has_no_role():
    (step,) = folded([event(T.ROOM_OPENED)]).steps

    assert "nbrole" not in Said(step, app(), DIALECTS).as_matched("standard")
    assert (
        len(routed(folded([event(T.ROOM_OPENED)]), table_of(endpoint(), rule('{"nbrole": [{"exists": false}]}')))[0])
        == 1
    )


def test_the_types_index_asks_only_rules_that_can_match():
    table = table_of(endpoint(), rule('{"type": ["room.closed"]}', "a"), rule("{}", "b"))

    def asked(source_id: str, kind: str) -> list[str]:
        return [one.subscription.id for one in table.candidates(source_id, lambda _: kind)]

    assert asked("src_1", "room.closed") == ["a", "b"]
    assert asked("src_1", "room.opened") == ["b"]
    assert asked("src_2", "room.closed") == []


def test_a_foreign_cloud_event_is_found_by_its_own_type():
    words = msgspec.Raw(b'{"specversion":"1.0","id":"1","source":"x","type":"com.acme.thing"}')
    folding = folded([event(T.UNKNOWN, dialect="standard", vendor=words)])

    assert len(routed(folding, table_of(endpoint(), rule('{"type": ["com.acme.thing"]}')))[0]) == 1
    assert len(routed(folding, table_of(endpoint(), rule('{"type": ["unknown"]}')))[0]) == 0


@pytest.mark.parametrize(
    ("kind", "room", "lane"),
    [(T.UNKNOWN, None, Lane.LOOSE), (T.UNKNOWN, "r1", Lane.LIVE), (T.STATS_DAILY, None, Lane.LIVE)],
)
def test_only_what_no_room_and_no_kind_can_order_is_loose(kind: EventType, room: str | None, lane: Lane):
    """ADR 11; places are told all the same."""
    words = msgspec.Raw(b'{"id":"1","source":"x","type":"com.acme.thing"}')
    folding = folded([event(kind, room=room, dialect="standard", vendor=words)] * 2)

    found, _ = routed(folding, table_of(endpoint(), subscription()))

    assert [(one.lane, one.prev, one.seq) for one in found] == [(lane, None, 1), (lane, 1, 2)]


def test_a_rule_on_a_bus_sees_the_event_as_its_source_would_encode_it():
    """Ruling 8: the default bus of the cloud vendor speaks that vendor's form."""
    said = Said(folded([JOINED]).steps[0], app(), DIALECTS).as_matched("aliyun_cvc")
    assert said is not None
    pattern = msgspec.json.encode({"type": [said["type"]]}).decode()
    table = table_of(endpoint(), rule(pattern, view="aliyun_cvc"))
    deliveries, _ = routed(folded([JOINED, event(T.SERVER_UNREACHABLE)]), table)

    assert [one.event_type for one in deliveries] == ["participant.joined"]
    assert not routed(folded([JOINED]), table_of(endpoint(), rule(pattern)))[0]


def test_sources_apps_and_states_limit_a_subscription():
    folding = folded([JOINED])
    for other in (
        subscription(source_ids=("src_2",)),
        subscription(state="disabled"),
        subscription(app_id="app_2"),
        subscription("sub_1", "ep_gone"),
        subscription("sub_1", "ep_other"),
    ):
        table = table_of(endpoint(), endpoint("ep_other", app_id="app_2"), other)
        assert routed(folding, table) == ([], [])
    assert routed(folding, table_of(endpoint(), subscription(source_ids=("src_1",))))[0]


def test_the_table_knows_the_app_of_a_source_and_survives_an_odd_zone():
    table = build_table(registry(app(time_zone="Mars/Olympus"), source()))

    assert (table.zones["app_1"].key, table.app_of("src_1"), table.app_of("src_9")) == (
        "UTC",
        table.apps["app_1"],
        None,
    )


# --- what is lost ----------------------------------------------------------------------------------------------------


def test_what_a_wire_has_no_word_for_is_told():
    deliveries, losses = routed(
        folded([event(T.SERVER_UNREACHABLE)]), table_of(endpoint(dialect="mpaas"), subscription())
    )

    assert deliveries == []
    assert [(one.kind, one.what) for one in losses] == [("no_word", "server.unreachable")]


STORED = (T.RECORDING_UPLOADED, T.RECORDING_BACKED_UP, T.RECORDING_COMPLETED, T.RECORDING_TRANSCODED)


@pytest.mark.parametrize(("first", "second"), list(product(STORED, STORED)))
def test_where_files_are_is_told_once_and_the_second_word_is_lost_with_a_reason(first: EventType, second: EventType):
    """Ruling 25: 31 and 32 exclude each other; other recordings and other wires are not concerned."""
    table = table_of(endpoint(dialect="anyrtc"), endpoint("ep_2"), subscription("sub_1", "ep_1", "ep_2"))
    other = event(second, recording_id="r2")
    folding = folded([event(first, recording_id="rec"), event(second, recording_id="rec"), other])
    deliveries, losses = routed(folding, table)

    assert [one.event_id for one in deliveries if one.endpoint_id == "ep_1"] == ["ev_000000", "ev_000002"]
    assert len([one for one in deliveries if one.endpoint_id == "ep_2"]) == 3
    (told,) = [(one.kind, one.event_type) for one in losses if "exclude each other" in one.what]
    assert told == ("lost", second.value)
    assert routed(folding, table) == (deliveries, losses)


def test_a_finish_that_failed_is_an_error_and_no_word_of_where_files_are():
    table = table_of(endpoint(dialect="anyrtc"), subscription())
    failed = event(T.RECORDING_COMPLETED, recording_id="rec", facts={"success": False})
    folding = folded([failed, event(T.RECORDING_UPLOADED, recording_id="rec"), failed])
    deliveries, _ = routed(folding, table)
    said = [msgspec.json.decode(one.view.words)["eventType"] for one in deliveries]

    assert said == [1, 31, 1]


def test_what_came_in_the_wire_itself_is_not_judged():
    """A vendor that breaks its own rule is passed on word by word."""
    table = table_of(endpoint(dialect="anyrtc"), subscription())
    events = [
        event(kind, recording_id="rec", dialect="anyrtc", vendor=msgspec.Raw(b'{"eventType":31}')) for kind in STORED
    ]
    deliveries, losses = routed(folded(events), table)

    assert (len(deliveries), losses) == (4, [])


def test_what_is_lost_and_invented_is_told_once_each():
    facts = {"media": (Media.AUDIO, Media.VIDEO), "resolution": "640x480"}
    one = event(T.TRACK_PUBLISHED, "a", track_id="t", session_id="s", facts=facts, unmapped=("odd",))
    deliveries, losses = routed(folded([one]), table_of(endpoint(dialect="avd"), subscription()))
    told = [(loss.kind, loss.what) for loss in losses]

    assert len(deliveries) == 2
    assert {("lost", "session_id"), ("lost", "vendor.odd")} <= set(told)
    assert len(told) == len(set(told))
    assert {loss.endpoint_id for loss in losses} == {"ep_1"}


def test_its_own_dialect_loses_nothing():
    words = msgspec.Raw(b'{"event":"join","room_id":"r1","user_id":"a"}')
    deliveries, losses = routed(
        folded([event(T.PARTICIPANT_JOINED, "a", dialect="avd", vendor=words)]),
        table_of(endpoint(dialect="avd"), subscription()),
    )

    assert (len(deliveries), losses, bytes(deliveries[0].view.words)) == (1, [], bytes(words))


class Breaking(Dialect):
    """A dialect with a fault."""

    name: ClassVar[str] = "breaking"

    def view(self, event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        raise KeyError("a fault")


def test_a_dialect_that_breaks_costs_its_endpoint_the_event_and_nobody_else():
    dialects: dict[str, Any] = {**DIALECTS, "breaking": Breaking()}
    objects = (endpoint("ep_1", dialect="breaking"), endpoint("ep_2"), endpoint("ep_3", dialect="uninstalled"))
    table = table_of(
        *objects, subscription("sub_1", "ep_1", "ep_2", "ep_3"), subscription("sub_2", "ep_1", view="breaking")
    )
    deliveries, losses = routed(folded([JOINED]), table, dialects)

    assert [one.endpoint_id for one in deliveries] == ["ep_2"]
    assert {(loss.endpoint_id, loss.kind, loss.what) for loss in losses} == {
        ("ep_1", "failed", "breaking: KeyError"),
        ("ep_3", "failed", "uninstalled: KeyError"),
    }


def test_words_are_said_once_however_many_endpoints_want_them():
    said = Said(folded([JOINED]).steps[0], app(), DIALECTS)

    assert said.in_dialect("avd", {}) is said.in_dialect("avd", {})
    assert said.in_dialect("avd", {"release": "2023-03-17"}) is not said.in_dialect("avd", {})


# --- test events -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(DIALECTS) - {"janus"}))
def test_a_test_event_is_well_formed_in_every_wire(name: str):
    target = endpoint(dialect=name)
    (one, *_) = test_delivery(target, app(), DIALECTS, NOW)

    assert (one.endpoint_id, one.order_key) == ("ep_1", "test/ep_1")
    assert DIALECTS[name].encode([one.view], target).url.startswith(target.url)


def test_a_wire_without_events_of_its_own_has_no_test_event():
    with pytest.raises(InvalidInput, match="janus has no event"):
        test_delivery(endpoint(dialect="janus"), app(), DIALECTS, NOW)


test_delivery.__test__ = False  # type: ignore[attr-defined] - a function of ours, not a test


# --- a rule over the endpoint's own wire, for a time -----------------------------------------------------------------

RECORDED = [
    event(T.RECORDING_STARTED, recording_id="rec"),
    event(T.RECORDING_SLICED, recording_id="rec"),
    event(T.TRACK_STALLED, "a", recording_id="rec", facts={"media": (Media.AUDIO, Media.VIDEO)}),
    event(T.RECORDING_STOPPED, recording_id="rec"),
]


def numbered(deliveries: list[Delivery]) -> list[tuple[int, int]]:
    words = [msgspec.json.decode(one.view.words) for one in deliveries]
    return [(one["eventType"], one["payload"]["sequence"]) for one in words]


@pytest.mark.parametrize(
    ("ticked", "told"),
    [
        ([40, 41, 42, 43, 44], [(40, 0), (42, 1), (43, 2), (44, 3), (41, 4)]),
        ([41], [(41, 4)]),
        ([43], [(43, 2)]),
        ([44, 41], [(44, 3), (41, 4)]),
    ],
)
def test_a_number_counts_what_is_filtered_out_too(ticked: list[int], told: list[tuple[int, int]]):
    """Ruling 29: whoever ticks less sees gaps, not other numbers; of two requests each is looked at alone."""
    pattern = msgspec.json.encode({"productId": [3], "eventType": ticked}).decode()
    table = table_of(endpoint(dialect="anyrtc"), rule(pattern, view="anyrtc"))

    deliveries, _ = routed(folded(RECORDED), table)

    assert told == numbered(deliveries)


def test_two_paths_are_told_the_same_words():
    """D20: same words, so receivers drop repeats by their own ids; each delivery names its path."""
    paths = [endpoint(f"ep_{path}", dialect="anyrtc", path=path) for path in (1, 2)]
    table = table_of(*paths, subscription("sub_1", "ep_1", "ep_2"))

    deliveries, _ = routed(folded(RECORDED[:1]), table)

    assert [one.path for one in deliveries] == [1, 2]
    assert deliveries[0].view == deliveries[1].view
    assert deliveries[0].id != deliveries[1].id


def test_a_subscription_sees_what_is_recorded_while_it_is_in_force():
    """What replaces another begins where that ends: each event is seen by one of them."""
    folding = folded([event(T.ROOM_OPENED), JOINED])
    first, second = (step.logged.recorded_at for step in folding.steps)
    assert first < second
    table = table_of(
        endpoint("ep_1"),
        endpoint("ep_2"),
        subscription("sub_1", "ep_1", ends_at=second),
        subscription("sub_2", "ep_2", begins_at=second),
    )

    deliveries, _ = routed(folding, table)

    assert [one.endpoint_id for one in deliveries] == ["ep_1", "ep_2"]


def test_few_long_patterns_are_kept_compiled():
    """One takes up to 700 KiB: twenty thousand of them, made by changing one rule, would take all memory."""
    short = '{"type":["room.opened"]}'
    long = [f'{{"type":["{"x" * SHORT}{number}"]}}' for number in range(COMPILED_LONG + 1)]
    kept, first = compile_for("standard", short), compile_for("standard", long[0])
    assert compile_for("standard", long[0]) is first
    for one in long[1:]:
        compile_for("standard", one)

    assert compile_for("standard", long[0]) is not first
    assert compile_for("standard", short) is kept
