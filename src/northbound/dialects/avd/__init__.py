"""3T (叁体) AVD media_server and master: one event per request, in the query of a GET, or a POST form or JSON object.

`check_code` is HMAC-SHA256 over the other non-empty values, ordered by parameter name and joined with "|". It covers
neither names nor time: a captured request can be sent again. The wire carries no event time, and only `trace_id`
(newer releases) identifies an event; `token` is a credential and never does (ruling 9).
Page: 北向接口使用说明 (seed 004), sections 4 and 5; rulings 30-33. Slips of the page are never sent (docs/vendors).
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import ClassVar

import msgspec

from northbound.dialects.avd import listing
from northbound.dialects.avd.reading import (
    as_text,
    check_code,
    facts_of,
    is_covered,
    is_token,
    matches,
    params_of,
    read_request,
    require,
    unmapped,
    wire_members,
)
from northbound.dialects.avd.saying import WORDS, own_views
from northbound.dialects.avd.tables import MEANT, RELEASES, TYPES, T, before, in_release
from northbound.dialects.base import (
    Dialect,
    Option,
    Options,
    Params,
    members,
    raw,
    sending_key,
    setting,
    vendor_retries,
    write_params,
)
from northbound.model.app import Endpoint, RetryPolicy, RoomList, Source
from northbound.model.delivery import Fill, View
from northbound.model.errors import DecodeError, SignatureError
from northbound.model.event import Event, EventType
from northbound.model.room import PeoplePage, RoomPage
from northbound.model.wire import Key, KeyKind, Needs, Proof, Request, Response


class Avd(Dialect):
    """The `avd` wire, both directions."""

    name: ClassVar[str] = "avd"
    types: ClassVar[frozenset[EventType]] = frozenset(TYPES.values()) | {
        T.RECORDING_COMPLETED,
        T.RECORDING_UPLOADED,
        T.RECORDING_ERRORED,
    }
    kinds: ClassVar[tuple[tuple[str, ...], ...]] = (tuple(TYPES),)
    fresh: ClassVar[frozenset[str]] = frozenset({"check_code", "token"})
    known: ClassVar[frozenset[str]] = MEANT
    secrets: ClassVar[frozenset[str]] = frozenset({"check_code", "token", "authorization", "cookie"})
    methods: ClassVar[tuple[str, ...]] = ("GET", "POST")
    ack_budget_ms: ClassVar[int] = 200
    retry: ClassVar[RetryPolicy] = RetryPolicy(attempts=4, waits=(timedelta(seconds=5),), deadline=timedelta(seconds=3))
    options: ClassVar[tuple[Option, ...]] = (
        Option(name="release", default=RELEASES[-1], choices=RELEASES, says="send exactly this release's events"),
        Option(name="post_body", default="form", choices=("form", "json"), says="body of a POST", sure="inferred"),
        Option(name="trace_id", default=True, says="events carry trace_id; older builds have none", sure="inferred"),
        Option(
            name="check_code_encoding", default="hex", choices=("hex", "base64"), says="of check_code", sure="inferred"
        ),
        Option(
            name="separator_in_values",
            default="refuse",
            choices=("refuse", "accept"),
            says="a signed value that holds '|' can be read in two ways",
        ),
        vendor_retries(default=False, sure="inferred"),
    )

    def verify(self, request: Request, keys: Sequence[Key], now: datetime, options: Options) -> Proof | Needs:
        if not keys:
            return Proof.NONE
        params = read_request(request)
        given = dict(params)
        tokens = [key for key in keys if key.kind is KeyKind.TOKEN]
        if tokens and not any(is_token(given.get("token", ""), key) for key in tokens):
            raise SignatureError("token is missing or not the one of this source")
        shared = [key for key in keys if key.kind is not KeyKind.TOKEN]
        if not shared:
            return Proof.SENDER
        if setting(self, options, "separator_in_values") == "refuse" and any("|" in value for _, value in params):
            raise SignatureError("a signed value holds '|', so check_code could mean two things; send it without")
        code = given.get("check_code", "")
        if not any(matches(code, check_code(params, key.secret)) for key in shared):
            raise SignatureError("check_code is missing or does not match the parameters; check the key on both sides")
        names = given.keys() - self.fresh
        signed = frozenset(name for name in names if given[name])
        return Proof.CONTENT if names <= MEANT and is_covered(given, signed, options) else Proof.SENDER

    def decode(self, request: Request, options: Options) -> list[Event]:
        words = {name: value for name, value in wire_members(request).items() if name not in self.fresh}
        wire = {name: value for name, value in read_request(request) if name not in self.fresh}
        word = wire.get("event", "")
        if not word:
            raise DecodeError("the parameter event is missing")
        kind = TYPES.get(word, T.UNKNOWN)
        require(wire, kind)
        return [
            Event(
                type=kind,
                dialect=self.name,
                room_id=wire.get("room_id") or None,
                participant_id=wire.get("user_id") or None,
                track_id=wire.get("stream_id") or None,
                recording_id=wire.get("exporter_id") or None,
                dedupe_key=wire.get("trace_id") or None,
                facts=(facts := facts_of(wire, word)),
                vendor=raw(words),
                unmapped=tuple(unmapped(wire, word, facts)),
            )
        ]

    def kind(self, words: msgspec.Raw) -> str:
        return as_text(members(words).get("event", msgspec.Raw(b'""')))

    def view(self, event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        if event.dialect == self.name:
            return own_views(event, setting(self, options, "release"))
        say = WORDS.get(event.type)
        views = () if say is None else say(event, fill, options)
        return tuple(view for view in views if in_release(self.kind(view.words), setting(self, options, "release")))

    def encode(self, views: Sequence[View], endpoint: Endpoint) -> Request:
        (view,) = views
        words = members(view.words)
        scheme, separator, _ = endpoint.url.partition("://")
        url = endpoint.url if separator else f"http://{scheme}"
        if endpoint.method == "GET" or before(setting(self, endpoint.options, "release"), "2024-03-15"):
            return Request(method="GET", url=_with_query(url, params_of(words)))
        if setting(self, endpoint.options, "post_body") == "json":
            return Request(
                method="POST", url=url, headers=(("content-type", "application/json"),), body=msgspec.json.encode(words)
            )
        form = (("content-type", "application/x-www-form-urlencoded"),)
        return Request(method="POST", url=url, headers=form, body=write_params(params_of(words)).encode())

    def sign(self, request: Request, endpoint: Endpoint, now: datetime, entropy: bytes) -> Request:
        token = sending_key(endpoint.keys, KeyKind.TOKEN, now)
        if token is not None:
            request = _adding(request, "token", token.secret.decode())
        shared = sending_key(endpoint.keys, KeyKind.SHARED, now)
        if shared is None:
            return request
        code = check_code(read_request(request), shared.secret)
        in_hex = setting(self, endpoint.options, "check_code_encoding") == "hex"
        return _adding(request, "check_code", code.hex() if in_hex else b64encode(code).decode())

    room_fields: ClassVar[Mapping[str, str]] = listing.FIELDS

    def ask_rooms(self, room_list: RoomList, page: int) -> Request:
        return listing.ask(room_list, page)

    def read_rooms(self, response: Response, source: Source, room_list: RoomList, taken_at: datetime) -> RoomPage:
        return listing.read_rooms(response, source, room_list, taken_at)

    def ask_people(self, room_list: RoomList, room_id: str, page: int) -> Request:
        return listing.ask(room_list, page, room_id)

    def read_people(self, response: Response, room_list: RoomList, taken_at: datetime) -> PeoplePage:
        return listing.read_people(response, room_list, taken_at)


def _with_query(url: str, params: Params) -> str:
    joint = "&" if "?" in url else "?"
    return f"{url}{joint}{write_params(params)}"


def _adding(request: Request, name: str, value: str) -> Request:
    if request.method == "GET":
        return msgspec.structs.replace(request, url=_with_query(request.url, ((name, value),)))
    if request.content_type == "application/json":
        words = members(request.body) | {name: raw(value)}
        return msgspec.structs.replace(request, body=msgspec.json.encode(words))
    return msgspec.structs.replace(request, body=request.body + b"&" + write_params(((name, value),)).encode())


DIALECT = Avd()
