"""Check stored requests once more with the keys of today: after a key or URL was put right, or when one is in doubt."""

from northbound.dialects import dialect_named
from northbound.logic.keys import verifying_keys
from northbound.logic.verify import Checked, check_again, keys_of_today
from northbound.model.app import App, Source
from northbound.model.errors import Conflict, HubError, NotFound
from northbound.model.log import Receipt
from northbound.model.wire import Needs
from northbound.web.call import Answer, Call, not_found
from northbound.web.resources.events import own_event
from northbound.web.resources.showing import show_request
from northbound.web.shapes.events import Verification, Verified
from northbound.web.shapes.pages import NEWEST, Nothing
from northbound.web.told import as_told

Plain = Call[Nothing, Nothing]


async def event(call: Plain) -> Answer:
    """Check the requests that brought an event, its first and the repeats."""
    logged = await own_event(call, call.path["id"])
    receipts = await call.read(call.hub.log.receipts, logged)
    if not receipts:
        raise Conflict("this event has no request of its own: it was concluded from another, or its request is erased")
    source = _source(call, logged.source_id)
    return Answer(content=Verification(items=[await _verified(call, *one, source) for one in receipts]))


async def refused(call: Plain) -> Answer:
    """Check a request that was refused."""
    text = call.path["id"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else NEWEST
    found = await call.read(call.hub.log.quarantined, call.source_ids(), number + 1, 1)
    if not found or found[0].id != number:
        not_found("refused request", text)
    receipt = found[0].receipt
    source = _source(call, receipt.source_id)
    return Answer(content=Verification(items=[await _verified(call, number, receipt, source)]))


def _source(call: Plain, source_id: str) -> Source:
    try:
        return call.own(Source, source_id)[1]
    except NotFound:
        raise Conflict("the source of this request is deleted, and its keys with it") from None


async def _verified(call: Plain, number: int, receipt: Receipt, source: Source) -> Verified:
    dialect = dialect_named(source.dialect)
    request = as_told(receipt.request, source, call.hub.config)
    keys = verifying_keys(source, call.own(App, source.app_id)[1], dialect)
    usable = keys_of_today(keys, call.hub.clock.now())
    if keys and not usable:
        found: Checked | Needs = Checked(reason="every key of this source has expired; add a valid one")
    else:
        found = check_again(request, dialect, usable, receipt.received_at, source.options)
    if isinstance(found, Needs):
        try:
            usable.append(await call.hub.certificate_at(found.url))
            found = check_again(request, dialect, usable, receipt.received_at, source.options)
        except HubError as error:
            found = Checked(reason=error.message)
    if isinstance(found, Needs):
        found = Checked(reason="the signature needs a certificate that could not be had")
    return Verified(
        id=number,
        received_at=receipt.received_at,
        proof_then=receipt.proof,
        proof=found.proof,
        key_ids=[key.id for key in found.keys if key.id],
        certificate_urls=[key.url for key in found.keys if key.url and not key.id],
        reason=found.reason,
        request=show_request(request, source.dialect),
    )
