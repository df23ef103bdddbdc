"""The second channel as a process runs it: a sender of its own, so that a busy one of deliveries never holds it up."""

import asyncio

from northbound.backends.curl import CurlSender
from northbound.config import Config
from northbound.dialects import dialect_named
from northbound.hub.system import SystemClock, SystemEntropy
from northbound.logic.addresses import AllowList
from northbound.model.app import Endpoint
from northbound.model.wire import Key
from northbound.stages.notices import Notices, NoticeStore

DIALECT = "standard"


async def tell_alarms(config: Config, store: NoticeStore) -> None:
    """Send new alarms of *store* to `notices_url` until cancelled; without one there is nothing to do."""
    if not config.notices_url:
        await asyncio.Event().wait()
    clock = SystemClock()
    to = Endpoint(
        id="notices",
        app_id="",
        url=config.notices_url,
        dialect=DIALECT,
        created_at=clock.now(),
        keys=(Key(secret=config.notices_secret.encode()),),
    )
    sender = CurlSender(
        allow=AllowList.parse(config.allow_targets), max_connections=1, proxy=config.egress_proxy or None
    )
    dialect = dialect_named(DIALECT)
    try:
        await Notices(store, sender, dialect, to, clock, SystemEntropy(), wait_scale=config.wait_scale).run()
    finally:
        await sender.close()
