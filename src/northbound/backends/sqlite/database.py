"""Open a database file: pragmas, forward-only migrations, named queries."""

import os
from functools import cache
from importlib.resources import files
from pathlib import Path

import apsw

from northbound.model.errors import StoreFailed

CACHE_KIB = 16 * 1024  # per connection: enough for the hot pages, small enough for three processes
BUSY_MS = 5_000
PAGE = 4096


def open_writer(path: Path, schema: str) -> apsw.Connection:
    """Open *path* for its one writer, WAL and `synchronous=FULL`, migrated to the newest *schema*."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # for its owner alone, whatever the folder lets others do
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_MS)
    if _number(connection, "PRAGMA page_count") == 0:
        connection.execute(f"PRAGMA page_size={PAGE}")
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.execute("PRAGMA temp_store=MEMORY")
    migrate(connection, schema)
    return connection


def open_reader(path: Path) -> apsw.Connection:
    """Open *path* read-only; every statement must be short, so that no reader holds the write-ahead log open."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(BUSY_MS)
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB // 4}")
    connection.execute("PRAGMA query_only=1")
    return connection


def migrate(connection: apsw.Connection, schema: str) -> None:
    """Apply the numbered scripts that are newer than the file, each in one transaction; refuse a newer file."""
    scripts = migrations(schema)
    version = _number(connection, "PRAGMA user_version")
    if version > len(scripts):
        raise StoreFailed(
            f"the database {schema} was written by a newer northbound (schema {version}, this one knows "
            f"{len(scripts)}); run that version or newer"
        )
    for number, script in enumerate(scripts[version:], start=version + 1):
        with connection:
            connection.execute(script)
            connection.execute(f"PRAGMA user_version={number}")


@cache
def migrations(schema: str) -> tuple[str, ...]:
    """Return the migration scripts of *schema* in order."""
    folder = Path(str(files("northbound"))) / "backends" / "sqlite" / "migrations" / schema
    return tuple(path.read_text() for path in sorted(folder.glob("*.sql")))


@cache
def query(name: str) -> str:
    """Return the query *name* of queries.sql, where each has a line `-- name: what it does`."""
    return _queries()[name]


@cache
def _queries() -> dict[str, str]:
    content = (Path(str(files("northbound"))) / "backends" / "sqlite" / "queries.sql").read_text()
    found: dict[str, str] = {}
    name = ""
    for line in content.splitlines():
        if line.startswith("-- ") and ":" in line:
            name = line[3:].partition(":")[0].strip()
            found[name] = ""
        elif name and not line.startswith("--"):
            found[name] += line + "\n"
    return {name: text.strip() for name, text in found.items()}


def _number(connection: apsw.Connection, statement: str) -> int:
    row = connection.execute(statement).fetchone()
    return int(row[0]) if row else 0
