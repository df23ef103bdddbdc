"""What became of each action with each of the vendors' clients: the table that `make sdk-report` prints.

A test says what it drives, and the row's result is `ok` unless the block says otherwise or fails:

    def test_a_rule_is_created(record: Record, ...):
        with record("CreateRule", sdk="alibabacloud_eventbridge20200401", signature="V3"):
            client.create_rule(...)

    def test_a_stale_time_is_refused(record: Record, ...):
        with record("CreateRule", sdk="...", signature="V1", case="stale time") as row:
            row.result = refusal_of(...)      # the code that the client raised

`signature` is V1, V3, or whatever names the client's own way (the data plane: HMAC-SHA1). Rows of one action, client,
signature and case that come twice are one row; a failure stays. The fixture `record` is in `sdk/conftest.py`. Run by
hand: `make sdk-report`, or with `SDK=--json` as JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.table import Table

ROWS_VARIABLE = "SDK_REPORT_ROWS"  # where rows are appended; unset: nobody asked (NORTHBOUND_ would be a setting)
OK = "ok"
HERE = Path(__file__).parent


@dataclass
class Row:
    """One action by one client."""

    action: str
    sdk: str
    signature: str
    case: str = ""  # empty: the action does its work
    result: str = OK

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.sdk, self.action, self.case, self.signature


class Record(Protocol):
    """Open one row for as long as a block runs."""

    def __call__(self, action: str, *, sdk: str, signature: str, case: str = "") -> "RowOpen": ...


class RowOpen(Protocol):
    def __enter__(self) -> Row: ...
    def __exit__(self, *failure: object) -> bool | None: ...


@contextmanager
def recorded(action: str, *, sdk: str, signature: str, case: str = "") -> Iterator[Row]:
    """Note what became of the block as one row."""
    row = Row(action, sdk, signature, case)
    try:
        yield row
    except BaseException as error:
        row.result = f"failed: {type(error).__name__}"
        raise
    finally:
        path = os.environ.get(ROWS_VARIABLE)
        if path:
            with Path(path).open("a") as rows:
                rows.write(json.dumps(asdict(row)) + "\n")


# --- the report ------------------------------------------------------------------------------------------------------


def merged(rows: list[Row]) -> list[Row]:
    """Return each row once, in order; of several with the same key one that failed."""
    found: dict[tuple[str, str, str, str], Row] = {}
    for row in rows:
        if row.key not in found or row.result.startswith("failed"):
            found[row.key] = row
    return [found[key] for key in sorted(found)]


def as_text(rows: list[Row]) -> None:
    """Print the table, a column for each signature."""
    signatures = sorted({row.signature for row in rows})
    table = Table("Client", "Action", "Case", *signatures)
    cells = {row.key: row.result for row in rows}
    last = ""
    for sdk, action, case in dict.fromkeys((row.sdk, row.action, row.case) for row in rows):
        if last and last != sdk:
            table.add_section()
        last = sdk
        table.add_row(sdk, action, case, *(cells.get((sdk, action, case, one), "") for one in signatures))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def main(arguments: list[str]) -> int:
    """Run the suite and print what it noted; return non-zero when a test failed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.touch()
        command = [sys.executable, "-m", "pytest", "-q", str(HERE)]
        done = subprocess.run(
            command, check=False, env={**os.environ, ROWS_VARIABLE: str(path)}, capture_output=True, text=True
        )
        rows = merged([Row(**json.loads(line)) for line in path.read_text().splitlines()])
    if "--json" in arguments:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        as_text(rows)
    if done.returncode:
        print(done.stdout[-8000:], file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
