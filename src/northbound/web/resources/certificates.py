"""The certificates of the hub's own signatures: served to anybody, rotated by who may do everything."""

import asyncio
from typing import Any

from northbound.logic.certificates import (
    MOST,
    check_removal,
    droppable,
    ends_at,
    near_expiry,
    signing,
    state_of,
)
from northbound.model.certificate import Certificate
from northbound.model.errors import Conflict, Forbidden, InvalidInput
from northbound.model.registry import Drop, Put
from northbound.web.call import Answer, Call, not_found
from northbound.web.shapes.certificates import CertificateShown, NewCertificate
from northbound.web.shapes.pages import Nothing, Page
from northbound.web.signing import new_certificate
from northbound.web.told import hub_base

MEDIA_TYPE = "application/x-pem-file"
Plain = Call[Nothing, Nothing]


async def current(call: Plain) -> Answer:
    """Serve the certificate that signs now, for people; requests name one by its own URL."""
    found = signing(_every(call), call.hub.clock.now())
    return Answer(content=found.pem.encode(), media_type=MEDIA_TYPE)


async def served(call: Plain) -> Answer:
    """Serve a certificate under its own URL, for as long as it is kept."""
    return Answer(content=_one(call).pem.encode(), media_type=MEDIA_TYPE)


async def listed(call: Plain) -> Answer:
    """List the certificates, the one that signs last first."""
    known = sorted(_every(call), key=lambda one: one.signs_from, reverse=True)
    return Answer(content=Page(items=[_show(call, one, known) for one in known], next_cursor=None))


async def rotate(call: Call[Nothing, NewCertificate]) -> Answer:
    """Make the next certificate, which signs from its moment on; the one before stays served."""
    _for_all_apps(call)
    now = call.hub.clock.now()
    at = call.body.signs_from or now
    if at < now:
        raise InvalidInput("signs_from is over; leave it out to sign with the new one at once", field="signs_from")
    known = _every(call)
    gone = droppable(known, now)
    if len(known) - len(gone) >= MOST:
        raise Conflict(f"{MOST} certificates are kept; delete one that is retired first")
    made = await asyncio.to_thread(new_certificate, now, at, call.body.valid_days)
    drops = [Drop(kind=Certificate, id=one.id) for one in gone]
    call.change((Put(one=made),), drops, noting={"id": made.id})
    return Answer(content=_show(call, made, _every(call)), status=201)


async def rotated(call: Call[Any, Any], done: dict[str, str]) -> Answer:
    """Answer a rotation once more, with the certificate that it made."""
    _for_all_apps(call)
    return Answer(content=_show(call, call.own(Certificate, done["id"])[1], _every(call)), status=201)


async def remove(call: Plain) -> Answer:
    """Stop serving a certificate that nobody needs any more."""
    one, now = _one(call), call.hub.clock.now()
    _for_all_apps(call)
    check_removal(one, _every(call), now)
    call.hub.objects.drop(Certificate, one.id, who=call.who, now=now)
    return Answer(status=204)


def _every(call: Call[Any, Any]) -> list[Certificate]:
    return [one for _, one in call.hub.objects.find(Certificate, limit=MOST * 2)]


def _one(call: Call[Any, Any]) -> Certificate:
    found = next((one for one in _every(call) if one.id == call.path["id"]), None)
    return found or not_found("certificate", call.path["id"])


def _show(call: Call[Any, Any], one: Certificate, known: list[Certificate]) -> CertificateShown:
    now = call.hub.clock.now()
    return CertificateShown(
        id=one.id,
        state=state_of(one, known, now),
        url=hub_base(call.hub.config) + one.path,
        fingerprint=one.fingerprint,
        created_at=one.created_at,
        signs_from=one.signs_from,
        signs_until=ends_at(one, known),
        expires_at=one.expires_at,
        expires_soon=near_expiry(known, now) == one,
    )


def _for_all_apps(call: Call[Any, Any]) -> None:
    if call.key.app_id is not None:
        raise Forbidden("the certificate is the whole hub's; use a key for all apps")
