"""Settings: defaults, then a TOML file, then `NORTHBOUND_*` variables, then options; unknown keys are refused."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from northbound.logic.addresses import AllowList, check_url
from northbound.model.errors import ConfigError, HubError

PREFIX = "NORTHBOUND_"
PROXY_PORT = 1080  # what curl and its users take for a proxy URL without one
SECRETS = frozenset({"notices_secret"})  # settings whose value is never shown
_BASE_URL = re.compile(r"https?://(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?(?:/[!-~]{0,1000})?")

_LONG = 31 * 86_400.0  # seconds: longer than any wait that makes sense, short enough for every clock
_ABOVE_ZERO = (
    "header_timeout",
    "body_timeout",
    "lease_seconds",
    "wait_scale",
    "probe_seconds",
    "check_every",
    "check_timeout",
)
_BOUNDS: dict[str, tuple[float, float]] = {
    "horizon_days": (1, 3650),
    "attempts_days": (1, 3650),
    "body_limit": (1, 1 << 30),
    "pending_requests": (1, 1_000_000),
    "pending_bytes": (1, 1 << 34),
    "max_connections": (1, 1_000_000),
    "check_failures": (1, 1000),
    "endpoint_fails_hours": (0, 24 * 3650),
}
_WORDS = {"log_format": ("auto", "console", "json"), "log_level": ("debug", "info", "warning", "error")}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting of `northbound serve`. Times are in seconds, sizes in bytes."""

    data: str = "northbound-data"  # folder of the databases, keys and sockets
    listen: str = "127.0.0.1:7070"  # web process: API, pages, management doors
    intake: str = "127.0.0.1:7071"  # intake process: vendors' callbacks
    public_url: str = ""  # base URL others are told for the web process (the hub's certificate); empty: http://<listen>
    public_intake: str = ""  # base URL vendors are told for intake; empty: http://<intake>
    tls_cert: str = ""  # PEM files: both servers speak HTTPS themselves
    tls_key: str = ""
    trusted_proxies: tuple[str, ...] = ()  # networks whose X-Forwarded-For counts (ruling 7)
    allow_targets: tuple[str, ...] = ()  # otherwise blocked addresses that deliveries may go to
    egress_proxy: str = ""  # HTTP proxy for everything that goes out
    horizon_days: int = 30  # how long a vendor's event id is remembered
    wait_scale: float = 1.0  # multiplies every retry wait; below 1 only in tests
    body_limit: int = 1024 * 1024  # bytes of one callback
    header_timeout: float = 5.0  # until the whole head of a request is in
    body_timeout: float = 5.0  # until the whole body is in
    pending_requests: int = 4096  # callbacks being stored at once; above it 503
    pending_bytes: int = 8 * 1024 * 1024
    pending_reserve: float = 0.25  # share of both kept for sources whose vendor does not send again
    max_connections: int = 8192
    lease_seconds: float = 60.0  # how long an exchange may be under way; longer than every endpoint's deadline
    attempts_days: int = 7  # how long tries are kept with request and response
    check_targets: tuple[str, ...] = ()  # addresses of media servers whose ports may be checked
    check_every: float = 5.0  # between two looks at the ports
    check_timeout: float = 2.0  # of one port
    check_failures: int = 3  # in a row make a port down
    room_list_key: str = "api_key"  # parameter or header that carries the key of the vendors' lists of rooms
    endpoint_fails_hours: float = 120.0  # how long every attempt may fail before an endpoint is stopped; 0: for ever
    probe_seconds: float = 300.0  # between two tries of a stopped endpoint
    probe_gone: bool = False  # try endpoints that answered 410 again too
    notices_url: str = ""  # where each new alarm is sent; empty: nowhere
    notices_secret: str = ""  # what notices are signed with, as Standard Webhooks
    log_format: str = "auto"  # auto (console on a terminal), console, json
    log_level: str = "info"


def load_config(
    path: Path | None = None, environ: Mapping[str, str] | None = None, options: Mapping[str, Any] | None = None
) -> Config:
    """Return the settings in force; raise `ConfigError` naming a key that is unknown or has a wrong value."""
    return msgspec.structs.replace(_convert(layered(path, environ, options)[0]))


def layered(
    path: Path | None, environ: Mapping[str, str] | None, options: Mapping[str, Any] | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return (values that are set, where each comes from): file < environment < options."""
    values: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for where, layer in (
        (str(path), _from_file(path)),
        ("environment", _from_environ(os.environ if environ is None else environ)),
        ("option", {name: value for name, value in (options or {}).items() if value is not None}),
    ):
        values |= layer
        origin |= dict.fromkeys(layer, where)
    return values, origin


def check_config(config: Config) -> None:
    """Refuse settings that contradict each other (fault D12 among them)."""
    for name in ("listen", "intake"):
        split_address(getattr(config, name), name)
    if not 0 <= config.pending_reserve < 1:
        raise ConfigError("pending_reserve is a share from 0 up to, but not, 1", field="pending_reserve")
    for name in ("public_url", "public_intake"):
        url = getattr(config, name)
        if url and (not _BASE_URL.fullmatch(url) or "?" in url or "#" in url):
            raise ConfigError(f"{name} is a base URL such as https://hub.example.com, not {url!r}", field=name)
    if bool(config.tls_cert) != bool(config.tls_key):
        raise ConfigError("tls_cert and tls_key go together; give both files, or none")
    if not _NAME.fullmatch(config.room_list_key):
        raise ConfigError("room_list_key is a name such as api_key", field="room_list_key")
    _check_health(config)
    _check_numbers(config)
    _check_words(config)


def _check_numbers(config: Config) -> None:
    """Refuse what no process could count with, infinity and what is no number among it."""
    for name, (least, most) in _BOUNDS.items():
        if not least <= getattr(config, name) <= most:
            raise ConfigError(f"{name} is from {least:g} to {most:g}, not {getattr(config, name):g}", field=name)
    for name in _ABOVE_ZERO:
        if not 0 < getattr(config, name) <= _LONG:
            raise ConfigError(f"{name} is above 0 and at most {_LONG:g}, not {getattr(config, name):g}", field=name)
    if config.pending_bytes < config.body_limit:
        raise ConfigError("pending_bytes must not be below body_limit: one body must fit", field="pending_bytes")


def _check_words(config: Config) -> None:
    for name, words in _WORDS.items():
        if getattr(config, name) not in words:
            raise ConfigError(f"{name} is one of: {', '.join(words)}", field=name)
    if not config.data.strip():
        raise ConfigError("data names the folder of the databases; it is empty", field="data")
    if config.egress_proxy:
        read_proxy(config.egress_proxy)
    host, port = split_address(config.listen, "listen")
    other, same = split_address(config.intake, "intake")
    if port and port == same and (host == other or {host, other} & {"", "0.0.0.0", "::"}):  # noqa: S104 - compared
        raise ConfigError("listen and intake are the same address; give each a port of its own", field="intake")


def read_proxy(url: str) -> tuple[str, int, str | None]:
    """Return host, port and login (`user:password`, or None) of an egress proxy; the text is never shown."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PROXY_PORT
    except ValueError:
        host, port, parts = None, 0, urlsplit("")
    if parts.scheme != "http" or not host or parts.path.strip("/") or parts.query:
        raise ConfigError(
            "egress_proxy is written http://host:port or http://user:password@host:port", field="egress_proxy"
        )
    if parts.username is None:
        return host, port, None
    return host, port, f"{unquote(parts.username)}:{unquote(parts.password or '')}"


def _check_health(config: Config) -> None:
    """Refuse a URL for notices that deliveries could not go to either (D5), or one that nothing signs for."""
    if bool(config.notices_url) != bool(config.notices_secret):
        raise ConfigError("notices_url and notices_secret go together; give both, or none", field="notices_url")
    if not config.notices_url:
        return
    try:
        check_url(config.notices_url, AllowList.parse(config.allow_targets))
    except HubError as error:
        raise ConfigError(f"notices_url: {error.message}", field="notices_url") from None
    except ValueError:
        raise ConfigError("notices_url is a URL such as https://ops.example.com/alarms", field="notices_url") from None


def split_address(address: str, name: str) -> tuple[str, int]:
    """Split `host:port`; raise `ConfigError` naming setting *name*."""
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{name} is host:port, such as 127.0.0.1:7070, not {address!r}", field=name)
    return host.strip("[]"), int(port)


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    fields = {field.name: field for field in msgspec.structs.fields(Config)}
    found: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name not in fields:
            raise ConfigError(f"there is no setting for the variable {variable}; see `northbound config show`")
        is_list = fields[name].type == tuple[str, ...]
        found[name] = [part.strip() for part in text.split(",") if part.strip()] if is_list else text
    return found


def _convert(values: Mapping[str, Any]) -> Config:
    known = {field.name for field in msgspec.structs.fields(Config)}
    for name in values:
        if name not in known:
            raise ConfigError(f"there is no setting {name!r}; see `northbound config show`", field=name)
    try:
        config = msgspec.convert(dict(values), Config, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"a setting has a wrong value: {error}") from None
    check_config(config)
    return config
