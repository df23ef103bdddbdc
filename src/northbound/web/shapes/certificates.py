"""The hub's certificates, as the API takes and shows them."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from northbound.logic.certificates import CertificateState
from northbound.web.shapes.setup import Given, Moment
from northbound.web.signing import VALID_DAYS


class NewCertificate(Given, frozen=True, kw_only=True):
    """The next certificate: it signs from `signs_from` on, at once when that is left out."""

    signs_from: Moment | None = None
    valid_days: Annotated[int, Meta(ge=1, le=VALID_DAYS)] = VALID_DAYS


class CertificateShown(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate; requests that it signed name `url`. `signs_until` is the moment of the one after it."""

    id: str
    state: CertificateState
    url: str
    fingerprint: str
    created_at: datetime
    signs_from: datetime
    signs_until: datetime | None
    expires_at: datetime
    expires_soon: bool
