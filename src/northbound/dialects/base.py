"""The one protocol of a dialect, and the few tools all dialects share.

A dialect is pure: it reads bytes and returns values, without I/O, clock or randomness. To add one, write
`dialects/<name>.py` ending in `DIALECT = <Class>()` and `vectors/<name>/*.json`; nothing else is edited.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol, runtime_checkable
from urllib.parse import quote_from_bytes, unquote_to_bytes
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from northbound.model.app import Endpoint, RetryPolicy, RoomList, Source
from northbound.model.delivery import Fill, Verdict, View
from northbound.model.errors import DecodeError, HubError, InvalidInput, Overloaded, SignatureError, StoreFailed
from northbound.model.event import Event, EventType, Traits
from northbound.model.room import PeoplePage, RoomPage
from northbound.model.wire import Key, KeyKind, Needs, Proof, Request, Response

Params = tuple[tuple[str, str], ...]
Options = Mapping[str, Any]
RAW_NULL = msgspec.Raw(b"null")


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One setting of a dialect on a source or endpoint; `sure` is documented, inferred or ours."""

    name: str
    default: str | int | bool
    says: str
    choices: tuple[str, ...] = ()
    sure: str = "ours"


class HeaderSet(msgspec.Struct, frozen=True, kw_only=True):
    """Signed headers that do not cover the body: which set (never shown), its time for people, the message's own id."""

    id: str
    shown: str
    message: str


class Dialect(Protocol):
    """One vendor's wire, both directions. See each attribute; methods without I/O, deterministic."""

    name: ClassVar[str]
    types: ClassVar[frozenset[EventType]]  # what the wire has words for
    kinds: ClassVar[tuple[tuple[str, ...], ...]]  # the wire's own event names, in the page's groups
    spellings: ClassVar[Mapping[str, str]] = {}  # other spellings of kinds that rules may name, by spelling
    fresh: ClassVar[frozenset[str]] = frozenset()  # wire fields that are new on each attempt (send time, signature)
    secrets: ClassVar[frozenset[str]] = frozenset({"authorization", "cookie"})  # headers, parameters: masked if shown
    known: ClassVar[frozenset[str]] = frozenset()  # the pages' own words without paths; empty: nothing is news
    batch_max: ClassVar[int] = 1
    options: ClassVar[tuple[Option, ...]] = ()
    retry: ClassVar[RetryPolicy] = RetryPolicy()  # ruling 4
    ack_budget_ms: ClassVar[int] = 3000  # ruling 5
    methods: ClassVar[tuple[str, ...]] = ("POST",)
    traits: ClassVar[Traits] = Traits()
    key_scope: ClassVar[str] = "endpoint"  # whose keys sign: the endpoint's, the app's key, or the hub's certificate

    def verify(self, request: Request, keys: Sequence[Key], now: datetime, options: Options) -> Proof | Needs:
        """Tell what the signature of *request* proves, or what must be fetched first; raise `SignatureError`."""
        ...

    def decode(self, request: Request, options: Options) -> list[Event]:
        """Read the events of a verified *request*; an empty list is a vendor's test message; raise `DecodeError`."""
        ...

    def header_set(self, request: Request, events: Sequence[Event]) -> HeaderSet | None:
        """Tell what would verify another body as well, of a request and its events; None where the body is covered."""
        return None

    def ack(self, request: Request, error: HubError | None) -> Response:
        """Answer *request* in the vendor's style: stored, or refused because of *error*."""
        status, _ = refusal(error)
        return Response.json(status, {"code": 0, "message": "ok"} if error is None else error_words(error))

    def kind(self, words: msgspec.Raw) -> str:
        """Name the wire's event (one of `kinds`, or anything else the wire says) that *words* hold."""
        ...

    def view(self, event: Event, fill: Fill, options: Options) -> tuple[View, ...]:
        """Say *event* in this wire's words: a view for each request it takes, none when it has no word for it.

        Several only where the wire says one thing at a time (3T: one medium a request).
        """
        ...

    def unsaid(self, event: Event, fill: Fill) -> str | None:
        """Say why there is no view of *event* although the wire has words for it; None: it has no word."""
        return None

    def encode(self, views: Sequence[View], endpoint: Endpoint) -> Request:
        """Build the request for *views* (one, or up to `batch_max` of one room), without fresh fields."""
        ...

    def sign(self, request: Request, endpoint: Endpoint, now: datetime, entropy: bytes) -> Request:
        """Add what is new on each attempt: send time and signature by *endpoint*'s keys; *entropy* is 32 bytes."""
        return request

    def judge(self, request: Request, response: Response) -> Verdict:
        """Decide whether *response* means accepted; the default is any 2xx."""
        return judge_status(response, range(200, 300))


class ProbeDialect(Protocol):
    """Optional power: the wire has a test message that a receiver must answer before it is enabled."""

    def probe(self, endpoint: Endpoint, entropy: bytes) -> Request:
        """Build the test message, unsigned."""
        ...


@runtime_checkable
class SnapshotDialect(Protocol):
    """Optional power: the vendor can be asked which rooms are open and who is in them (rulings 34, 35)."""

    room_fields: ClassVar[Mapping[str, str]]  # our names of what is asked and answered -> the wire's

    def ask_rooms(self, room_list: RoomList, page: int) -> Request:
        """Ask for a page (from 1) of the open rooms."""
        ...

    def read_rooms(self, response: Response, source: Source, room_list: RoomList, taken_at: datetime) -> RoomPage:
        """Read such a page; raise `DecodeError` for what is none."""
        ...

    def ask_people(self, room_list: RoomList, room_id: str, page: int) -> Request:
        """Ask for a page (from 1) of the people in one room."""
        ...

    def read_people(self, response: Response, room_list: RoomList, taken_at: datetime) -> PeoplePage:
        """Read such a page; raise `DecodeError` for what is none."""
        ...


# --- options ---------------------------------------------------------------------------------------------------------


def vendor_retries(*, default: bool, sure: str) -> Option:
    """Return the option that says whether what is answered 503 comes again: what does not is refused last (I14)."""
    says = "whether the vendor sends again what was answered 503; callbacks that do not come again are refused last"
    return Option(name="vendor_retries", default=default, says=says, sure=sure)


def sends_again(dialect: Dialect, options: Options) -> bool:
    """Tell whether a refused callback of a source comes again; a wire without the option does so by its own design."""
    return "vendor_retries" not in {option.name for option in dialect.options} or bool(
        setting(dialect, options, "vendor_retries")
    )


def setting(dialect: Dialect, options: Options, name: str) -> Any:
    """Return option *name* of *dialect* from *options*, or its default."""
    if name in options:
        return options[name]
    return next(option.default for option in dialect.options if option.name == name)


def check_options(dialect: Dialect, options: Options) -> None:
    """Refuse unknown option names and values outside the choices, naming what is allowed."""
    known = {option.name: option for option in dialect.options}
    for name, value in options.items():
        option = known.get(name)
        if option is None:
            allowed = ", ".join(sorted(known)) or "none"
            raise InvalidInput(f"{dialect.name} has no option {name!r}; it has: {allowed}", field=f"options.{name}")
        if option.choices and value not in option.choices:
            raise InvalidInput(f"option {name} is one of: {', '.join(option.choices)}", field=f"options.{name}")
        if not option.choices and type(value) is not type(option.default):
            wanted = type(option.default).__name__
            raise InvalidInput(f"option {name} is a {wanted}", field=f"options.{name}")
        if name == "zone" and value and zone_named(str(value)) is None:
            raise InvalidInput("option zone is the name of a time zone, such as Asia/Shanghai", field="options.zone")


def zone_named(name: str) -> ZoneInfo | None:
    """Return the time zone of that name, None when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder's name
        return None


# --- reading ---------------------------------------------------------------------------------------------------------


def read_params(text: str | bytes) -> Params:
    """Read `a=1&b=2` with + as space, strictly: bad percent-encoding or non-UTF-8 raise `DecodeError`."""
    raw = text.encode("latin-1", "strict") if isinstance(text, str) and text.isascii() else text
    if isinstance(raw, str):
        raise DecodeError("the query holds characters that must be percent-encoded")
    pairs = [part.partition(b"=") for part in raw.split(b"&") if part]
    return tuple([(_unquote(name), _unquote(value)) for name, _, value in pairs])


_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def _unquote(raw: bytes) -> str:
    raw = raw.replace(b"+", b" ")
    if b"%" in raw:
        if _BAD_ESCAPE.search(raw):
            raise DecodeError("bad percent-encoding: % must be followed by two hex digits")
        raw = unquote_to_bytes(raw)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise DecodeError("parameters must be UTF-8, percent-encoded") from None


def write_params(params: Iterable[tuple[str, str]]) -> str:
    """Write parameters percent-encoded by RFC 3986 (space as %20)."""
    return "&".join(f"{percent(name)}={percent(value)}" for name, value in params)


def percent(text: str) -> str:
    """Percent-encode *text* as UTF-8, keeping only the RFC 3986 unreserved characters."""
    return quote_from_bytes(text.encode(), safe="-_.~")


def read_json(body: bytes) -> Any:
    """Parse *body* strictly; raise `DecodeError` for what two parsers could read in two ways.

    Refused: repeated keys, NaN and infinities, lone surrogates, trailing bytes, excessive depth. A UTF-8 byte-order
    mark is skipped. Integers of any size stay exact.
    """
    body = without_mark(body)
    try:
        value = msgspec.json.decode(body)
        # What we would write repeats no key: the same text, white space apart, is proof enough and much cheaper.
        if msgspec.json.format(body, indent=-1) != msgspec.json.encode(value):
            json.loads(body, object_pairs_hook=_unique)
    except msgspec.DecodeError as error:
        raise DecodeError(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise DecodeError("the body is not JSON we can read: nested too deeply") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise DecodeError(f"the body is not JSON: {error}") from None
    return value


def without_mark(body: bytes) -> bytes:
    """Return *body* without a leading UTF-8 byte-order mark and surrounding white space."""
    return body.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key is repeated in one object")
    return members


def read_object(body: bytes) -> dict[str, Any]:
    """Parse *body* strictly as a JSON object."""
    value = read_json(body)
    if not isinstance(value, dict):
        raise DecodeError("the body must be a JSON object")
    return value


def members(words: msgspec.Raw | bytes) -> dict[str, msgspec.Raw]:
    """Split a JSON object into its members, each as exact JSON text, in order."""
    return msgspec.json.decode(words, type=dict[str, msgspec.Raw])


def raw(value: Any) -> msgspec.Raw:
    """Return *value* as compact JSON text."""
    return msgspec.Raw(msgspec.json.encode(value))


def text(value: Any) -> str | None:
    """Return a wire value as text: None stays None, numbers as digits, blank becomes None."""
    if value is None or isinstance(value, bool | dict | list):
        return None
    return str(value) or None


def integer(value: Any) -> int | None:
    """Return a wire value as an integer when it is one (or digits in a string), else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.isascii() and value.strip().removeprefix("-").isdigit() and len(value) < 20:
        return int(value)
    return None


def from_ms(value: Any) -> datetime | None:
    """Return Unix milliseconds as an aware UTC datetime; None when it is not a plausible time."""
    number = integer(value)
    return None if number is None else _from_seconds(number // 1000, number % 1000 * 1000)


def from_seconds(value: Any) -> datetime | None:
    """Return Unix seconds as an aware UTC datetime; None when it is not a plausible time."""
    number = integer(value)
    return None if number is None else _from_seconds(number, 0)


def _from_seconds(seconds: int, microseconds: int) -> datetime | None:
    if not 0 <= seconds < 253402300800:  # year 10000
        return None
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)


def to_ms(moment: datetime) -> int:
    """Return *moment* as Unix milliseconds."""
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * 1000 + moment.microsecond // 1000


def to_seconds(moment: datetime) -> int:
    """Return *moment* as whole Unix seconds."""
    return int(moment.timestamp())


def time_key(moment: datetime | None, key: str) -> str:
    """Return a dedupe key that starts with the wire's own time, so that keys append in order (law 1)."""
    return key if moment is None else f"{to_ms(moment):013d}|{key}"


# --- writing ---------------------------------------------------------------------------------------------------------


def own_view(event: Event) -> tuple[View, ...]:
    """Return the words exactly as they came: the view of an event in its own dialect."""
    return (View(words=event.vendor),)


_OURS_ONLY = frozenset({"salvaged", "pending", "connection_id"})


class Composer:
    """Pick words for a foreign event and keep the account: what was read is carried, what was made up is invented.

    Whatever of the event was never read is lost. Use once per view.
    """

    def __init__(self, event: Event, fill: Fill) -> None:
        self.event = event
        self.fill = fill
        self._read: set[str] = set()
        self._lost: list[str] = []
        self._invented: list[str] = []

    def take(self, name: str) -> Any:
        """Return the event's field *name* (`room_id`, ..., `occurred_at`) and count it as carried."""
        self._read.add(name)
        return getattr(self.event, name)

    def fact(self, name: str) -> Any:
        """Return the fact *name* and count it as carried."""
        self._read.add(f"facts.{name}")
        return getattr(self.event.facts, name)

    def need(self, word: str, value: Any, instead: Any) -> Any:
        """Return *value*, or *instead* when it is None or empty, noting wire word *word* as invented (ruling 2)."""
        if value is not None and value != ():
            return value
        self._invented.append(word)
        return instead

    def invent(self, word: str, value: Any) -> Any:
        """Return *value* for a word that no foreign event can hold, noting it as invented."""
        self._invented.append(word)
        return value

    def lose(self, name: str, note: str) -> None:
        """Note that *name* is carried only in part, e.g. `facts.reason` as the coarse `passive`."""
        self._lost.append(f"{name} ({note})")

    def view(self, words: Mapping[str, Any]) -> View:
        """Close the account and return the view of *words* (members that are None are left out)."""
        kept = {name: value for name, value in words.items() if value is not None}
        return View(words=raw(kept), lost=(*self._never_read(), *self._lost), invented=tuple(self._invented))

    def _never_read(self) -> list[str]:
        event = self.event
        names = ("scope", "room_id", "participant_id", "session_id", "room_session_id", "track_id", "recording_id")
        fields = [name for name in (*names, "occurred_at", "sequence") if getattr(event, name) is not None]
        facts = [
            f"facts.{name}"
            for name, value in msgspec.structs.asdict(event.facts).items()
            if value is not None and value != () and name not in _OURS_ONLY
        ]
        vendor = [f"vendor.{name}" for name in event.unmapped]
        return [name for name in (*fields, *facts, *vendor) if name not in self._read]


def sending_key(keys: Iterable[Key], kind: KeyKind, now: datetime) -> Key | None:
    """Return the key of *kind* to sign with at *now*: of the valid ones the newest, of equals the first (ruling 6)."""
    valid = [key for key in keys if key.kind is kind and key.is_valid(now)]
    return max(valid, key=lambda key: (key.valid_from is not None, key.valid_from or now), default=None)


# --- answering and judging -------------------------------------------------------------------------------------------

REFUSALS: dict[type[HubError], int] = {SignatureError: 403, DecodeError: 400, Overloaded: 503, StoreFailed: 503}


def refusal(error: HubError | None) -> tuple[int, str]:
    """Return the HTTP status and short word for *error*; 200 for None; 503 for whatever should be tried again."""
    if error is None:
        return 200, "ok"
    status = next((status for kind, status in REFUSALS.items() if isinstance(error, kind)), 503)
    return status, error.code


def error_words(error: HubError) -> dict[str, Any]:
    """Return the neutral error body: non-zero code, the stable word, a sentence that says what to do."""
    return {"code": 1, "error": error.code, "message": error.message}


def judge_status(response: Response, accepted: Iterable[int]) -> Verdict:
    """Judge by status alone; 410 is gone; Retry-After is passed on for a refusal."""
    if response.status in accepted:
        return Verdict(accepted=True)
    retry_after = response.header("retry-after") if response.status in (429, 503) else None
    reason = f"the receiver answered {response.status}"
    return Verdict(accepted=False, reason=reason, gone=response.status == 410, retry_after=retry_after)
