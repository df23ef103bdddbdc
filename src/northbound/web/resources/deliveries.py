"""Deliveries, their tries, and dead letters."""

from typing import Any

from northbound.model.app import Endpoint
from northbound.model.delivery import Delivery, DeliveryState
from northbound.model.errors import Conflict, NotFound
from northbound.ports import DeliveryFilter
from northbound.web.call import Answer, Call, not_found
from northbound.web.resources.replays import enqueue
from northbound.web.resources.showing import show_attempt, show_delivery
from northbound.web.shapes.deliveries import AttemptShown, Count, DeadLetterCount, DeadLetterQuery, DeliveryQuery, Skip
from northbound.web.shapes.pages import NEWEST, Nothing, Page, page_of, read_number
from northbound.web.shapes.setup import Accepted

UNKNOWN = ""  # the dialect of an endpoint that was deleted: whatever any dialect calls a secret is masked


async def listed(call: Call[DeliveryQuery, Nothing]) -> Answer:
    """List deliveries, newest first."""
    query = call.query
    before = read_number(query.cursor, NEWEST)
    wanted = DeliveryFilter(
        endpoint_ids=call.endpoint_ids(query.endpoint_id), state=query.state, event_id=query.event_id
    )
    found = await call.read(call.hub.deliveries.deliveries, wanted, before, query.limit)
    items = [show_delivery(number, one) for number, one in found]
    return Answer(content=page_of(items, query.limit, items[-1].number if items else 0))


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show a delivery with its words."""
    number, delivery, dialect = await _own(call)
    return Answer(content=show_delivery(number, delivery, dialect or UNKNOWN))


async def attempts(call: Call[Nothing, Nothing]) -> Answer:
    """List the tries of a delivery: what was sent and what came back."""
    number, _, dialect = await _own(call)
    rows = await call.read(call.hub.deliveries.attempts, number)
    items = [show_attempt(row, dialect, with_body=call.is_admin) for row in rows]
    return Answer(content=Page[AttemptShown](items=items))


async def dead(call: Call[DeadLetterQuery, Nothing]) -> Answer:
    """List dead letters, oldest first."""
    query = call.query
    after = read_number(query.cursor, 0)
    found = await call.read(call.hub.deliveries.dead, call.endpoint_ids(query.endpoint_id), after, query.limit)
    items = [show_delivery(number, one) for number, one in found]
    return Answer(content=page_of(items, query.limit, items[-1].number if items else 0))


async def dead_count(call: Call[DeadLetterCount, Nothing]) -> Answer:
    """Count dead letters."""
    ids = call.endpoint_ids(call.query.endpoint_id)
    return Answer(content=Count(count=await call.read(call.hub.deliveries.count, ids, None)))


async def skip(call: Call[Nothing, Skip]) -> Answer:
    """Ask for a delivery that waits to be cancelled, so that its room goes on."""
    reason = call.body.reason or "no reason was given"
    return await _ask(call, {"do": "skip", "reason": reason})


async def resend(call: Call[Nothing, Nothing]) -> Answer:
    """Ask for a delivery that waits for its next attempt to be sent now."""
    return await _ask(call, {"do": "resend"})


async def _ask(call: Call[Any, Any], command: dict[str, Any]) -> Answer:
    number, delivery, _ = await _own(call)
    if delivery.state is not DeliveryState.WAITING:
        raise Conflict(f"delivery {number} is {delivery.state.value}; what ended is sent again by a replay")
    app_id = _app_of(call, delivery)
    command_id = enqueue(call, command | {"number": number}, app_id)
    return Answer(content=Accepted(command_id=command_id), status=202)


def _app_of(call: Call[Any, Any], delivery: Delivery) -> str | None:
    try:
        return call.hub.objects.get(Endpoint, delivery.endpoint_id)[1].app_id
    except NotFound:
        return None


async def _own(call: Call[Any, Any]) -> tuple[int, Delivery, str | None]:
    """Return the delivery that the path names, with its endpoint's dialect while that exists."""
    text = call.path["number"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
    found = await call.read(call.hub.deliveries.numbered, [number])
    if not found:
        not_found("delivery", text)
    delivery = found[0][1]
    try:
        endpoint = call.hub.objects.get(Endpoint, delivery.endpoint_id)[1]
    except NotFound:
        endpoint = None
    if not call.may_see(endpoint.app_id if endpoint is not None else None):
        not_found("delivery", text)
    return number, delivery, endpoint.dialect if endpoint is not None else None
