"""Put events on a bus, for both of EventBridge's doors: checked, stored by the intake process, answered after that."""

from collections.abc import Sequence
from typing import Any

import msgspec

from northbound.dialects import dialect_named
from northbound.dialects.base import Options
from northbound.doors.events import (
    PutError,
    Words,
    as_put,
    bus_named,
    check_event,
    identity,
    put_key,
    source_of,
)
from northbound.doors.rpc import RpcError
from northbound.logic.customers import source_options
from northbound.logic.entry import check_identifiers, write_event
from northbound.model.app import Source
from northbound.model.errors import DecodeError, StoreFailed
from northbound.model.event import Event
from northbound.model.log import Appended, Receipt
from northbound.model.wire import Proof, Request
from northbound.web.doors.buses import get_bus
from northbound.web.doors.customer import Customer

CONFLICT = PutError(
    code="EventIdConflict",
    message="another event with this source and id was put on the bus before; it is kept, and this one is not taken",
)


class PutEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one event: `trace_id` is its id in the hub, which a trace is asked by; `error` when refused."""

    event_id: str
    trace_id: str = ""
    error: PutError | None = None

    @property
    def words(self) -> dict[str, Any]:
        """The entry as both doors answer it."""
        found = {"EventId": self.event_id, "TraceId": self.trace_id}
        if self.error is None:
            return found
        return found | {"ErrorCode": self.error.code, "ErrorMessage": self.error.message}


def put_answer(entries: Sequence[PutEntry]) -> dict[str, Any]:
    """Return `FailedEntryCount` and `EntryList` as both doors answer them."""
    failed = sum(entry.error is not None for entry in entries)
    return {"FailedEntryCount": failed, "EntryList": [entry.words for entry in entries]}


async def put_events(
    by: Customer,
    events: Sequence[Words],
    *,
    request: Request,
    proof: Proof,
    address: str = "",
    bus_name: str = "",
) -> list[PutEntry]:
    """Put *events* on the one bus that they (or *bus_name*) name; each gets its entry once all good ones are on disk.

    *request* is the call as it came, *proof* what its signature proved, *address* where it came from. A repeat of a
    (source, id) is told as what it repeats. Raise `RpcError` when the call is refused as a whole: also when there is
    no good event in it, so that nobody takes it for stored.
    """
    bus = get_bus(by, bus_named(events, bus_name))
    source = by.hub.objects.get(Source, bus.source_id)[1]
    options = source_options(source, {by.account.app_id: by.account})
    found: list[PutError | Event] = [
        check_event(one) or _decoded(as_put(one, by.account, bus, by.now, address), source, options) for one in events
    ]
    good = [one for one in found if isinstance(one, Event)]
    if not good and isinstance(found[0], PutError):
        raise RpcError(found[0].code, found[0].message, 409)
    receipt = Receipt(source_id=source.id, received_at=by.now, request=request, proof=proof)
    stored = msgspec.convert(await by.hub.ask("intake", "put", receipt=receipt, events=good), Appended)
    places = iter(stored.places)
    entries: list[PutEntry] = []
    for words, one in zip(events, found, strict=True):
        place = next(places) if isinstance(one, Event) else None
        error = one if isinstance(one, PutError) else CONFLICT if place is None else None
        entries.append(PutEntry(event_id=identity(words), trace_id=place or "", error=error))
    if all(entry.error is CONFLICT for entry in entries):
        raise RpcError(CONFLICT.code, CONFLICT.message, 409)
    return entries


def _decoded(content: bytes, source: Source, options: Options) -> Event | PutError:
    """Return an event as the bus's dialect reads it, remembered by source and id."""
    dialect = dialect_named(source.dialect)
    try:
        (event,) = dialect.decode(Request(method="POST", url="", body=content), options)
        check_identifiers(event)
    except DecodeError as error:
        return PutError(code="JsonAttributeInvalid", message=error.message)
    words = msgspec.json.decode(content, type=Words)
    event = msgspec.structs.replace(event, dedupe_key=put_key(identity(words), source_of(words)))
    try:
        write_event(event)
    except StoreFailed as error:
        return PutError(code="JsonAttributeInvalid", message=error.message)
    return event
