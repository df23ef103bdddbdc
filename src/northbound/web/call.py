"""One call of the API: who calls, with what, and what the hub lays at its handler's hand."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

from northbound.config import Config
from northbound.model.account import AccessKey, Account, Bus, Once
from northbound.model.app import ApiKey, App, Endpoint, Source, Subscription
from northbound.model.call_app import CallApp
from northbound.model.certificate import Certificate
from northbound.model.errors import Conflict, InvalidInput, NotFound, Stale, Unconditional
from northbound.model.event import Port
from northbound.model.notices import NoticeSettings
from northbound.model.registry import Drop, Kind, Object, Put
from northbound.model.server import Incident, Server
from northbound.model.wire import Key
from northbound.ports import (
    AlarmView,
    AuditTrail,
    Clock,
    CommandStore,
    DeliveryView,
    Entropy,
    FigureView,
    History,
    KeyStore,
    LogView,
    NonceStore,
    ObjectStore,
    RoomView,
    Sender,
)
from northbound.stages.statistics import StatisticView
from northbound.web.access import Access

Query = TypeVar("Query")
Body = TypeVar("Body")
Given = ParamSpec("Given")
Found = TypeVar("Found")

KINDS = {
    App: "app",
    Source: "source",
    Endpoint: "endpoint",
    Subscription: "subscription",
    Account: "account",
    AccessKey: "access key",
    Bus: "event bus",
    CallApp: "call app",
    NoticeSettings: "notice settings",
    Server: "server",
    Incident: "incident",
    Certificate: "certificate",
}
PAGE = 500  # objects in one read of the registry
ONCE_KEPT = timedelta(days=1)  # how long it is known what an Idempotency-Key did, where the id does not tell
OTHER_BODY = "this Idempotency-Key was used with another body; choose a new one"
STREAMS = 64  # open event streams, all callers together
ANYBODY = ApiKey(id="", role="anybody", app_id="", name="")  # who calls what needs no key; sees no app


@dataclass(frozen=True, kw_only=True)
class Hub:
    """What the process gives its handlers; made once."""

    config: Config
    objects: ObjectStore
    keys: KeyStore
    commands: CommandStore
    trail: AuditTrail
    nonces: NonceStore
    log: LogView
    deliveries: DeliveryView
    rooms: RoomView
    figures: FigureView
    statistics: StatisticView
    alarms: AlarmView
    history: History
    clock: Clock
    entropy: Entropy
    ask: Callable[..., Awaitable[Any]]  # (process, what, further words by name): raises StoreFailed when it is away
    certificate_at: Callable[[str], Awaitable[Key]]  # fetched guarded, at a bounded pace; raises HubError
    description: Callable[[], bytes]  # the OpenAPI document
    metrics: Callable[[], str]
    count: Callable[[str, int], None]  # (operation, status)
    access: Access
    port_reasons: Callable[[str], Mapping[Port, str | None]] = lambda _: {}  # of a server: why each port did not answer
    sender: Sender | None = None  # the guarded way out, for calls that ask somebody else
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    streams: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(STREAMS))

    def every(self, kind: type[Kind], owner: str | None = None) -> Iterator[Kind]:
        """Yield all objects of a kind, of one owner or all."""
        after = ""
        while found := self.objects.find(kind, after=after, app_id=owner, limit=PAGE):
            yield from (one for _, one in found)
            after = found[-1][1].id


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a handler answers: a struct that becomes JSON, bytes as they are, or a stream."""

    content: Any = None
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    media_type: str = "application/json"
    stream: AsyncIterator[bytes] | None = None


@dataclass(frozen=True, kw_only=True)
class Call(Generic[Query, Body]):
    """One call. A key that is limited to an app sees nothing of the others: what is not its own is not found."""

    hub: Hub
    operation: str
    key: ApiKey
    path: Mapping[str, str]
    query: Query
    body: Body
    fingerprint: str  # of the body's bytes
    if_match: str | None = None
    once_key: str | None = None  # Idempotency-Key
    last_event_id: str | None = None  # of a stream that reconnects

    @property
    def who(self) -> str:
        """The caller as the audit names it."""
        return self.key.id

    @property
    def is_admin(self) -> bool:
        """Whether the caller may change things and see secrets' places."""
        return self.key.role == "admin"

    # --- what the caller may see ----------------------------------------------------------------

    def own(self, kind: type[Kind], identity: str) -> tuple[int, Kind]:
        """Return (revision, object) when it exists and the caller may see it; raise `NotFound` in either case."""
        try:
            revision, one = self.hub.objects.get(kind, identity)
        except NotFound:
            not_found(KINDS[kind], identity)
        if not self.may_see(self._app_of(one)):
            not_found(KINDS[kind], identity)
        return revision, one

    def _app_of(self, one: Object) -> str:
        if isinstance(one, AccessKey | Bus):
            one = self.hub.objects.get(Account, one.account_id)[1]
        if isinstance(one, Certificate):  # the hub's own
            return ""
        return one.id if isinstance(one, App) else one.app_id

    def may_see(self, app_id: str | None) -> bool:
        """Tell whether the caller's key covers an app."""
        return self.key.app_id is None or self.key.app_id == app_id

    def app_filter(self, app_id: str | None) -> str | None:
        """Return the app that a list is limited to, None for all."""
        if app_id is not None:
            self.own(App, app_id)
        return app_id or self.key.app_id

    def source_ids(self, source_id: str | None = None) -> tuple[str, ...] | None:
        """Return the sources that a list is limited to, None for all; deleted ones are seen by unlimited keys."""
        if self.key.app_id is None:
            return None if source_id is None else (source_id,)
        if source_id is not None:
            return (self.own(Source, source_id)[1].id,)
        return tuple(one.id for one in self.hub.every(Source, self.key.app_id))

    def endpoint_ids(self, endpoint_id: str | None = None) -> tuple[str, ...] | None:
        """Return the endpoints that a list is limited to, None for all."""
        if self.key.app_id is None:
            return None if endpoint_id is None else (endpoint_id,)
        if endpoint_id is not None:
            return (self.own(Endpoint, endpoint_id)[1].id,)
        return tuple(one.id for one in self.hub.every(Endpoint, self.key.app_id))

    # --- changing ---------------------------------------------------------------------------------

    def revision_for(self, revision: int) -> int:
        """Return the revision to replace; raise unless If-Match names it, so that no editor overwrites another."""
        if self.if_match is None:
            raise Unconditional("send If-Match with the ETag you read (or * to overwrite whatever is there)")
        if self.if_match.strip() == "*":
            return revision
        given = self.if_match.strip().removeprefix("W/").strip('"')
        if not (given.isascii() and given.isdigit() and len(given) < 18):
            raise InvalidInput('If-Match is an ETag of this API, such as "3"', field="If-Match")
        if int(given) != revision:
            raise Stale("it was changed meanwhile; read it again and repeat the change")
        return revision

    def put(self, one: Object, revision: int | None = None) -> int:
        """Create or replace an object in the caller's name."""
        return self.hub.objects.put(one, who=self.who, now=self.hub.clock.now(), revision=revision)

    def drop(self, kind: type[Any], identity: str, revision: int) -> Answer:
        """Remove an object, when If-Match (if given) names its revision."""
        if self.if_match is not None:
            self.revision_for(revision)
        self.hub.objects.drop(kind, identity, who=self.who, now=self.hub.clock.now())
        return Answer(status=204)

    # --- once -------------------------------------------------------------------------------------

    def new_id(self, prefix: str) -> str:
        """Return an id for what is being made: random, or derived from the Idempotency-Key.

        A derived id needs no table to be remembered in, and is stored in the very transaction that creates.
        """
        if self.once_key is None:
            return f"{prefix}_{self.hub.entropy.bytes(12).hex()}"
        return self._stem(prefix) + self.fingerprint[:8]

    def change(self, puts: Sequence[Put], drops: Sequence[Drop] = (), *, noting: dict[str, str]) -> None:
        """Change objects in the caller's name, *noting* in the same transaction what an Idempotency-Key did."""
        once = None
        if self.once_key is not None:
            if self.done_before() is not None:
                raise Conflict("this Idempotency-Key was in use until now; send the call again to have its answer")
            once = Once(
                account_id=self.key.id,
                action=self.operation,
                token=self.once_key,
                fingerprint=self.fingerprint,
                answer=noting,
            )
        self.hub.objects.change(puts, drops, who=self.who, now=self.hub.clock.now(), once=once)

    def done_before(self) -> dict[str, str] | None:
        """Return what an earlier call with this Idempotency-Key noted; raise `Conflict` if that had another body."""
        if self.once_key is None:
            return None
        since = self.hub.clock.now() - ONCE_KEPT
        once = self.hub.objects.once(self.key.id, self.operation, self.once_key, since)
        if once is not None and once.fingerprint != self.fingerprint:
            raise Conflict(OTHER_BODY, field="Idempotency-Key")
        return None if once is None else once.answer

    def made_before(self, kind: type[Kind], prefix: str) -> tuple[int, Kind] | None:
        """Return what an earlier call with this Idempotency-Key made; raise `Conflict` if that had another body."""
        if self.once_key is None:
            return None
        stem = self._stem(prefix)
        for revision, one in self.hub.objects.find(kind, after=stem, limit=1):
            if one.id.startswith(stem):
                self.check_same(one.id, prefix)
                return revision, one
        return None

    def check_same(self, identity: str, prefix: str) -> None:
        """Refuse an Idempotency-Key that was used for another body."""
        if identity != self._stem(prefix) + self.fingerprint[:8]:
            raise Conflict(OTHER_BODY, field="Idempotency-Key")

    def stem(self, prefix: str) -> str | None:
        """Return what ids made with this Idempotency-Key begin with, None without one."""
        return None if self.once_key is None else self._stem(prefix)

    def _stem(self, prefix: str) -> str:
        words = "\0".join((self.key.id, self.operation, self.once_key or ""))
        return f"{prefix}_{hashlib.sha256(words.encode()).hexdigest()[:16]}"

    # --- asking -------------------------------------------------------------------------------------

    async def read(self, view: Callable[Given, Found], *args: Given.args, **kwargs: Given.kwargs) -> Found:
        """Run a read of a view beside the loop, so that a slow one holds nobody up."""
        return await asyncio.to_thread(view, *args, **kwargs)


def not_found(noun: str, identity: str) -> NoReturn:
    """Refuse in the same words whether it does not exist or belongs to somebody else."""
    raise NotFound(f"there is no {noun} {identity!r}")


def etag(revision: int) -> tuple[str, str]:
    """Return the header that names a revision."""
    return ("etag", f'"{revision}"')
