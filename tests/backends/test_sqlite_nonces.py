"""Nonces that outlive the process: new once, counted by owner, forgotten when they are over and never before."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from northbound.backends.sqlite.nonces import SqliteNonces
from northbound.model.errors import StoreFailed

ME, YOU = b"owner-me", b"owner-yo"


def nonce(owner: bytes, number: int) -> bytes:
    return owner + number.to_bytes(16, "big")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nonces.db"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], SqliteNonces]]:
    every: list[SqliteNonces] = []

    def again() -> SqliteNonces:
        every.append(SqliteNonces(path))
        return every[-1]

    yield again
    for one in every:
        one.close()


def test_a_nonce_is_new_once(opened: Callable[[], SqliteNonces]) -> None:
    nonces = opened()

    found = [nonces.use(one, 10) for one in (nonce(ME, 1), nonce(ME, 1), nonce(YOU, 1), nonce(ME, 2), nonce(ME, 1))]

    assert found == [True, False, True, True, False]
    assert (nonces.kept(ME), nonces.kept(YOU), nonces.kept(b"no-owner")) == ((2, 3), (1, 3), (0, 3))


def test_only_what_is_over_is_forgotten_some_at_a_time(opened: Callable[[], SqliteNonces]) -> None:
    nonces = opened()
    for number in range(5):
        assert nonces.use(nonce(ME, number), 10)
    assert nonces.use(nonce(YOU, 9), 11)

    kept = []
    for before, most in ((10, 9), (11, 3), (11, 3), (11, 3)):
        nonces.forget(before, most)
        kept.append((nonces.kept(ME)[0], nonces.kept(YOU)[0]))

    assert kept == [(5, 1), (2, 1), (0, 1), (0, 1)]
    assert not nonces.use(nonce(YOU, 9), 11)
    assert nonces.use(nonce(ME, 0), 12)


def test_what_may_have_been_forgotten_is_not_new(opened: Callable[[], SqliteNonces]) -> None:
    """A clock that was set back does not bring a call's time back."""
    nonces = opened()
    nonces.use(nonce(ME, 1), 10)
    nonces.forget(11, 9)

    assert nonces.kept(ME) == (0, 0)
    assert not nonces.use(nonce(ME, 1), 10)
    assert nonces.use(nonce(ME, 1), 11)


def test_counts_and_nonces_are_there_when_it_is_opened_again(opened: Callable[[], SqliteNonces]) -> None:
    with closing(opened()) as first:
        for number in range(3):
            first.use(nonce(ME, number), 10 + number)
        first.use(nonce(YOU, 0), 10)
        first.forget(11, 1)

    nonces = opened()
    assert nonces.kept(ME)[1] == 3
    assert not nonces.use(nonce(ME, 2), 12)
    nonces.forget(13, 9)
    assert nonces.kept(YOU) == (0, 0)


DIES = """
import os, signal, sys
from pathlib import Path
from northbound.backends.sqlite.nonces import SqliteNonces
nonces = SqliteNonces(Path(sys.argv[1]))
assert nonces.use(b"owner-me" + bytes(16), 10)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_nonce_outlives_its_process(path: Path, opened: Callable[[], SqliteNonces]) -> None:
    """Killed the moment after it was noted."""
    done = subprocess.run([sys.executable, "-c", DIES, str(path)], env=dict(os.environ), check=False)

    assert done.returncode == -9
    assert not opened().use(ME + bytes(16), 10)


def test_a_file_that_refuses_is_said_and_lets_no_nonce_pass(path: Path, opened: Callable[[], SqliteNonces]) -> None:
    nonces = opened()
    nonces.use(nonce(ME, 1), 10)
    with closing(apsw.Connection(str(path))) as other:
        other.execute("BEGIN IMMEDIATE")  # who else writes stands for whatever the file may refuse
        nonces._db.set_busy_timeout(1)
        with pytest.raises(StoreFailed, match=r"nonces\.db did not take it"):
            nonces.use(nonce(ME, 2), 10)
        other.execute("ROLLBACK")

    assert nonces.kept(ME) == (1, 1)
    assert nonces.use(nonce(ME, 2), 10)
