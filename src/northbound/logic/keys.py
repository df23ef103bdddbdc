"""Whose keys sign what an endpoint is sent, and verify what a source sends (ruling 6)."""

from collections.abc import Sequence

from msgspec.structs import replace

from northbound.dialects.base import Dialect
from northbound.model.app import App, Endpoint, Source
from northbound.model.wire import Key

APP_KEY = "app"  # the id that the app's key has wherever a key is named


def with_keys(endpoint: Endpoint, app: App | None, dialect: Dialect, hub_keys: Sequence[Key]) -> Endpoint:
    """Return *endpoint* with the keys that sign for it; on an app's wire a valid key of its own comes first."""
    if dialect.key_scope == "hub":
        return replace(endpoint, keys=(*hub_keys, *endpoint.keys))
    return replace(endpoint, keys=(*endpoint.keys, *_of_app(app, dialect)))


def verifying_keys(source: Source, app: App | None, dialect: Dialect) -> tuple[Key, ...]:
    """Return the keys that verify what *source* sends: its own where it has any, else on an app's wire the app's."""
    return source.keys or _of_app(app, dialect)


def lacks_key(own: tuple[Key, ...], app: App, dialect: Dialect) -> bool:
    """Tell whether nothing could sign or verify: an app's wire, no key of one's own, and an app without a key."""
    return dialect.key_scope == "app" and not own and not app.app_key


def _of_app(app: App | None, dialect: Dialect) -> tuple[Key, ...]:
    if dialect.key_scope != "app" or app is None or not app.app_key:
        return ()
    return (Key(id=APP_KEY, secret=app.app_key),)
