"""The registry on SQLite: objects with revisions, each change in one transaction with its audit entry."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from northbound.backends.sqlite.database import open_reader, open_writer, query
from northbound.backends.sqlite.reader import from_micros, micros
from northbound.logic.mask import mask_url
from northbound.model.account import AccessKey, Account, Bus, Once
from northbound.model.app import ApiKey, App, Endpoint, Registry, Source, Subscription
from northbound.model.call_app import CallApp
from northbound.model.certificate import Certificate
from northbound.model.errors import Conflict, NotFound
from northbound.model.notices import NoticeSettings
from northbound.model.registry import Drop, Kind, Object, Put, owner_of
from northbound.model.server import Incident, Server

KINDS: dict[str, type[Any]] = {
    "app": App,
    "source": Source,
    "endpoint": Endpoint,
    "subscription": Subscription,
    "account": Account,
    "access_key": AccessKey,
    "bus": Bus,
    "call_app": CallApp,
    "notice_settings": NoticeSettings,
    "server": Server,
    "incident": Incident,
    "certificate": Certificate,
}
ONCE_KEPT = timedelta(days=1)  # how long a client's token is remembered (facts 1.7)
_NAMES = {kind: name for name, kind in KINDS.items()}
_REGISTERED = tuple(_NAMES[kind] for kind in (App, Source, Endpoint, Subscription, Account, Bus, Certificate))
RELOADED_MOST = 2_000  # changed objects that are read one by one; more are read with all others
MASK = "***"
_ENCODE = msgspec.json.Encoder().encode


class SqliteControlReader:
    """The registry as the other processes read it."""

    def __init__(self, path: Path) -> None:
        self._db = open_reader(path)
        self._kept: dict[str, dict[str, Any]] = {}  # objects by kind and id, in id order
        self._audited = 0  # the newest audit entry that they hold
        self._version = -1

    def version(self) -> int:
        """Return the registry's version."""
        row: Any = self._db.execute(query("control.version"), ("registry",)).fetchone()
        return row[0] if row else 0

    def load(self) -> Registry:
        """Return everything that is set up; from the second time on, only what changed since is read."""
        self._db.execute("BEGIN")
        try:
            version = self.version()
            if version != self._version:
                self._catch_up()
                self._version = version
        finally:
            self._db.execute("COMMIT")
        return Registry(
            version=version,
            apps=self._all(App),
            sources=self._all(Source),
            endpoints=self._all(Endpoint),
            subscriptions=self._all(Subscription),
            accounts=self._all(Account),
            buses=self._all(Bus),
            certificates=self._all(Certificate),
        )

    def _catch_up(self) -> None:
        """Read what the audit says was changed: every change of an object has its entry in the same transaction."""
        newest: Any = self._db.execute(query("control.audit_head")).fetchone()
        head = newest[0]
        rows: list[Any] = []
        if self._kept:
            rows = self._db.execute(query("control.audit_since"), (self._audited, RELOADED_MOST + 1)).fetchall()
        if not rows or len(rows) > RELOADED_MOST:  # the first time, very much, or a change without an entry
            self._kept = {name: self._read(name) for name in _REGISTERED}
            self._audited = head
            return
        grown: set[str] = set()
        for what, identity in rows:
            name = what.rpartition(".")[0]
            if name not in _REGISTERED:
                continue
            known = self._kept[name]
            row: Any = self._db.execute(query("control.object_get"), (name, identity)).fetchone()
            if row is None:
                known.pop(identity, None)
                continue
            if identity not in known:
                grown.add(name)
            known[identity] = msgspec.json.decode(row[1], type=KINDS[name])
        for name in grown:
            self._kept[name] = dict(sorted(self._kept[name].items()))
        self._audited = head

    def commands_after(self, number: int, limit: int = 100) -> list[tuple[int, str, dict[str, Any]]]:
        """Return commands after *number*: (number, id, body)."""
        rows: list[Any] = self._db.execute(query("control.commands_after"), (number, limit)).fetchall()
        return [(row[0], row[1], msgspec.json.decode(row[2])) for row in rows]

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def _all(self, kind: type[Kind]) -> tuple[Kind, ...]:
        return tuple(self._kept[_NAMES[kind]].values())

    def _read(self, name: str) -> dict[str, Any]:
        rows: list[Any] = self._db.execute(query("control.objects_all"), (name,)).fetchall()
        found = (msgspec.json.decode(row[0], type=KINDS[name]) for row in rows)
        return {one.id: one for one in found}


class SqliteControl:
    """The one writer of control.db."""

    def __init__(self, path: Path, on_change: Callable[[], None] = lambda: None) -> None:
        self._db = open_writer(path, "control")
        self._db.execute("PRAGMA wal_autocheckpoint=1000")  # few writes: no thread is worth it
        self._on_change = on_change

    # --- objects --------------------------------------------------------------------------------

    def version(self) -> int:
        """Return the registry's version: it grows with every change."""
        row: Any = self._db.execute(query("control.version"), ("registry",)).fetchone()
        return row[0] if row else 0

    def get(self, kind: type[Kind], identity: str) -> tuple[int, Kind]:
        """Return (revision, object); raise `NotFound`."""
        row: Any = self._db.execute(query("control.object_get"), (_NAMES[kind], identity)).fetchone()
        if row is None:
            raise NotFound(f"there is no {_NAMES[kind]} {identity!r}")
        return row[0], msgspec.json.decode(row[1], type=kind)

    def find(
        self, kind: type[Kind], *, after: str = "", app_id: str | None = None, limit: int = 100
    ) -> list[tuple[int, Kind]]:
        """Return up to *limit* (revision, object) in id order after *after*."""
        name = "control.objects" if app_id is None else "control.objects_of"
        rows: list[Any] = self._db.execute(query(name), (_NAMES[kind], after, app_id, limit)).fetchall()
        return [(row[1], msgspec.json.decode(row[2], type=kind)) for row in rows]

    def put(self, one: Object, *, who: str, now: datetime, revision: int | None = None) -> int:
        """Create (*revision* None) or replace an object at *revision*; return the new one; raise `Conflict`."""
        self.change((Put(one=one, revision=revision),), (), who=who, now=now)
        return (revision or 0) + 1

    def drop(self, kind: type[Any], identity: str, *, who: str, now: datetime) -> None:
        """Remove an object; raise `NotFound`."""
        self.change((), (Drop(kind=kind, id=identity),), who=who, now=now)

    def change(
        self, puts: Sequence[Put], drops: Sequence[Drop], *, who: str, now: datetime, once: Once | None = None
    ) -> None:
        """Do all of it in one transaction with its audit entries, or nothing; raise `Conflict`, `NotFound`."""
        with self._db:
            for put in puts:
                self._put(put.one, put.revision, who, now)
            for drop in drops:
                self._drop(drop, who, now)
            if once is not None:
                self._db.execute(query("control.once_trim"), (micros(now - ONCE_KEPT),))
                values = (once.account_id, once.action, once.token, micros(now), _ENCODE(once))
                self._db.execute(query("control.once_put"), values)
            self._db.execute(query("control.version_up"), ("registry",))
        self._on_change()

    def once(self, account_id: str, action: str, token: str, since: datetime) -> Once | None:
        """Return what was done under a client's token after *since*, None when nothing was."""
        key = (account_id, action, token, micros(since))
        row: Any = self._db.execute(query("control.once_get"), key).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=Once)

    def _put(self, one: Object, revision: int | None, who: str, now: datetime) -> None:
        name = _NAMES[type(one)]
        row: Any = self._db.execute(query("control.object_get"), (name, one.id)).fetchone()
        if row is None and revision is not None:
            raise NotFound(f"there is no {name} {one.id!r}")
        if row is not None and revision != row[0]:
            raise Conflict(f"{name} {one.id!r} was changed meanwhile; read it again and repeat the change")
        values = (name, one.id, owner_of(one), (row[0] if row else 0) + 1, _ENCODE(one))
        self._db.execute(query("control.object_put"), values)
        self._audit(now, who, f"{name}.{'changed' if row else 'created'}", one.id, row[1] if row else None, one)

    def _drop(self, drop: Drop, who: str, now: datetime) -> None:
        name = _NAMES[drop.kind]
        row: Any = self._db.execute(query("control.object_get"), (name, drop.id)).fetchone()
        if row is None:
            raise NotFound(f"there is no {name} {drop.id!r}")
        self._db.execute(query("control.object_drop"), (name, drop.id))
        self._audit(now, who, f"{name}.deleted", drop.id, row[1], None)

    # --- keys -----------------------------------------------------------------------------------

    def key_of(self, secret: str, now: datetime) -> ApiKey | None:
        """Return who holds *secret*, noting its use."""
        hashed = hashlib.sha256(secret.encode()).digest()
        row: Any = self._db.execute(query("control.key_get"), (hashed,)).fetchone()
        if row is None:
            return None
        self._db.execute(query("control.key_used"), (micros(now), row[0]))
        return ApiKey(id=row[0], role=row[1], app_id=row[2], name=row[3])

    def add_key(self, key: ApiKey, secret: str, *, who: str, now: datetime) -> None:
        """Store a key by its hash."""
        hashed = hashlib.sha256(secret.encode()).digest()
        with self._db:
            self._db.execute(query("control.key_add"), (key.id, hashed, key.role, key.app_id, key.name, micros(now)))
            self._audit(now, who, "key.created", key.id, None, key)

    def keys(self) -> list[ApiKey]:
        """Return all keys, without secrets."""
        rows: list[Any] = self._db.execute(query("control.keys")).fetchall()
        return [
            ApiKey(
                id=row[0],
                role=row[1],
                app_id=row[2],
                name=row[3],
                created_at=from_micros(row[4]),
                last_used_at=from_micros(row[5]) if row[5] is not None else None,
            )
            for row in rows
        ]

    def drop_key(self, identity: str, *, who: str, now: datetime) -> None:
        """Remove a key."""
        with self._db:
            self._db.execute(query("control.key_drop"), (identity,))
            self._audit(now, who, "key.deleted", identity, None, None)

    # --- commands and audit ---------------------------------------------------------------------

    def command(self, identity: str, body: dict[str, Any], *, who: str, now: datetime) -> None:
        """Ask the delivery process for something, once."""
        with self._db:
            self._db.execute(query("control.command_add"), (identity, _ENCODE(body), micros(now)))
            self._audit(now, who, f"command.{body.get('do', '')}", identity, None, body)
        self._on_change()

    def command_of(self, identity: str) -> dict[str, Any] | None:
        """Return what was asked for under *identity*, or None."""
        row: Any = self._db.execute(query("control.command_get"), (identity,)).fetchone()
        return None if row is None else msgspec.json.decode(row[0])

    def note(self, what: str, identity: str, *, who: str, now: datetime) -> None:
        """Put into the audit what changed nothing: a secret was shown."""
        with self._db:
            self._audit(now, who, what, identity, None, None)

    def audit(self, before: int, limit: int) -> list[dict[str, Any]]:
        """Return audit entries, newest first."""
        rows: list[Any] = self._db.execute(query("control.audit_list"), (before, limit)).fetchall()
        names = ("number", "at", "who", "what", "object", "before", "after")
        return [dict(zip(names, row, strict=True)) | {"at": from_micros(row[1])} for row in rows]

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _audit(self, now: datetime, who: str, what: str, identity: str, before: bytes | None, after: Any) -> None:
        values: Sequence[Any] = (
            micros(now),
            who,
            what,
            identity,
            _without_secrets(before),
            _without_secrets(_ENCODE(after)) if after is not None else None,
        )
        self._db.execute(query("control.audit_add"), values)


def _without_secrets(body: bytes | None) -> bytes | None:
    """Return an object's JSON with secrets masked: the audit says that one changed, never what it is."""
    if body is None:
        return None
    content = msgspec.json.decode(body)
    if isinstance(content, dict):
        for key in content.get("keys", []):
            key["secret"] = MASK
        for name in ("token", "app_key", "secret"):
            if content.get(name):
                content[name] = MASK
        if (content.get("room_list") or {}).get("key"):
            content["room_list"]["key"] = MASK
    return _ENCODE(_without_url_secrets(content))


def _without_url_secrets(value: Any) -> Any:
    """Return a JSON value with its URLs masked, wherever they stand: also in a vendor's own words of an object."""
    if isinstance(value, dict):
        return {name: _without_url_secrets(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_without_url_secrets(member) for member in value]
    return mask_url(value) if isinstance(value, str) and ("?" in value or "//" in value) else value
