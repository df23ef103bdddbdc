"""Processes that only the bench starts.

`no-op`: the intake, whose appends return at once. `timed`: the intake, which notes how long its commits took.
`serve`: the supervisor with all its processes.
"""

import atexit
import os
import sys
import time

import msgspec

from northbound.backends.sqlite.log import SqliteLog
from northbound.config import Config
from northbound.hub import intake
from northbound.hub.process import CONFIG_VARIABLE, run_process
from northbound.hub.supervisor import Supervisor
from northbound.hub.system import Folder
from northbound.model.log import Appended

NOTHING = Appended(ids=("ev_none",))


async def append_nothing(self, receipt, events):
    return NOTHING


def note_commits(folder: Folder) -> None:
    """Keep (rows, seconds) of each transaction and write them at the end beside the databases."""
    noted: list[tuple[int, float]] = []
    original = SqliteLog._transaction

    def timed(self, batch):
        start = time.perf_counter()
        original(self, batch)
        noted.append((len(batch), time.perf_counter() - start))

    SqliteLog._transaction = timed
    atexit.register(lambda: (folder.path / "commits.json").write_bytes(msgspec.json.encode(noted)))


def main(kind: str) -> None:
    config = msgspec.json.decode(os.environ[CONFIG_VARIABLE], type=Config)
    if kind == "serve":
        supervisor = Supervisor(config)
        supervisor.start()
        supervisor.watch()
        return
    if kind == "no-op":
        SqliteLog.append = append_nothing
    else:
        note_commits(Folder(config.data))
    run_process(intake.main)


if __name__ == "__main__":
    main(sys.argv[1])
