"""Write many rows with few statements: a statement gives up the interpreter's lock once, not once for each row.

In a thread beside a busy event loop that is the difference between waiting a few times and a few hundred times for it.
"""

import re
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

import apsw

MOST = 64  # rows in one statement; with powers of two below it, seven prepared forms serve any number of rows
_ROW = re.compile(r"\(\?(?:, \?)*\)")


def execute_rows(cursor: apsw.Cursor, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run *statement*, which holds one `(?, ?, ...)`, over all *rows*."""
    start = 0
    while start < len(rows):
        size = min(MOST, 1 << ((len(rows) - start).bit_length() - 1))
        cursor.execute(_widened(statement, size), tuple(chain.from_iterable(rows[start : start + size])))
        start += size


@cache
def _widened(statement: str, size: int) -> str:
    return _ROW.sub(lambda row: ", ".join([row[0]] * size), statement)
