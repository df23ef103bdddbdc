"""Notice settings as anyRTC has them: which numbers can be ticked, what is made of them, a recording's status code.

Page: 云端录制 消息通知 (seed 003), 云端录制服务状态码; 消息通知服务 for the channel events; ruling 29.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from northbound.dialects import dialect_named
from northbound.dialects.anyrtc.tables import CHANNEL, CHANNELS_PRODUCT, RECORDING, RECORDINGS_PRODUCT, STATUS_NUMBERS
from northbound.dialects.base import sending_key
from northbound.model.account import Maker
from northbound.model.app import Endpoint, Subscription, Target
from northbound.model.errors import InvalidInput
from northbound.model.notices import NoticeSettings
from northbound.model.room import Recording
from northbound.model.wire import Key, KeyKind

DIALECT: Final = "anyrtc"
PRODUCTS: Final = {CHANNELS_PRODUCT: tuple(CHANNEL), RECORDINGS_PRODUCT: tuple(RECORDING)}
KEY_ID: Final = "notice"
NOT_STARTED: Final = "not_started"
FIRST_STAGE: Final = "initialized"


class _Ticked(msgspec.Struct, forbid_unknown_fields=True):
    productId: Annotated[list[int], Meta(min_length=1, max_length=1)]  # noqa: N815 - as on the wire
    eventType: list[int]  # noqa: N815


def read_product(product: int) -> int:
    """Return a product that there are events of."""
    if product not in PRODUCTS:
        raise InvalidInput(
            f"product is {CHANNELS_PRODUCT} (real-time communication) or {RECORDINGS_PRODUCT} (cloud recording); "
            "nothing is known here of the events of others",
            field="product",
        )
    return product


def read_event_types(product: int, given: Sequence[int]) -> tuple[int, ...]:
    """Return the ticked events, each once and in order; refuse numbers that the product does not have."""
    known = PRODUCTS[product]
    for number in given:
        if number not in known:
            listed = ", ".join(str(one) for one in sorted(known))
            raise InvalidInput(f"product {product} has no event {number}; it has {listed}", field="event_types")
    if not given:
        raise InvalidInput("tick at least one event type", field="event_types")
    return tuple(sorted(set(given)))


def pattern_of(settings: NoticeSettings) -> str:
    """Return the rule of the ticked events, over this wire's own view: what a notice's numbers say, whoever said it."""
    pattern = {"productId": [settings.product], "eventType": list(settings.event_types)}
    return msgspec.json.encode(pattern).decode()


def endpoint_for(settings: NoticeSettings, identity: str, path: int, now: datetime) -> Endpoint:
    """Return the endpoint of one path (from 1; the only one is 0)."""
    return Endpoint(
        id=identity,
        app_id=settings.app_id,
        url=settings.urls[max(0, path - 1)],
        dialect=DIALECT,
        created_at=now,
        name=settings.name if path == 0 else f"{settings.name} ({path})",
        keys=(Key(id=KEY_ID, secret=settings.secret),),
        options={"strict_reply": True} if settings.strict_reply else {},
        retry=dialect_named(DIALECT).retry,
        path=path,
        made_by=Maker.ANYRTC,
    )


def subscription_for(
    settings: NoticeSettings, identity: str, endpoint_ids: Sequence[str], now: datetime, begins_at: datetime | None
) -> Subscription:
    """Return the subscription of settings that are enabled."""
    return Subscription(
        id=identity,
        app_id=settings.app_id,
        created_at=now,
        name=settings.name,
        pattern=pattern_of(settings),
        view=DIALECT,
        targets=tuple(Target(endpoint_id=one) for one in endpoint_ids),
        made_by=Maker.ANYRTC,
        wire={"productId": settings.product, "eventTypes": list(settings.event_types), "redundant": settings.redundant},
        begins_at=begins_at,
    )


def told_now(
    settings: NoticeSettings, subscription: Subscription, endpoints: Sequence[Endpoint], now: datetime
) -> NoticeSettings:
    """Return settings with what is true of what was made for them, the endpoint of each path that is still called.

    A pattern that ticks cannot say leaves the ticks as they were.
    """
    first, second = endpoints[0], endpoints[-1]
    product, ticked = _ticked(subscription.pattern) or (settings.product, settings.event_types)
    second_url = settings.second_url
    if first is not second and second.url != (second_url or first.url):
        second_url = second.url
    key = sending_key(first.keys, KeyKind.SHARED, now)
    return replace(
        settings,
        product=product,
        event_types=ticked,
        url=first.url,
        second_url=second_url,
        redundant=first is not second,
        strict_reply=bool(first.options.get("strict_reply")),
        secret=settings.secret if key is None else key.secret,
    )


def _ticked(pattern: str) -> tuple[int, tuple[int, ...]] | None:
    """Return product and ticked events of a pattern such as `pattern_of` makes, None of any other."""
    try:
        read = msgspec.json.decode(pattern, type=_Ticked)
        return read_product(read.productId[0]), read_event_types(read.productId[0], read.eventType)
    except (msgspec.MsgspecError, InvalidInput):
        return None


def status_of(recording: Recording | None) -> tuple[int, str]:
    """Return a recording's status code of the page (0-8, 20) and its name; 0 without a recording."""
    name = NOT_STARTED if recording is None else recording.stage or FIRST_STAGE
    return STATUS_NUMBERS[name], name


def last_sequence(recording: Recording | None) -> int | None:
    """Return the number of the newest notice of a recording, whoever was told; None when there was none."""
    if recording is None:
        return None
    counted = recording.next_sequence if recording.next_sequence is not None else recording.events
    return counted - 1 if counted else None
