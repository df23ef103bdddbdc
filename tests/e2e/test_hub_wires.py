"""Five vendors' callbacks in over real sockets, every wire out: stored, delivered, verified, wire-true."""

from collections import defaultdict
from typing import Any

import msgspec
import pytest

import independent_signatures as independent
from e2e.folding import folded, read_log, routed
from e2e.hub import Hub
from e2e.objects import new_app, new_endpoint, new_source, new_subscription, now, steadfast
from e2e.receiver import Arrival, Receiver
from e2e.vendors import VENDORS, callback, documented
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.dialects import all_dialects
from northbound.model.app import Endpoint, Source
from northbound.model.log import Logged
from northbound.model.wire import Key, KeyKind
from northbound.testing.vectors import wire_text
from northbound.web.signing import new_certificate

pytestmark = pytest.mark.e2e

WIRES = ("standard", *VENDORS)
PROOFS = {
    "avd": {"content", "sender"},
    "aliyun_cvc": {"fresh"},
    "mpaas": {"content"},
    "aliyun_rtc": {"sender"},
    "anyrtc": {"fresh"},
}


class World:
    """Five sources, six endpoints, and what was sent in."""

    def __init__(self, hub: Hub, receiver: Receiver) -> None:
        self.hub = hub
        self.receiver = receiver
        self.app = new_app("wires")
        self.vendor_keys = {name: (Key(secret=f"key-in-{name}".encode()),) for name in VENDORS}
        self.vendor_keys["aliyun_cvc"] = (self._cvc_key(),)
        self.sources = {name: self._source(name) for name in VENDORS}
        self.endpoints = {name: self._endpoint(name) for name in WIRES}
        self.sent: dict[str, list[msgspec.Raw]] = defaultdict(list)

    def _cvc_key(self) -> Key:
        vendors = new_certificate(now(), now())
        self.receiver.files["/vendor.pem"] = vendors.pem.encode()
        return Key(kind=KeyKind.RSA, secret=vendors.secret, url=self.receiver.url("vendor.pem"))

    def _source(self, name: str) -> Source:
        source = new_source(self.app, name)
        source = msgspec.structs.replace(source, public_url=self.hub.intake_url(source))
        if name == "aliyun_cvc":
            options = {"certificate_urls": self.receiver.url(""), "require_signature": True}
            return msgspec.structs.replace(source, options=options)
        return msgspec.structs.replace(source, keys=self.vendor_keys[name])

    def _endpoint(self, name: str) -> Endpoint:
        own = {"keys": ()} if all_dialects()[name].key_scope == "app" else {}
        return new_endpoint(self.app, name, self.receiver.url(f"{name}-wires"), retry=steadfast(), **own)

    def send_all(self) -> None:
        objects = (self.app, *self.sources.values(), *self.endpoints.values())
        self.hub.set_up(*objects, new_subscription(self.app, *self.endpoints.values()))
        for name, source in self.sources.items():
            for kind, words in documented(name):
                response = self.hub.post(callback(self.hub, source, words, keys=self.vendor_keys[name]))
                assert response.status == 200, f"{name} {kind}: {response}"
                self.sent[name].append(words)
        self.hub.wait_idle()

    def keys_at(self, endpoint: Endpoint) -> tuple[Key, ...]:
        """Return what the customer verifies with."""
        match all_dialects()[endpoint.dialect].key_scope:
            case "app":
                return (Key(secret=self.app.app_key),)
            case "hub":
                urls = [one["url"] for one in self.hub.api("GET", "/api/v1/certificates")[1]["items"]]
                return tuple(Key(kind=KeyKind.CERTIFICATE, secret=self.pem(url), url=url) for url in urls)
            case _:
                return endpoint.keys

    def pem(self, url: str) -> bytes:
        return self.hub.api("GET", url.partition(self.hub.config.listen)[2])[1].encode()

    def options_at(self, endpoint: Endpoint) -> dict[str, Any]:
        is_cvc = endpoint.dialect == "aliyun_cvc"
        return {"certificate_urls": f"http://{self.hub.config.listen}/"} if is_cvc else {}

    def entries(self) -> list[Logged]:
        ours = {source.id for source in self.sources.values()}
        return [entry for entry in read_log(self.hub) if entry.source_id in ours]


@pytest.fixture(scope="module")
def world(hub: Hub, receiver: Receiver) -> World:
    world = World(hub, receiver)
    world.send_all()
    return world


def arrivals_of(world: World, wire: str) -> list[Arrival]:
    return world.receiver.firsts(f"{wire}-wires")


@pytest.mark.parametrize("name", VENDORS)
def test_every_kind_of_a_vendor_is_stored_as_it_came(world: World, name: str) -> None:
    """Each documented event is in the log once, in the vendor's own words, graded by what its signature proves."""
    entries = [one for one in world.entries() if one.source_id == world.sources[name].id and one.receipt_id]

    assert [wire_text(words) for words in world.sent[name]] == [wire_text(one.event.vendor) for one in entries]
    assert {one.proof.value for one in entries} <= PROOFS[name]


@pytest.mark.parametrize("name", VENDORS)
def test_the_request_itself_is_kept(world: World, name: str) -> None:
    """The receipts hold the requests as they came: they decode to the events of the log again."""
    reader = SqliteLogReader(world.hub.folder.events)
    entries = [one for one in world.entries() if one.source_id == world.sources[name].id and one.receipt_id]
    receipts = [reader.receipt(one.receipt_id or 0) for one in entries]
    reader.close()

    for entry, receipt in zip(entries, receipts, strict=True):
        assert receipt is not None
        (event,) = all_dialects()[name].decode(receipt.request, world.sources[name].options)
        assert entry.event == event


@pytest.mark.parametrize("wire", WIRES)
def test_what_must_be_said_in_a_wire_arrives_there_and_nothing_else(world: World, wire: str) -> None:
    """The arrivals are exactly what folding and routing the log by hand leads to, in each room's order."""
    wanted = routed(folded(world.hub, world.entries()))[world.endpoints[wire].id]
    found: dict[str, list[str]] = defaultdict(list)
    rooms = {identity: key for identity, _, _, _, key, _ in world.hub.deliveries(world.endpoints[wire])}
    for arrival in arrivals_of(world, wire):
        found[rooms[arrival.delivery]].append(arrival.delivery)

    assert wanted == dict(found)
    assert sum(len(ids) for ids in found.values()) > 10


@pytest.mark.parametrize("wire", WIRES)
def test_what_arrives_verifies_for_its_customer(world: World, wire: str) -> None:
    """Every request is signed: so says the dialect, and so says a check that shares no code with it."""
    endpoint = world.endpoints[wire]
    keys, options = world.keys_at(endpoint), world.options_at(endpoint)

    for arrival in arrivals_of(world, wire):
        proof = all_dialects()[wire].verify(arrival.request, keys, now(), options)
        assert proof != "none"
        signed = independent.Signed(
            arrival.request.url,
            {name.lower(): value for name, value in arrival.request.headers},
            arrival.request.body,
            [(key.kind.value, key.secret) for key in keys],
            options,
        )
        assert independent.CHECKS[wire](signed), arrival


@pytest.mark.parametrize("name", VENDORS)
def test_a_vendor_event_leaves_in_its_own_wire_as_it_came(world: World, name: str) -> None:
    """The same dialect in and out changes no member, number or order."""
    came = {entry.id: wire_text(entry.event.vendor) for entry in world.entries() if entry.event.dialect == name}
    left: dict[str, str] = {}
    for arrival in arrivals_of(world, name):
        event_id = arrival.delivery.removeprefix("dl_").removesuffix(f"_{world.endpoints[name].id}")
        if event_id in came:
            (event,) = all_dialects()[name].decode(arrival.request, {})
            left[event_id] = wire_text(event.vendor)

    assert came == left


def test_five_vendors_are_heard_in_every_wire(world: World) -> None:
    """Each wire says something of each vendor's rooms or recordings."""
    for wire in WIRES:
        rooms = {key.partition("/")[0] for _, _, _, _, key, _ in world.hub.deliveries(world.endpoints[wire])}
        assert {source.id for source in world.sources.values()} == rooms, wire


def test_what_a_wire_cannot_say_is_counted(world: World) -> None:
    """Losses and inventions are told by endpoint, kind and event type."""
    ours = [one.id for one in world.endpoints.values()]
    rows = world.hub.rows("deliveries", "SELECT DISTINCT endpoint_id, kind FROM losses")

    kinds = {(endpoint, kind) for endpoint, kind in rows if endpoint in ours}
    assert {"lost", "invented", "no_word"} == {kind for _, kind in kinds}
    assert (world.endpoints["standard"].id, "lost") not in kinds
