"""Receivers that fail, leave, lie and come back: order and ids hold, others do not notice."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from e2e.hub import Hub
from e2e.objects import new_app, new_endpoint, new_source, new_subscription, now, steadfast
from e2e.receiver import Arrival, Receiver, Reply, wait_until
from e2e.vendors import avd, callback
from northbound.dialects import all_dialects
from northbound.model.app import Endpoint, EndpointState, RetryPolicy, Source
from northbound.model.wire import Key

pytestmark = pytest.mark.e2e

KEYS = (Key(secret=b"k3y"),)
THREE = RetryPolicy(attempts=3, waits=(timedelta(seconds=2),), deadline=timedelta(seconds=3))


def set_up(
    hub: Hub, receiver: Receiver, name: str, *, wire: str = "standard", others: tuple[Endpoint, ...] = (), **more
) -> tuple[Source, Endpoint]:
    app = new_app(name)
    source = new_source(app, "avd", keys=KEYS)
    endpoint = new_endpoint(app, wire, receiver.url(f"{wire}-{name}"), **{"retry": steadfast(), **more})
    mine = tuple(replace(one, app_id=app.id) for one in others)
    hub.set_up(app, source, endpoint, *mine, new_subscription(app, endpoint, *mine))
    return source, endpoint


def says(text: str) -> bytes:
    return f'"{text}"'.encode()


def join(hub: Hub, source: Source, room: str, *users: str) -> None:
    for user in users:
        assert hub.post(callback(hub, source, avd("join", room, user))).status == 200


def people(arrivals: list[Arrival]) -> list[str]:
    return [all_dialects()["standard"].decode(one.request, {})[0].participant_id or "" for one in arrivals]


def states(hub: Hub, endpoint: Endpoint) -> list[str]:
    return [state for _, state, *_ in hub.deliveries(endpoint)]


def failures_at(hub: Hub, endpoint: Endpoint) -> list[tuple[str | None]]:
    """Return the class of failure of each try, oldest first."""
    return hub.rows(
        "deliveries",
        "SELECT failure FROM attempts JOIN deliveries ON deliveries.number = delivery WHERE endpoint_id = ?"
        " ORDER BY attempts.id",
        endpoint.id,
    )


def test_a_poisoned_head_holds_its_own_room_only(hub: Hub, receiver: Receiver) -> None:
    """D14: other rooms go on meanwhile; after the policy's tries it is parked, and its room goes on in order."""
    source, endpoint = set_up(hub, receiver, "poison", retry=replace(THREE, waits=(timedelta(seconds=15),)))
    name = "standard-poison"
    receiver.behave(name, lambda one: Reply(status=500, body=b"") if says("bad") in one.request.body else None)

    join(hub, source, "held", "bad", "u2", "u3")
    join(hub, source, "free", "u4", "u5", "u6")
    receiver.wait_for(name, 3)
    held_meanwhile = people(receiver.accepted(name))
    hub.wait_idle()

    assert held_meanwhile == ["u4", "u5", "u6"]
    assert people(receiver.accepted(name)) == ["u4", "u5", "u6", "u2", "u3"]
    assert [one.attempt for one in receiver.at(name) if says("bad") in one.request.body] == [1, 2, 3]
    assert ["dead", *["delivered"] * 5] == states(hub, endpoint)
    assert "gave up after attempt 3" in (hub.deliveries(endpoint)[0][5] or "")


def test_a_head_that_fails_too_long_is_set_aside(hub: Hub, receiver: Receiver) -> None:
    """After the lane's hold the room goes on, and the failing one is tried beside it until it succeeds."""
    source, endpoint = set_up(hub, receiver, "aside", lane_hold=timedelta(seconds=0.2))
    name = "standard-aside"
    receiver.behave(name, lambda one: Reply(status=500, body=b"") if says("bad") in one.request.body else None)

    join(hub, source, "r", "bad", "u2", "u3")
    receiver.wait_for(name, 2)
    receiver.behave(name, None)
    hub.wait_idle()

    assert people(receiver.accepted(name)) == ["u2", "u3", "bad"]
    assert hub.deliveries(endpoint)[0][2] == "aside"
    assert states(hub, endpoint) == ["delivered"] * 3


def test_an_endpoint_that_is_gone_stops_and_starts_again_in_order(hub: Hub, receiver: Receiver) -> None:
    """D9: 410 stops it, also over a restart; others go on; started by hand, nothing is skipped in silence."""
    other = new_endpoint(new_app("x"), "standard", receiver.url("standard-stays"), name="stays", retry=steadfast())
    source, endpoint = set_up(hub, receiver, "gone", others=(other,))
    receiver.fail("standard-gone", 410, times=1)

    join(hub, source, "r", "u1", "u2", "u3")
    receiver.wait_for("standard-stays", 3)
    hub.kill("delivery")
    hub.wait_ready()
    join(hub, source, "r", "u4")
    receiver.wait_for("standard-stays", 4)
    stopped = [people(receiver.at("standard-gone")), states(hub, endpoint)]
    reason = hub.rows("deliveries", "SELECT reason FROM stopped WHERE endpoint_id = ?", endpoint.id)
    command = hub.command(do="start_endpoint", endpoint_id=endpoint.id)
    receiver.wait_for("standard-gone", 3)
    hub.wait_idle()

    assert stopped == [["u1"], ["dead", "waiting", "waiting", "waiting"]]
    assert "410" in reason[0][0]
    assert people(receiver.accepted("standard-gone")) == ["u2", "u3", "u4"]
    assert hub.rows("deliveries", "SELECT 1 FROM stopped WHERE endpoint_id = ?", endpoint.id) == []
    assert len(hub.rows("deliveries", "SELECT 1 FROM commands_done WHERE id = ?", command)) == 1


def test_410_is_a_failure_like_others_where_the_owner_says_so(hub: Hub, receiver: Receiver) -> None:
    """D9: the setting to ignore."""
    source, endpoint = set_up(hub, receiver, "ignores", ignore_gone=True)
    receiver.fail("standard-ignores", 410, times=2)

    join(hub, source, "r", "u1", "u2")
    hub.wait_idle()

    assert [one.attempt for one in receiver.at("standard-ignores")] == [1, 2, 3, 1]
    assert states(hub, endpoint) == ["delivered"] * 2


def test_a_disabled_endpoint_resumes_in_order(hub: Hub, receiver: Receiver) -> None:
    """D15: what happens meanwhile waits, and comes in order when it is enabled."""
    source, endpoint = set_up(hub, receiver, "off")
    join(hub, source, "r", "u1")
    receiver.wait_for("standard-off", 1)
    hub.set_up(replace(endpoint, state=EndpointState.DISABLED))

    join(hub, source, "r", "u2", "u3", "u4")
    wait_until(lambda: len(states(hub, endpoint)) == 4, 10, "four deliveries")
    waiting = states(hub, endpoint)
    hub.set_up(endpoint)
    receiver.wait_for("standard-off", 4)

    assert waiting == ["delivered", "waiting", "waiting", "waiting"]
    assert people(receiver.at("standard-off")) == ["u1", "u2", "u3", "u4"]
    assert [one.prev for one in receiver.at("standard-off")] == [None, 1, 2, 3]


def test_what_waits_is_signed_by_the_key_of_the_moment_it_is_sent(hub: Hub, receiver: Receiver) -> None:
    """D13: moved and with another secret while retries wait, it goes to the new target, signed anew."""
    source, endpoint = set_up(hub, receiver, "moved")
    receiver.fail("standard-moved")
    join(hub, source, "r", "u1")
    wait_until(lambda: receiver.at("standard-moved"), 10, "a first try")
    fresh = (Key(id="two", secret=b"whsec_" + b"QUJD" * 8),)

    hub.set_up(replace(endpoint, url=receiver.url("standard-anew"), keys=fresh))
    (arrival,) = receiver.wait_for("standard-anew", 1)

    standard = all_dialects()["standard"]
    assert standard.verify(arrival.request, fresh, now(), {}) == "fresh"
    assert arrival.delivery == receiver.at("standard-moved")[0].delivery
    assert arrival.attempt > 1


def test_a_retry_keeps_its_id_and_renews_its_signature(hub: Hub, receiver: Receiver) -> None:
    """D11: an answer after the deadline counts as failed; the retry carries the same id and a signature of its own."""
    source, endpoint = set_up(hub, receiver, "late", retry=steadfast(deadline=0.3))
    delays = [1.2, 0.0]
    receiver.behave("standard-late", lambda _: Reply(delay=delays.pop(0) if delays else 0.0))

    join(hub, source, "r", "u1")
    wait_until(lambda: len(receiver.at("standard-late")) >= 2, 10, "two tries")
    hub.wait_idle()

    tries = sorted(receiver.at("standard-late"), key=lambda one: one.attempt)
    assert [one.attempt for one in tries][:2] == [1, 2]
    assert len({(one.delivery, one.request.header("webhook-id"), one.request.body) for one in tries}) == 1
    for one in tries:
        assert all_dialects()["standard"].verify(one.request, endpoint.keys, now(), {}) == "fresh"
    failures = failures_at(hub, endpoint)
    assert failures == [("timeout",), (None,)]


def test_the_body_of_a_200_decides_where_the_wire_says_so(hub: Hub, receiver: Receiver) -> None:
    """D10: a code that is not 0, and a body that cannot be read, are failures in mPaaS; plain dialects accept them."""
    other = new_endpoint(new_app("x"), "standard", receiver.url("standard-code"), name="code", retry=steadfast())
    source, endpoint = set_up(hub, receiver, "code", wire="mpaas", others=(other,))
    bodies = [b'{"code":7}', b"<html>", None]
    receiver.behave("mpaas-code", lambda _: Reply(body=bodies.pop(0) if bodies else None))
    receiver.behave("standard-code", lambda _: Reply(body=b'{"code":7}'))

    hub.post(
        callback(
            hub,
            source,
            avd(
                "start_record",
                "r",
                exporter_id="e1",
                event_type="success",
                exporter_type="mp4",
                start_time="1700000000000",
            ),
        )
    )
    hub.wait_idle()

    assert [one.attempt for one in receiver.at("mpaas-code")] == [1, 2, 3]
    assert [one.attempt for one in receiver.at("standard-code")] == [1]
    assert states(hub, endpoint) == ["delivered"]


@pytest.mark.parametrize(
    ("name", "url", "kind"),
    [
        ("inside", "http://127.0.0.1:{closed}/standard", "blocked_address"),
        ("metadata", "http://169.254.169.254/latest", "blocked_address"),
        ("spelled", "http://2130706433:80/", "blocked_address"),
        ("sent-on", "{receiver}", "redirect"),
    ],
)
def test_where_a_delivery_may_not_go(hub: Hub, receiver: Receiver, name: str, url: str, kind: str) -> None:
    """D3, D5: private addresses are refused at the connection, and a redirect is an answer, never followed."""
    target = url.format(closed=1, receiver=receiver.url(f"standard-{name}"))
    source, endpoint = set_up(hub, receiver, name, retry=THREE)
    hub.set_up(replace(endpoint, url=target))
    secret = receiver.url("standard-secret")
    receiver.fail(f"standard-{name}", 302, headers=(("location", secret),))

    join(hub, source, "r", "u1")
    hub.wait_idle()

    failures = failures_at(hub, endpoint)
    assert [(kind,)] * 3 == failures
    assert states(hub, endpoint) == ["dead"]
    assert receiver.at("standard-secret") == []


def test_an_answer_without_end_is_cut(hub: Hub, receiver: Receiver) -> None:
    """D2: the answer is read up to a cap, and the try recorded."""
    source, endpoint = set_up(hub, receiver, "endless", retry=THREE)
    receiver.behave("standard-endless", lambda _: Reply(body=b"x" * 3_000_000))

    join(hub, source, "r", "u1")
    hub.wait_idle()

    assert states(hub, endpoint) == ["dead"]
    assert failures_at(hub, endpoint) == [("reply_too_large",)] * 3


def test_a_replay_says_the_same_again_in_a_lane_of_its_own(hub: Hub, receiver: Receiver) -> None:
    """D17: same events, words and ids on the wire; carried out once; live deliveries of the room do not wait for it."""
    source, endpoint = set_up(hub, receiver, "replay")
    name = "standard-replay"
    began = now()
    join(hub, source, "r", "u1", "u2")
    hub.wait_idle()

    span = {"since": began.isoformat(), "until": now().isoformat()}
    command = hub.command(do="replay", endpoint_id=endpoint.id, **span)
    receiver.wait_for(name, 4)
    hub.kill("delivery")  # reads all commands again when it starts
    hub.wait_ready()
    join(hub, source, "r", "u3")
    receiver.wait_for(name, 5)
    hub.wait_idle()

    firsts = receiver.firsts(name)
    assert people(firsts) == ["u1", "u2", "u1", "u2", "u3"]
    assert len({one.request.header("webhook-id") for one in firsts}) == 3
    assert [firsts[0].delivery, firsts[1].delivery] == [one.delivery.removesuffix(f"@{command}") for one in firsts[2:4]]
    assert [lane for _, _, lane, *_ in hub.deliveries(endpoint)] == ["live", "live", "replay", "replay", "live"]
    assert [one.prev for one in (firsts[0], firsts[1], firsts[4])] == [None, 1, 2]


def test_dead_letters_come_back_on_request(hub: Hub, receiver: Receiver) -> None:
    """What was given up is kept, and sent when somebody asks."""
    source, endpoint = set_up(hub, receiver, "letters", retry=THREE)
    receiver.fail("standard-letters", times=3)
    join(hub, source, "r", "u1")
    hub.wait_idle()
    given_up = states(hub, endpoint)

    hub.command(do="replay", endpoint_id=endpoint.id, all_failed=True)
    receiver.wait_for("standard-letters", 1)
    hub.wait_idle()

    assert given_up == ["dead"]
    assert states(hub, endpoint) == ["dead", "delivered"]


def test_a_test_event_goes_the_way_of_all(hub: Hub, receiver: Receiver) -> None:
    """The command makes a well-formed event in the endpoint's wire, signed like others."""
    _, endpoint = set_up(hub, receiver, "probe", wire="mpaas")

    hub.command(do="test", endpoint_id=endpoint.id)
    (arrival,) = receiver.wait_for("mpaas-probe", 1)

    assert all_dialects()["mpaas"].verify(arrival.request, endpoint.keys, now(), {}) == "content"
