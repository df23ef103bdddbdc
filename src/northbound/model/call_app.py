"""A call app: a scene in which terminals call each other, with its key, its recording switch and its callbacks."""

from datetime import datetime

import msgspec


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """What was made for one callback URL of a call app: the endpoint, which has the URL, and the subscription."""

    endpoint_id: str
    subscription_id: str


class CallApp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call app (seed 001; rulings 17, 20). `biz_name` is what its terminals share; `app_id` the app it belongs to.

    `secret` is the RSA private key that admissions are made with (PKCS#8, DER), `public_key` its other half (DER).
    `media_proxy` is a bare host and comes with the addresses it sends from, `egress_ips`.
    """

    id: str
    app_id: str
    name: str
    biz_name: str
    created_at: datetime
    secret: bytes
    public_key: bytes
    automatic_recording: bool = False
    recording_callback: Callback | None = None
    room_callback: Callback | None = None
    media_proxy: str = ""
    egress_ips: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"CallApp(id={self.id!r}, biz_name={self.biz_name!r})"
