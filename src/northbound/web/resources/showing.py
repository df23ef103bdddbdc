"""Turn what is stored into what is shown: secrets masked, bodies cut, bytes as text where they are."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from northbound.dialects import all_dialects
from northbound.logic.authority import read_authorities
from northbound.logic.mask import mask_url, masked
from northbound.logic.retry import diagnosis
from northbound.model.app import App, Endpoint, EndpointState, RetryPolicy, RoomList, Source, Subscription
from northbound.model.delivery import Delivery, DeliveryState, Failure, Stop
from northbound.model.log import Logged, Receipt, room_key
from northbound.model.room import Room
from northbound.model.wire import Request, Response
from northbound.ports import AttemptRow
from northbound.web.resources.key_ring import show_keys
from northbound.web.shapes.deliveries import AnswerShown, AttemptShown
from northbound.web.shapes.events import DeliveryShown, EventShown, ReceiptShown, RequestShown, RoomShown
from northbound.web.shapes.setup import (
    AppShown,
    BodyShown,
    EndpointShown,
    RetryShown,
    RoomListShown,
    SourceShown,
    Stopped,
    SubscriptionShown,
)

REQUEST_SHOWN = 256 * 1024  # bytes of a request's body
ANSWER_SHOWN = 4 * 1024  # bytes of a receiver's answer: enough for its error, little for whoever aims inside (T3)
MASK = "***"


def secrets_of(dialect: str | None) -> frozenset[str]:
    """Return the names whose values are masked; of every dialect when it is not known which."""
    known = all_dialects()
    if dialect in known:
        return frozenset(name.lower() for name in known[dialect].secrets)
    return frozenset(name.lower() for one in known.values() for name in one.secrets)


# --- setup -----------------------------------------------------------------------------------------------------------


def show_app(revision: int, app: App, *, reveal: bool = False) -> AppShown:
    """Show an app."""
    shown = AppShown(
        id=app.id,
        name=app.name,
        created_at=app.created_at,
        account_id=app.account_id,
        region=app.region,
        time_zone=app.time_zone,
        biz_name=app.biz_name,
        workspace_id=app.workspace_id,
        revision=revision,
    )
    return replace(shown, app_key=app.app_key.decode(errors="replace")) if reveal else shown


def show_source(revision: int, source: Source, told: str, *, reveal: bool, is_admin: bool) -> SourceShown:
    """Show a source with the URL that its vendor was *told*; the token in it lets one send, so only admins see it."""
    intake_url = told if is_admin else told.replace(source.token, MASK)
    public_url = source.public_url if is_admin else source.public_url.replace(source.token, MASK)
    return SourceShown(
        id=source.id,
        app_id=source.app_id,
        name=source.name,
        dialect=source.dialect,
        created_at=source.created_at,
        intake_url=intake_url,
        public_url=public_url,
        keys=show_keys(source.keys, reveal=reveal),
        options=source.options,
        ack_budget_ms=source.ack_budget // timedelta(milliseconds=1),
        state=source.state,
        revision=revision,
        room_list=None if source.room_list is None else show_room_list(source.room_list, is_admin=is_admin),
        connection=source.connection,
    )


def show_url(url: str, *, is_admin: bool) -> str:
    """Show a callback URL: whole to those who may change it, to others without the secrets in it."""
    return url if is_admin else mask_url(url)


def show_room_list(one: RoomList, *, is_admin: bool) -> RoomListShown:
    """Show where a vendor's list is asked for, without the key."""
    return RoomListShown(
        url=show_url(one.url, is_admin=is_admin),
        has_key=bool(one.key),
        key_name=one.key_name,
        key_in=one.key_in,
        method=one.method,
        page_size=one.page_size,
        fields=one.fields,
        ok_codes=list(one.ok_codes),
    )


def show_endpoint(
    revision: int, endpoint: Endpoint, stopped: Mapping[str, Stop], *, is_admin: bool, reveal: bool = False
) -> EndpointShown:
    """Show an endpoint; a token in its URL lets one call the receiver, so only admins see it."""
    halt = stopped.get(endpoint.id)
    dialect = all_dialects().get(endpoint.dialect)
    return EndpointShown(
        id=endpoint.id,
        app_id=endpoint.app_id,
        name=endpoint.name,
        url=show_url(endpoint.url, is_admin=is_admin),
        dialect=endpoint.dialect,
        created_at=endpoint.created_at,
        public_url=show_url(endpoint.public_url, is_admin=is_admin),
        method=endpoint.method,
        signed_by="endpoint"
        if dialect is None or (endpoint.keys and dialect.key_scope == "app")
        else dialect.key_scope,
        made_by=endpoint.made_by,
        keys=show_keys(endpoint.keys, reveal=reveal),
        options=endpoint.options,
        retry=show_retry(endpoint.retry),
        max_in_flight=endpoint.max_in_flight,
        ignore_gone=endpoint.ignore_gone,
        lane_hold_seconds=endpoint.lane_hold.total_seconds(),
        path=endpoint.path,
        body=BodyShown(**msgspec.structs.asdict(endpoint.body)),
        dead_letter_bus=endpoint.dead_letter_bus,
        stops_when_dead=endpoint.stops_when_dead,
        fails_hours=endpoint.fails_hours,
        ca=read_authorities(endpoint.ca_pem),
        state=_state(endpoint, halt),
        revision=revision,
        stopped=Stopped(reason=halt.reason, at=halt.at, probe_at=halt.probe_at) if halt is not None else None,
    )


def _state(endpoint: Endpoint, halt: Stop | None) -> EndpointState:
    """Return the state in force: what is enabled may have stopped by itself."""
    if halt is None or endpoint.state is not EndpointState.ENABLED:
        return endpoint.state
    return EndpointState.GONE if halt.is_gone else EndpointState.FAILING


def show_retry(policy: RetryPolicy) -> RetryShown:
    """Show a retry policy in seconds."""
    return RetryShown(
        strategy=policy.strategy,
        attempts=policy.attempts,
        waits_seconds=[wait.total_seconds() for wait in policy.waits],
        deadline_seconds=policy.deadline.total_seconds(),
        forget=policy.forget,
    )


def show_subscription(revision: int, one: Subscription, warnings: tuple[str, ...]) -> SubscriptionShown:
    """Show a subscription."""
    return SubscriptionShown(
        id=one.id,
        app_id=one.app_id,
        name=one.name,
        created_at=one.created_at,
        pattern=one.pattern,
        view=one.view,
        source_ids=list(one.source_ids),
        endpoint_ids=[target.endpoint_id for target in one.targets],
        state=one.state,
        made_by=one.made_by,
        begins_at=one.begins_at,
        ends_at=one.ends_at,
        bus_id=one.bus_id,
        revision=revision,
        warnings=list(warnings),
    )


# --- events ----------------------------------------------------------------------------------------------------------


def show_event(logged: Logged) -> EventShown:
    """Show an entry of the log."""
    event = logged.event
    return EventShown(
        id=logged.id,
        offset=logged.offset,
        type=event.type,
        dialect=event.dialect,
        source_id=logged.source_id,
        recorded_at=logged.recorded_at,
        occurred_at=event.occurred_at,
        proof=logged.proof,
        origin=logged.origin,
        cause_id=logged.cause_id,
        room_key=room_key(logged.source_id, event) if event.room_id else None,
        scope=event.scope,
        room_id=event.room_id,
        participant_id=event.participant_id,
        session_id=event.session_id,
        track_id=event.track_id,
        recording_id=event.recording_id,
        sequence=event.sequence,
        facts=event.facts,
        vendor=mask_words(event.vendor, event.dialect),
    )


def mask_words(words: msgspec.Raw, dialect: str) -> msgspec.Raw:
    """Return a wire's words with its secrets masked."""
    carrier = Request(method="POST", url="", body=bytes(words))
    return msgspec.Raw(masked(carrier, secrets_of(dialect)).body)


def show_receipt(number: int, receipt: Receipt, dialect: str | None) -> ReceiptShown:
    """Show a request as received."""
    return ReceiptShown(
        id=number,
        received_at=receipt.received_at,
        proof=receipt.proof,
        request=show_request(receipt.request, dialect),
    )


def show_request(request: Request, dialect: str | None, at_most: int = REQUEST_SHOWN) -> RequestShown:
    """Show a request; it is masked whole and cut after, so that no half of a secret is left."""
    safe = masked(request, secrets_of(dialect))
    shown = RequestShown(method=safe.method, url=safe.url, headers=list(safe.headers), cut=len(safe.body) > at_most)
    return replace(shown, **_text(safe.body[:at_most]))


def _text(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError as error:
        if error.start >= len(body) - 3 and error.start > 0:  # a letter that the cut went through
            return {"body": body[: error.start].decode()}
        return {"body_base64": b64encode(body).decode()}


def show_room(key: str, room: Room) -> RoomShown:
    """Show a room in short."""
    return RoomShown(
        key=key,
        source_id=room.source_id,
        scope=room.scope,
        id=room.id,
        name=room.name,
        instance=room.instance,
        open=room.open,
        opened_at=room.opened_at,
        closed_at=room.closed_at,
        participants=len(room.participants),
        recordings=len(room.recordings),
        peak=room.peak,
        stays=room.stays,
        seq=room.seq,
    )


# --- deliveries ------------------------------------------------------------------------------------------------------


def show_delivery(number: int, delivery: Delivery, dialect: str | None = None) -> DeliveryShown:
    """Show a delivery; with *dialect* (of its endpoint) also its words, masked."""
    waits = delivery.state is DeliveryState.WAITING
    shown = DeliveryShown(
        number=number,
        id=delivery.id,
        endpoint_id=delivery.endpoint_id,
        subscription_id=delivery.subscription_id,
        source_id=delivery.source_id,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        room_key=delivery.order_key,
        lane=delivery.lane,
        path=delivery.path,
        state=delivery.state,
        attempts=delivery.attempts,
        created_at=delivery.created_at,
        due_at=delivery.due_at if waits else None,
        reason=delivery.reason,
        seq=delivery.seq,
        prev=delivery.prev,
        possible_duplicate=delivery.possible_duplicate,
        replaced_by=delivery.replaced_by,
        lost=list(delivery.view.lost),
        invented=list(delivery.view.invented),
    )
    return shown if dialect is None else replace(shown, words=mask_words(delivery.view.words, dialect))


def show_attempt(row: AttemptRow, dialect: str | None, *, with_body: bool) -> AttemptShown:
    """Show a try; what the receiver answered only to those who may see it (T3)."""
    exchange = row.exchange
    outcome = exchange.outcome
    return AttemptShown(
        number=row.number,
        started_at=exchange.started_at,
        duration_ms=exchange.duration_ms,
        accepted=row.accepted,
        failure=outcome.kind if isinstance(outcome, Failure) else None,
        reason=row.reason,
        diagnosis=None if row.accepted else diagnosis(outcome),
        address=exchange.address,
        request=show_request(exchange.request, dialect),
        answer=_answer(outcome, dialect, with_body=with_body) if isinstance(outcome, Response) else None,
    )


def _answer(response: Response, dialect: str | None, *, with_body: bool) -> AnswerShown:
    carrier = Request(method="", url="", headers=response.headers, body=response.body)
    safe = masked(carrier, secrets_of(dialect))
    shown = AnswerShown(status=response.status, headers=list(safe.headers))
    if not with_body:
        return shown
    return replace(shown, cut=len(safe.body) > ANSWER_SHOWN, **_text(safe.body[:ANSWER_SHOWN]))
