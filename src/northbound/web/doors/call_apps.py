"""Call apps: the console page of mPaaS as calls of the API (seed 001; rulings 17, 20)."""

import asyncio
from base64 import b64encode
from datetime import timedelta
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from msgspec import UNSET
from msgspec.structs import replace

from northbound.dialects import dialect_named
from northbound.doors import mpaas
from northbound.model.account import Maker
from northbound.model.app import App, Endpoint, Subscription, Target
from northbound.model.call_app import CallApp, Callback
from northbound.model.delivery import Failure, FailureKind
from northbound.model.errors import Conflict
from northbound.model.registry import Drop, Put
from northbound.model.wire import Request
from northbound.web.call import Answer, Call, etag
from northbound.web.doors.made import drops_of, held, new_id, state_of
from northbound.web.doors.targets import asked, checked_url
from northbound.web.resources.listing import listed_of
from northbound.web.resources.replays import enqueue
from northbound.web.resources.showing import show_url
from northbound.web.shapes.call_apps import (
    Admission,
    AdmissionShown,
    AdmissionVerdict,
    AdmissionWanted,
    CallAppChange,
    CallAppShown,
    CallbackShown,
    NewCallApp,
    ProxyTest,
    ProxyTested,
)
from northbound.web.shapes.pages import Nothing
from northbound.web.shapes.setup import OfApp

PREFIX: Final = "call"
KEY_BITS: Final = 2_048  # room for 245 bytes of bizName, appId, workspaceId, uid and expireTime
TLS_PORT: Final = 443
PROXY_SECONDS: Final = 5
CALLBACKS: Final = ("recording", "room")
ANSWERED: Final = frozenset(  # failures of whoever took the connection
    {FailureKind.TLS, FailureKind.CLOSED, FailureKind.PROTOCOL, FailureKind.TOO_LARGE, FailureKind.REDIRECT}
)
UNTRIED: Final = frozenset({FailureKind.PROXY, FailureKind.CANCELLED, FailureKind.TIMEOUT})


async def listed(call: Call[OfApp, Nothing]) -> Answer:
    """List call apps."""
    return listed_of(call, CallApp, lambda revision, one: _show(call, revision, one))


async def create(call: Call[Nothing, NewCallApp]) -> Answer:
    """Create a call app with its bizName, its key and what its callback URLs need, all in one transaction."""
    given = call.body
    call.own(App, given.app_id)
    secret, public_key = await asyncio.to_thread(_new_key)
    before = call.made_before(CallApp, PREFIX)  # nothing is awaited from here on: of two calls at once one comes first
    if before is not None:
        return _created(call, *before)
    host, addresses = mpaas.read_media_proxy(given.media_proxy, given.egress_ips)
    call_app = CallApp(
        id=call.new_id(PREFIX),
        app_id=given.app_id,
        name=given.name,
        biz_name=f"{mpaas.BIZ_PREFIX}{call.hub.entropy.bytes(6).hex()}",
        created_at=call.hub.clock.now(),
        secret=secret,
        public_key=public_key,
        automatic_recording=given.automatic_recording,
        media_proxy=host,
        egress_ips=addresses,
    )
    urls = {"recording": given.recording_callback_url, "room": given.room_callback_url}
    call_app, puts, drops = _with_callbacks(call, call_app, urls)
    _store(call, [Put(one=call_app), *puts], drops)
    return _created(call, 1, call_app)


def _created(call: Call[Any, Any], revision: int, call_app: CallApp) -> Answer:
    location = ("location", f"/api/v1/call-apps/{call_app.id}")
    shown = _show(call, revision, call_app, reveal=True)
    return Answer(content=shown, status=201, headers=(etag(revision), location))


async def shown(call: Call[Nothing, Nothing]) -> Answer:
    """Show a call app."""
    return _answer(call, *call.own(CallApp, call.path["id"]))


async def reveal(call: Call[Nothing, Nothing]) -> Answer:
    """Show a call app with its key; the audit keeps that it was asked for."""
    revision, call_app = call.own(CallApp, call.path["id"])
    call.hub.trail.note("call_app.revealed", call_app.id, who=call.who, now=call.hub.clock.now())
    return Answer(content=_show(call, revision, call_app, reveal=True), headers=(etag(revision),))


async def change(call: Call[Nothing, CallAppChange]) -> Answer:
    """Save what was edited, with what its callback URLs need, all in one transaction."""
    revision, known = call.own(CallApp, call.path["id"])
    call.revision_for(revision)
    given = call.body
    host, addresses = known.media_proxy, known.egress_ips
    if given.media_proxy is not UNSET or given.egress_ips is not UNSET:
        host, addresses = mpaas.read_media_proxy(
            host if given.media_proxy is UNSET else given.media_proxy,
            ";".join(addresses) if given.egress_ips is UNSET else given.egress_ips,
        )
    call_app = replace(
        known,
        name=known.name if given.name is UNSET else given.name,
        automatic_recording=known.automatic_recording
        if given.automatic_recording is UNSET
        else given.automatic_recording,
        media_proxy=host,
        egress_ips=addresses,
    )
    wanted = {"recording": given.recording_callback_url, "room": given.room_callback_url}
    urls = {name: url for name, url in wanted.items() if url is not UNSET}
    call_app, puts, drops = _with_callbacks(call, call_app, urls)
    _store(call, [Put(one=call_app, revision=revision), *puts], drops)
    for moved in (put.one for put in puts if put.revision is not None and isinstance(put.one, Endpoint)):
        enqueue(call, {"do": "start_endpoint", "endpoint_id": moved.id}, call_app.app_id)
    return _answer(call, revision + 1, call_app)


async def remove(call: Call[Nothing, Nothing]) -> Answer:
    """Remove a call app with what was made for its callback URLs; its admissions are worth nothing from now on."""
    revision, call_app = call.own(CallApp, call.path["id"])
    if call.if_match is not None:
        call.revision_for(revision)
    _, _, drops = _with_callbacks(call, call_app, dict.fromkeys(CALLBACKS, ""))
    _store(call, [], [*drops, Drop(kind=CallApp, id=call_app.id)])
    return Answer(status=204)


# --- callback URLs ---------------------------------------------------------------------------------------------------


def _with_callbacks(
    call: Call[Any, Any], call_app: CallApp, urls: dict[str, str]
) -> tuple[CallApp, list[Put], list[Drop]]:
    """Return *call_app* with its callback URLs as in *urls*, and what must be put and dropped for them."""
    puts: list[Put] = []
    drops: list[Drop] = []
    for name, url in urls.items():
        known: Callback | None = getattr(call_app, f"{name}_callback")
        if url:  # also one that stays: what may be reached is a setting that changes too (D5)
            checked_url(call.hub, url, f"{name}_callback_url")
        callback = _moved(call, known, url, puts) if known is not None and url else None
        if callback is None and known is not None:
            drops += _drops(call, known)
        if callback is None and url:
            callback = _new_callback(call, call_app, name, url, puts)
        call_app = replace(call_app, **{f"{name}_callback": callback})
    return call_app, puts, drops


def _moved(call: Call[Any, Any], known: Callback, url: str, puts: list[Put]) -> Callback | None:
    """Return a callback that goes to *url* from now on, with what waits; None when it must be made anew."""
    endpoint, subscription = held(call, Endpoint, known.endpoint_id), held(call, Subscription, known.subscription_id)
    if endpoint is None or subscription is None:  # somebody removed it by hand
        return None
    if endpoint[1].url != url:
        puts.append(Put(one=replace(endpoint[1], url=url), revision=endpoint[0]))
    return known


def _new_callback(call: Call[Any, Any], call_app: CallApp, name: str, url: str, puts: list[Put]) -> Callback:
    hub = call.hub
    endpoint = Endpoint(
        id=new_id(call, "ep"),
        app_id=call_app.app_id,
        url=url,
        dialect=mpaas.DIALECT,
        created_at=hub.clock.now(),
        name=f"{call_app.name}: {name}"[:200],
        options={"biz_name": call_app.biz_name},
        made_by=Maker.MPAAS,
        retry=dialect_named(mpaas.DIALECT).retry,
    )
    subscription = Subscription(
        id=new_id(call, "sub"),
        app_id=call_app.app_id,
        created_at=hub.clock.now(),
        name=endpoint.name,
        pattern=mpaas.callback_pattern(name, call_app.biz_name),
        targets=(Target(endpoint_id=endpoint.id),),
        made_by=Maker.MPAAS,
        wire={"bizName": call_app.biz_name, "callback": name},
    )
    puts += [Put(one=endpoint), Put(one=subscription)]
    return Callback(endpoint_id=endpoint.id, subscription_id=subscription.id)


def _drops(call: Call[Any, Any], known: Callback) -> list[Drop]:
    return drops_of(call, ((Subscription, known.subscription_id), (Endpoint, known.endpoint_id)))


def _store(call: Call[Any, Any], puts: list[Put], drops: list[Drop]) -> None:
    call.hub.objects.change(puts, drops, who=call.who, now=call.hub.clock.now())


# --- the media proxy and admissions ----------------------------------------------------------------------------------


async def test_proxy(call: Call[Nothing, ProxyTest]) -> Answer:
    """Try to reach the media proxy, through the guard that all outgoing requests pass."""
    call_app = call.own(CallApp, call.path["id"])[1]
    host, port = call_app.media_proxy, call.body.port
    if not host:
        raise Conflict("this call app has no media proxy; save its address first", field="media_proxy")
    place = f"[{host}]" if ":" in host else host
    url = f"{'https' if port == TLS_PORT else 'http'}://{place}:{port}/"
    checked_url(call.hub, url, "media_proxy")
    exchange = await asked(call.hub, Request(method="GET", url=url), timedelta(seconds=PROXY_SECONDS))
    outcome = exchange.outcome
    result, reason = "reachable", "it took the connection and answered"
    if isinstance(outcome, Failure):
        result = "unclear" if outcome.kind in UNTRIED else "unreachable"
        if outcome.kind in ANSWERED and exchange.address is not None:
            result = "reachable"
        reason = outcome.message
    content = ProxyTested(
        result=result,
        host=host,
        port=port,
        address=exchange.address,
        reason=reason,
        duration_ms=exchange.duration_ms,
    )
    return Answer(content=content)


async def admit(call: Call[Nothing, AdmissionWanted]) -> Answer:
    """Make an admission for one uid."""
    call_app = call.own(CallApp, call.path["id"])[1]
    app = call.own(App, call_app.app_id)[1]
    now = call.hub.clock.now()
    sign, expire_time = mpaas.sign_admission(
        call_app, app, call.body.uid, now + timedelta(seconds=call.body.valid_seconds)
    )
    content = Admission(
        app_id=app.id,
        workspace_id=mpaas.workspace_of(app),
        biz_name=call_app.biz_name,
        uid=call.body.uid,
        expire_time=expire_time,
        expires_at=mpaas.time_of(expire_time),
        sign=sign,
    )
    return Answer(content=content, status=201)


async def check_admission(call: Call[Nothing, AdmissionShown]) -> Answer:
    """Tell whether an admission is good now; a bad one is an answer too, with the reason."""
    call_app = call.own(CallApp, call.path["id"])[1]
    app = call.own(App, call_app.app_id)[1]
    given = call.body
    mpaas.check_uid(given.uid)
    mpaas.check_time(given.expire_time)
    refusal = mpaas.check_admission(
        call_app,
        app,
        sign=given.sign,
        uid=given.uid,
        expire_time=given.expire_time,
        now=call.hub.clock.now(),
        biz_name=given.biz_name,
    )
    content = AdmissionVerdict(
        admitted=refusal is None,
        code=None if refusal is None else refusal.value,
        reason=None if refusal is None else mpaas.REASONS[refusal],
        automatic_recording=call_app.automatic_recording,
    )
    return Answer(content=content)


# --- showing ---------------------------------------------------------------------------------------------------------


def _answer(call: Call[Any, Any], revision: int, call_app: CallApp) -> Answer:
    return Answer(content=_show(call, revision, call_app), headers=(etag(revision),))


def _show(call: Call[Any, Any], revision: int, call_app: CallApp, *, reveal: bool = False) -> CallAppShown:
    app = call.hub.objects.get(App, call_app.app_id)[1]
    return CallAppShown(
        id=call_app.id,
        app_id=call_app.app_id,
        workspace_id=mpaas.workspace_of(app),
        name=call_app.name,
        biz_name=call_app.biz_name,
        created_at=call_app.created_at,
        public_key=b64encode(call_app.public_key).decode(),
        automatic_recording=call_app.automatic_recording,
        recording_callback=_show_callback(call, call_app.recording_callback),
        room_callback=_show_callback(call, call_app.room_callback),
        media_proxy=call_app.media_proxy,
        egress_ips=";".join(call_app.egress_ips),
        revision=revision,
        key=b64encode(call_app.secret).decode() if reveal else UNSET,
    )


def _show_callback(call: Call[Any, Any], callback: Callback | None) -> CallbackShown | None:
    """Show a callback as it is now, whoever changed what it is made of; None when that is gone."""
    if callback is None:
        return None
    endpoint = held(call, Endpoint, callback.endpoint_id)
    subscription = held(call, Subscription, callback.subscription_id)
    if endpoint is None or subscription is None:
        return None
    state = state_of(subscription[1], [endpoint[1]])
    return CallbackShown(
        url=show_url(endpoint[1].url, is_admin=call.is_admin), state=state, **msgspec.structs.asdict(callback)
    )


def _new_key() -> tuple[bytes, bytes]:
    """Return a new RSA key: its private half in PKCS#8, its public half, both DER."""
    key = generate_private_key(public_exponent=65_537, key_size=KEY_BITS)
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return private, public
