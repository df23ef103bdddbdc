"""A disk without power: an SQLite VFS over the real one that knows what was synced, and what a cut would leave.

What was written since a file's last sync may be there after a cut or not, each write for itself, the last one torn:
whoever relies on more than what was synced is found out.
"""

import random  # noqa: TID251 - seeded by its user
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512  # bytes that a disk writes whole


class _Kept:
    """One file: what is on the plate, and what only the cache holds."""

    def __init__(self, content: bytes) -> None:
        self.synced = bytearray(content)
        self.waiting: list[tuple[int, bytes]] = []  # writes in order; a negative offset: cut to that length

    def sync(self) -> None:
        for offset, content in self.waiting:
            _apply(self.synced, offset, content)
        self.waiting.clear()


class PowerlessDisk(apsw.VFS):
    """The VFS; `cut` writes into a folder what a power cut at this moment would leave."""

    def __init__(self) -> None:
        self.default = apsw.vfs_names()[0]
        super().__init__("powerless", self.default)
        self.lock = threading.Lock()
        self.kept: dict[str, _Kept] = {}

    def xOpen(self, name: Any, flags: list[int]) -> "PowerlessFile":  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        with self.lock:
            if path not in self.kept:
                self.kept[path] = _Kept(Path(path).read_bytes() if Path(path).exists() else b"")
        return PowerlessFile(self, path, name, flags)

    def xDelete(self, name: str, sync_folder: bool) -> None:  # noqa: N802, FBT001 - the name and order are SQLite's
        with self.lock:
            self.kept.pop(name, None)
        super().xDelete(name, sync_folder)

    def cut(self, folder: Path, dice: random.Random) -> None:
        """Write what is left of every file: all that was synced, and of the rest what chance kept."""
        with self.lock:
            for path, kept in self.kept.items():
                left = bytearray(kept.synced)
                for offset, content in kept.waiting:
                    if dice.random() < 0.5:
                        _apply(left, offset, _torn(content, dice))
                (folder / Path(path).name).write_bytes(left)


class PowerlessFile(apsw.VFSFile):
    def __init__(self, disk: PowerlessDisk, path: str, name: Any, flags: list[int]) -> None:
        super().__init__(disk.default, name, flags)
        self._disk = disk
        self._path = path

    def _note(self, offset: int, content: bytes) -> None:
        kept = self._disk.kept.get(self._path)
        if kept is not None:
            kept.waiting.append((offset, content))

    def xWrite(self, content: bytes, offset: int) -> None:  # noqa: N802
        with self._disk.lock:
            super().xWrite(content, offset)
            self._note(offset, bytes(content))

    def xTruncate(self, length: int) -> None:  # noqa: N802
        with self._disk.lock:
            super().xTruncate(length)
            self._note(-1 - length, b"")

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        with self._disk.lock:
            kept = self._disk.kept.get(self._path)
            if kept is not None:
                kept.sync()


def _apply(content: bytearray, offset: int, part: bytes) -> None:
    if offset < 0:
        del content[-1 - offset :]
        return
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(part)] = part


def _torn(content: bytes, dice: random.Random) -> bytes:
    """Return the first sectors of a write, all of them half of the time."""
    if dice.random() < 0.5:
        return content
    return content[: dice.randrange(len(content) // SECTOR + 1) * SECTOR]


@contextmanager
def powerless_disk() -> Iterator[PowerlessDisk]:
    """Put the disk under every connection that is opened inside."""
    disk = PowerlessDisk()
    apsw.set_default_vfs("powerless")
    try:
        yield disk
    finally:
        apsw.set_default_vfs(disk.default)
