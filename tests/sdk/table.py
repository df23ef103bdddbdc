"""What became of each action with each of the vendors' clients: the report that `make sdk-report` prints.

A test says what it drives, and the row's result is `ok` unless the block says otherwise or fails:

    def test_a_rule_is_created(record: Record, ...):
        with record("CreateRule", sdk=EVENTBRIDGE, signature="V3"):
            client.create_rule(...)

    def test_a_stale_time_is_refused(record: Record, ...):
        with record("CreateRule", sdk=EVENTBRIDGE, signature="V1", case=STALE) as row:
            row.result = refusal_of(...)      # the code that the client raised

`signature` is V1, V3, or whatever names the client's own way (the data plane: HMAC-SHA1). Rows of one action, client,
signature and case that come twice are one row; a failure stays. What must be there is in `sdk/asked.py`. The fixture
`record` is in `sdk/conftest.py`. Run by hand: `make sdk-report`, or with `SDK=--json` as JSON.
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

if __name__ == "__main__":  # run by hand, where nobody has said where the tests are
    sys.path.insert(0, str(Path(__file__).parents[1]))

from sdk.asked import ACTIONS, ERRORS, LOOP, NOT_THERE, SIGNATURES

ROWS_VARIABLE = "SDK_REPORT_ROWS"  # where rows are appended; unset: nobody asked (NORTHBOUND_ would be a setting)
OK, MISSING = "ok", "MISSING"
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
    def is_good(self) -> bool:
        """Whether it came out as it should: what is refused by a code of its own was not taken."""
        return not self.result.startswith("failed") and (self.case not in ERRORS or self.result != OK)

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
        if row.key not in found or not row.is_good:
            found[row.key] = row
    return [found[key] for key in sorted(found)]


def missing(rows: list[Row]) -> list[Row]:
    """Return what `sdk/asked.py` wants and no row tells, in its order."""
    done = {(row.sdk, row.action, row.signature) for row in rows if not row.case}
    cases = {(row.sdk, row.case, row.signature) for row in rows}
    actions = [
        Row(action, sdk, signature, result=MISSING)
        for sdk, names in ACTIONS.items()
        for action in names
        for signature in SIGNATURES[sdk]
        if (sdk, action, signature) not in done
    ]
    errors = [
        Row("?", sdk, signature, case, MISSING)
        for sdk, signatures in SIGNATURES.items()
        for case in (*ERRORS, LOOP)
        for signature in signatures
        if (sdk, case, signature) not in cases and (sdk, case) not in NOT_THERE
    ]
    return actions + errors


def section(title: str, rows: list[Row], *, told: bool = True) -> Table:
    """Return a table of rows by client: action, case (if *told*), which signatures came to one result, and it."""
    head = ("Action", "Case", "Signed", "Result") if told else ("Action", "Signed", "Result")
    table = Table(*head, title=title, title_justify="left", title_style="bold")
    lines: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        lines.setdefault((row.sdk, row.action, row.case if told else "", shown(row)), []).append(row.signature)
    last = ""
    for (sdk, action, case, result), signatures in lines.items():
        if sdk != last:
            table.add_section()
            table.add_row(f"[bold]{sdk}[/]")
        last = sdk
        words = (f" {action}", case) if told else (f" {action}",)
        table.add_row(*words, ", ".join(signatures), result)
    return table


def shown(row: Row) -> str:
    """Return a row's result as it is shown."""
    return row.result if row.is_good and row.result != MISSING else f"[bold red]{row.result}[/]"


def as_text(rows: list[Row], lacking: list[Row]) -> None:
    """Print what each action, each error and the loop came to, and the sums."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    everything = rows + lacking
    parts = {
        "Actions": sorted((row for row in everything if not row.case), key=lambda row: row.sdk),
        "Errors": sorted(
            (row for row in everything if row.case in ERRORS), key=lambda row: (row.sdk, ERRORS.index(row.case))
        ),
        "Loop": sorted((row for row in everything if row.case == LOOP), key=lambda row: row.sdk),
        "Further cases": [row for row in rows if row.case and row.case not in (*ERRORS, LOOP)],
    }
    for title, part in parts.items():
        console.print(section(title, part, told=title != "Actions"))
        if title == "Errors":
            for (sdk, case), why in NOT_THERE.items():
                console.print(f"{sdk}, {case}: not in its protocol: {why}.")
        console.print()
    counts = ", ".join(
        f"{title.lower()} {sum(row.is_good and row.result != MISSING for row in part)} of {len(part)}"
        for title, part in parts.items()
    )
    failed = sum(not row.is_good for row in rows)
    console.print(f"{len({row.sdk for row in rows})} callers: {counts}; {failed} failed, {len(lacking)} missing")


def main(arguments: list[str]) -> int:
    """Run the suite and print what it noted; return non-zero when a test or a row failed, or a row is missing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.touch()
        command = [sys.executable, "-m", "pytest", "-q", str(HERE)]
        done = subprocess.run(
            command, check=False, env={**os.environ, ROWS_VARIABLE: str(path)}, capture_output=True, text=True
        )
        rows = merged([Row(**json.loads(line)) for line in path.read_text().splitlines()])
    lacking = missing(rows)
    if done.returncode:
        print(done.stdout[-8000:], file=sys.stderr)
    if "--json" in arguments:
        print(
            json.dumps({"rows": [asdict(row) for row in rows], "missing": [asdict(row) for row in lacking]}, indent=1)
        )
    else:
        as_text(rows, lacking)
    return done.returncode or int(bool(lacking) or not all(row.is_good for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
