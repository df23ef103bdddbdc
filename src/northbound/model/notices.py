"""What a customer asked to be notified of, the way anyRTC's console keeps it."""

from datetime import datetime, timedelta

import msgspec


class Notified(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was made for settings that were enabled: one subscription, an endpoint for each path; until `ends_at`."""

    subscription_id: str
    endpoint_ids: tuple[str, ...]
    ends_at: datetime | None = None


class NoticeSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Notice settings (seed 003; ruling 29): one product's ticked `event_types`, by number, to one URL.

    `redundant` sends everything twice, on a second path that goes to `second_url` or else to the same URL. A change of
    what is enabled takes effect after `effective_delay`. `made` is the newest last.
    """

    id: str
    app_id: str
    name: str
    created_at: datetime
    product: int
    event_types: tuple[int, ...]
    url: str
    secret: bytes
    second_url: str = ""
    redundant: bool = False
    strict_reply: bool = False
    effective_delay: timedelta = timedelta()
    state: str = "disabled"
    tested_at: datetime | None = None
    made: tuple[Notified, ...] = ()

    def __repr__(self) -> str:
        return f"NoticeSettings(id={self.id!r}, product={self.product!r})"

    @property
    def urls(self) -> tuple[str, ...]:
        """The URL of each path."""
        return (self.url, self.second_url or self.url) if self.redundant else (self.url,)
