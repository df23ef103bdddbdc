"""A disk that fails on demand: an SQLite VFS over the real one, for the connections opened while it is in place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import apsw


class FaultyDisk(apsw.VFS):
    """Set `sync_faults` or `full` to make the next syncs, or every write to a write-ahead log, fail."""

    def __init__(self) -> None:
        self.default = apsw.vfs_names()[0]
        super().__init__("faulty", self.default)
        self.sync_faults = 0
        self.syncs_of = "-wal"
        self.syncs = 0
        self.full = False
        self.on_write: Callable[[], None] = lambda: None

    def xOpen(self, name: Any, flags: list[int]) -> "FaultyFile":  # noqa: N802
        return FaultyFile(self, name, flags)


class FaultyFile(apsw.VFSFile):
    def __init__(self, disk: FaultyDisk, name: Any, flags: list[int]) -> None:
        super().__init__(disk.default, name, flags)
        self._disk = disk
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if self._name.endswith(self._disk.syncs_of):
            self._disk.syncs += 1
            if self._disk.sync_faults:
                self._disk.sync_faults -= 1
                error = apsw.IOError("the disk did not take it")
                error.extendedresult = apsw.SQLITE_IOERR_FSYNC
                raise error
        super().xSync(flags)

    def xWrite(self, content: bytes, offset: int) -> None:  # noqa: N802
        if self._disk.full and self._name.endswith("-wal"):
            raise apsw.FullError("no space left")
        self._disk.on_write()
        super().xWrite(content, offset)


@contextmanager
def faulty_disk() -> Iterator[FaultyDisk]:
    """Put the faulty disk under every connection that is opened inside."""
    disk = FaultyDisk()
    apsw.set_default_vfs("faulty")
    try:
        yield disk
    finally:
        apsw.set_default_vfs(disk.default)
