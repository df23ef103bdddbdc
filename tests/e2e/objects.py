"""What the end-to-end tests set up: apps, sources, endpoints, subscriptions, with names and keys of their own."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from northbound.dialects import all_dialects
from northbound.model.app import App, Endpoint, RetryPolicy, Source, Subscription, Target
from northbound.model.wire import Key

PATTERN = '{"type":[{"anything-but":["unknown"]}]}'


def now() -> datetime:
    return datetime.now(UTC)


WHSEC = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def new_app(name: str) -> App:
    return App(
        id=f"app_{name}", name=name, created_at=now(), app_key=b"app-key-of-" + name.encode(), biz_name="biz",
        workspace_id="ws", account_id="1234567890",
    )  # fmt: skip


def new_source(app: App, dialect: str, *, name: str = "", **more: Any) -> Source:
    identity = f"src_{app.name}_{name or dialect}"
    source = Source(
        id=identity, app_id=app.id, name=identity, dialect=dialect, token=f"token-of-{identity}", created_at=now(),
        ack_budget=timedelta(seconds=10),  # a machine that runs other tests too is not held to a vendor's 200 ms
    )  # fmt: skip
    return msgspec.structs.replace(source, **more)


def new_endpoint(app: App, dialect: str, url: str, *, name: str = "", **more: Any) -> Endpoint:
    secret = WHSEC if dialect == "standard" else f"key-of-{dialect}".encode()
    spoken = all_dialects()[dialect]
    endpoint = Endpoint(
        id=f"ep_{app.name}_{name or dialect}", app_id=app.id, url=url, dialect=dialect, created_at=now(),
        keys=(Key(id="one", secret=secret),), retry=spoken.retry, method=spoken.methods[-1],
    )  # fmt: skip
    return msgspec.structs.replace(endpoint, **more)


def new_subscription(app: App, *endpoints: Endpoint, name: str = "all", pattern: str = PATTERN) -> Subscription:
    targets = tuple(Target(endpoint_id=one.id) for one in endpoints)
    return Subscription(id=f"sub_{app.name}_{name}", app_id=app.id, created_at=now(), pattern=pattern, targets=targets)


def steadfast(*, deadline: float = 3.0) -> RetryPolicy:
    """A policy that does not give up within a test; its waits are scaled down like all."""
    return RetryPolicy(attempts=100_000, waits=(timedelta(seconds=3),), deadline=timedelta(seconds=deadline))
