"""Copy a data folder while `serve` runs: each database as of one moment, in an order that keeps them in agreement."""

import os
import shutil
from contextlib import closing
from pathlib import Path

import apsw
import msgspec

from northbound.backends.sqlite.database import query
from northbound.backends.sqlite.reader import SqliteLogReader
from northbound.hub.system import Folder
from northbound.model.errors import ConfigError, StoreFailed

BUSY_MS = 5_000


class BackedUp(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds: log entries, and how far they were folded and routed."""

    folder: str
    head: int
    cursor: int


def back_up(folder: Folder, target: Path) -> BackedUp:
    """Copy *folder* to *target*, which must not exist; whole or not at all.

    Deliveries are copied before the log: what they followed is in it then. The search is left out, since it is made
    again from the log. The keys go along: a restored hub signs as before.
    """
    if not folder.events.exists():
        raise ConfigError(f"{folder.path} holds no {folder.events.name}; give --data with the folder that `serve` uses")
    if target.exists():
        raise ConfigError(f"{target} exists already; name a folder that does not, one for each backup")
    part = target.with_name(f"{target.name}.part")
    try:
        part.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"{part} cannot be made: {error.strerror}; an earlier backup may have been cut off") from None
    try:
        copy = Folder(str(part))
        for source, to in (
            (folder.control, copy.control),
            (folder.deliveries, copy.deliveries),
            (folder.events, copy.events),
        ):
            _copy_database(source, to)
        found = _checked(copy, target)
        _seal(folder, copy)
    except (apsw.Error, OSError) as error:
        raise StoreFailed(f"the backup failed: {type(error).__name__}: {error}; remove {part}") from None
    part.rename(target)
    return found


def _copy_database(source: Path, to: Path) -> None:
    """Copy in one read: in steps, a copy begins anew with every commit, and never ends under load."""
    with (
        closing(apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)) as live,
        closing(apsw.Connection(str(to))) as copy,
    ):
        live.set_busy_timeout(BUSY_MS)
        with copy.backup("main", live, "main") as running:
            while not running.done:
                running.step(-1)


def _checked(copy: Folder, target: Path) -> BackedUp:
    """Return what the copy holds; raise `StoreFailed` when its log does not hold together."""
    with closing(apsw.Connection(str(copy.deliveries))) as deliveries:
        row = deliveries.execute(query("deliveries.cursor_get"), ("log",)).fetchone()
    with closing(SqliteLogReader(copy.events)) as log:
        _, broken = log.verify_chain()
        if broken is not None:
            raise StoreFailed(f"the log does not hold at offset {broken}, in the live folder too; see `log verify`")
        return BackedUp(folder=str(target), head=log.head(), cursor=-1 if row is None else int(row[0]))


def _seal(folder: Folder, copy: Folder) -> None:
    """Add the first API key, keep others out, and bring everything to the disk."""
    if folder.admin_key.exists():
        shutil.copy(folder.admin_key, copy.path / folder.admin_key.name)
    for path in (*copy.path.iterdir(), copy.path):
        path.chmod(0o700 if path.is_dir() else 0o600)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
