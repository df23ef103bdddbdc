"""Commands that subscribe the hub at a vendor's real service, show what was made there, and remove it again."""

import secrets
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import typer

from northbound.cli.client import ApiKey, Client, Server, connect
from northbound.cli.output import AsJson, Unreachable, errors, out, print_json, shown, styled
from northbound.cli.pasting import REMOVE, STEPS, steps
from northbound.cli.settings import DataFolder
from northbound.cli.vendor_service import RTC_EVENTS, SERVICES, Connection, Login, Rtc, Service
from northbound.logic.addresses import AllowList, check_url
from northbound.model.errors import BlockedAddress, HubError, InvalidInput

VENDORS = (*SERVICES, *STEPS)
HERE = "Id of our app that gets the events."
LATEST = 5  # events shown of a source
KeyId = Annotated[
    str,
    typer.Option(
        "--access-key-id", envvar="ALIBABA_CLOUD_ACCESS_KEY_ID", help="Who we are at the vendor.", show_default=False
    ),
]
KeySecret = Annotated[
    str,
    typer.Option(
        "--access-key-secret",
        envvar="ALIBABA_CLOUD_ACCESS_KEY_SECRET",
        help="Its secret; better in the variable, where no list of processes shows it. Kept nowhere.",
        show_default=False,
    ),
]


def source_connect(
    vendor: Annotated[str, typer.Argument(help=f"One of: {', '.join(VENDORS)}.")],
    app: Annotated[str, typer.Option("--app", help=HERE)],
    name: Annotated[str, typer.Option(help="What people call the source.")] = "",
    vendor_app: Annotated[str, typer.Option(help="aliyun_rtc: the AppId at the vendor.")] = "",
    channel: Annotated[str, typer.Option(help="aliyun_rtc: one channel; all when left out.")] = "",
    app_key: Annotated[
        str,
        typer.Option(
            envvar="ALIBABA_CLOUD_RTC_APP_KEY",
            help="aliyun_rtc: the app's AppKey; the vendor is asked for it when left out.",
            show_default=False,
        ),
    ] = "",
    unsigned: Annotated[bool, typer.Option("--unsigned", help="aliyun_rtc: take callbacks without signature.")] = False,
    bus: Annotated[str, typer.Option(help="aliyun_cvc: the event bus.")] = "default",
    certificates: Annotated[
        str, typer.Option(help="aliyun_cvc: where the vendor's certificates lie, when not at its usual place.")
    ] = "",
    secret: Annotated[
        str, typer.Option(help="avd, anyrtc: the key of the callbacks; avd: made when left out.", show_default=False)
    ] = "",
    region: Annotated[str, typer.Option(help="Region of the vendor's service.")] = "cn-hangzhou",
    endpoint: Annotated[str, typer.Option(help="host[:port] of the vendor's service, when not its usual one.")] = "",
    protocol: Annotated[str, typer.Option(help="https, or http for a service on a loopback address.")] = "https",
    access_key_id: KeyId = "",
    access_key_secret: KeySecret = "",
    server: Server = None,
    key: ApiKey = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Make a source and have the vendor send to it: by its own client, or by what you paste into its page."""
    if vendor not in VENDORS:
        raise InvalidInput(f"the vendor is one of: {', '.join(VENDORS)}", field="vendor")
    hub = connect(server, key, data)
    if vendor in STEPS:
        _by_hand(hub, vendor, app, name or vendor, secret, as_json=as_json)
        return
    login = _login(access_key_id, access_key_secret, region, endpoint, protocol)
    token = secrets.token_hex(16)
    body = {"app_id": app, "name": name or vendor, "dialect": vendor}
    if vendor == "aliyun_rtc":
        body |= _rtc(login, vendor_app, channel, app_key, unsigned=unsigned)
    else:
        body |= _cvc(token, bus, certificates)
    source, said = _subscribed(hub, vendor, login, body, token)
    _told(hub, source, said, as_json=as_json)


def source_list(
    app: Annotated[str, typer.Option("--app", help="Sources of one app.")] = "",
    server: Server = None,
    key: ApiKey = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """List sources and what was made for them at the vendors'."""
    hub = connect(server, key, data)
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        query = f"?limit=500{f'&app_id={quote(app)}' if app else ''}{f'&cursor={cursor}' if cursor else ''}"
        page = hub.call("GET", f"/sources{query}")
        found += page["items"]
        cursor = page.get("next_cursor")
        if not cursor:
            break
    if as_json:
        print_json(found)
        return
    for one in found:
        made = " ".join(f"{name}={value}" for name, value in one["connection"].items())
        out().print(shown(f"{one['id']}  {one['dialect']:<12} {one['state']:<9} {one['name']}  {made}".rstrip()))


def source_show(
    source_id: Annotated[str, typer.Argument(help="Id of the source.")],
    check: Annotated[bool, typer.Option("--check", help="Ask the vendor too; needs the access key.")] = False,
    access_key_id: KeyId = "",
    access_key_secret: KeySecret = "",
    server: Server = None,
    key: ApiKey = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show a source, what was made for it at the vendor's, and its newest events."""
    hub = connect(server, key, data)
    source = hub.call("GET", f"/sources/{quote(source_id, safe='')}")
    said = ""
    if check:
        service, connection = _service_of(source, access_key_id, access_key_secret)
        said = service.look(connection, source["intake_url"])
    _told(hub, source, said, as_json=as_json)


def source_disconnect(
    source_id: Annotated[str, typer.Argument(help="Id of the source.")],
    force: Annotated[bool, typer.Option("--force", help="Delete the source though the vendor was not told.")] = False,
    access_key_id: KeyId = "",
    access_key_secret: KeySecret = "",
    server: Server = None,
    key: ApiKey = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Remove what was made at the vendor's, then the source; its events stay."""
    hub = connect(server, key, data)
    source = hub.call("GET", f"/sources/{quote(source_id, safe='')}")
    if source["connection"].get("vendor") in SERVICES and not force:
        service, connection = _service_of(source, access_key_id, access_key_secret)
        service.unsubscribe(connection, source["intake_url"])
    hub.call("DELETE", f"/sources/{quote(source_id, safe='')}")
    if as_json:
        print_json({"id": source["id"], "removed": True, "connection": source["connection"]})
        return
    out().print(styled(f"source {source['id']} is gone, and what was made for it; its events stay", "bold"))
    for line in REMOVE.get(source["dialect"], ()):
        out().print(line)


# --- by the vendor's own client --------------------------------------------------------------------------------------


def _rtc(login: Login, vendor_app: str, channel: str, app_key: str, *, unsigned: bool) -> dict[str, Any]:
    """Return what the source of an RTC subscription is made of."""
    if not vendor_app:
        raise InvalidInput("aliyun_rtc needs --vendor-app, the AppId at the vendor", field="vendor_app")
    app_key = "" if unsigned else app_key or Rtc(login).app_key(vendor_app)
    connection = {
        "AppId": vendor_app,
        "ClientToken": secrets.token_hex(16),
        "Events": ",".join(RTC_EVENTS),
        "NeedCallbackAuth": "false" if unsigned else "true",
    }
    if channel:
        connection["ChannelId"] = channel
    keys = [{"kind": "shared", "secret": app_key}] if app_key else []
    return {"connection": connection, "keys": keys, "options": {"unsigned": "accept"} if unsigned else {}}


def _cvc(token: str, bus: str, certificates: str) -> dict[str, Any]:
    """Return what the source of a rule is made of: a token in each callback, and where certificates may lie."""
    connection = {"EventBusName": bus, "RuleName": f"northbound-{secrets.token_hex(6)}"}
    options = {"certificate_urls": certificates} if certificates else {}
    return {"connection": connection, "keys": [{"kind": "token", "secret": token}], "options": options}


def _subscribed(hub: Client, vendor: str, login: Login, body: dict[str, Any], token: str) -> tuple[dict[str, Any], str]:
    """Make the source, then the subscription, and look; where the vendor refuses, nothing of it stays."""
    service = SERVICES[vendor](login)
    place = {"vendor": vendor, "region": login.region, "endpoint": login.endpoint, "protocol": login.protocol}
    place["At"] = datetime.now(UTC).isoformat(timespec="seconds")
    connection: Connection = place | body["connection"]
    # The source knows what is asked for before the vendor does: whatever happens now can be removed by it.
    source = hub.call("POST", "/sources", body | {"connection": connection})
    url = source["intake_url"]
    try:
        _warn(url, login)
        connection = service.subscribe(connection, url, token)
        said = service.look(connection, url)
    except HubError as error:
        is_unsure = isinstance(error, Unreachable) or "SubscribeId" in connection or "RuleARN" in connection
        _undone(hub, service, source, connection, is_unsure=is_unsure)
        raise
    return hub.call("PATCH", f"/sources/{source['id']}", {"connection": connection}), said


def _undone(hub: Client, service: Service, source: dict[str, Any], connection: Connection, *, is_unsure: bool) -> None:
    """Remove what a failed connect left; what may be there and cannot be removed stays with its source, for later.

    Not sure: the vendor did not answer, so it may have subscribed us, or it did and what it made is not right.
    """
    if is_unsure:
        try:
            service.unsubscribe(connection, source["intake_url"])
        except HubError as error:
            errors().print(
                shown(f"{source['id']} stays: the vendor was not told ({error.message}); disconnect it later")
            )
            return
    hub.call("DELETE", f"/sources/{source['id']}")


def _warn(url: str, login: Login) -> None:
    """Say that a vendor elsewhere cannot call an address of our own network."""
    try:
        check_url(url, AllowList())
    except BlockedAddress:
        host = urlsplit(url).hostname
        if not login.endpoint.startswith(("127.", "localhost", "[::1]")):
            errors().print(shown(f"the vendor is told to call {host}, which it cannot reach; set public_intake"))


def _login(access_key_id: str, access_key_secret: str, region: str, endpoint: str, protocol: str) -> Login:
    if not access_key_id or not access_key_secret:
        raise InvalidInput(
            "who we are at the vendor is missing: set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, "
            "or give --access-key-id and --access-key-secret"
        )
    if protocol not in {"http", "https"}:
        raise InvalidInput("--protocol is http or https", field="protocol")
    return Login(
        access_key_id=access_key_id,
        access_key_secret=access_key_secret,
        region=region,
        endpoint=endpoint,
        protocol=protocol,
    )


def _service_of(source: dict[str, Any], access_key_id: str, access_key_secret: str) -> tuple[Service, Connection]:
    connection: Connection = source["connection"]
    vendor = connection.get("vendor", "")
    if vendor not in SERVICES:
        raise InvalidInput("nothing was made for this source at a vendor's service; its page is set by hand")
    place = (connection["region"], connection["endpoint"], connection["protocol"])
    return SERVICES[vendor](_login(access_key_id, access_key_secret, *place)), connection


# --- by hand ---------------------------------------------------------------------------------------------------------


def _by_hand(hub: Client, vendor: str, app: str, name: str, secret: str, *, as_json: bool) -> None:
    if vendor == "avd" and not secret:
        secret = secrets.token_urlsafe(24)
    if vendor == "mpaas" and secret:
        raise InvalidInput("the page of mpaas has no place for a key; leave --secret out", field="secret")
    body = {
        "app_id": app,
        "name": name,
        "dialect": vendor,
        "keys": [{"kind": "shared", "secret": secret}] if secret else [],
    }
    source = hub.call("POST", "/sources", body)
    english, chinese = steps(vendor, source["id"], source["intake_url"], secret)
    if as_json:
        print_json(
            {"id": source["id"], "intake_url": source["intake_url"], "secret": secret, "en": english, "zh": chinese}
        )
        return
    _warn(source["intake_url"], Login(access_key_id="", access_key_secret="", region=""))
    for line in (*english.splitlines(), "", *chinese.splitlines()):
        out().print(shown(line))


def _told(hub: Client, source: dict[str, Any], said: str, *, as_json: bool) -> None:
    """Say what there is: the source, what was made for it, what the vendor said, its newest events and refusal."""
    own = f"source_id={quote(source['id'], safe='')}"
    newest = hub.call("GET", f"/events?{own}&limit={LATEST}")["items"]
    refused = hub.call("GET", f"/quarantine?{own}&limit=1")["items"]
    if as_json:
        told = {"source": _without_keys(source), "vendor_says": said, "newest_events": newest}
        print_json(told | {"newest_refused": refused[0] if refused else None})
        return
    out().print(styled(f"source {source['id']}  {source['dialect']}  {source['state']}", "bold"))
    out().print(shown(f"  callback URL  {source['intake_url']}"))
    for name, value in source["connection"].items():
        if value:
            out().print(shown(f"  {name:<12}  {value}"))
    if said:
        out().print(shown(f"  {said}"))
    if not newest:
        out().print("  no event has come yet")
    for one in newest:
        out().print(shown(f"  {one['recorded_at']}  {one['type']}  {one.get('room_id') or ''}"))
    for one in refused:
        out().print(shown(f"  {one['received_at']}  refused: {one['message']}"))


def _without_keys(source: dict[str, Any]) -> dict[str, Any]:
    """Return a source as shown, without what a creating answer holds once."""
    return {name: value for name, value in source.items() if name != "keys"}
