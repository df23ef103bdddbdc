"""Play a captured media server's event stream again, as the server's own event handler posts it.

Events that fell together within 100 ms go in one JSON array, at their own pace or scaled, each group after the one
before it was answered. A refused or unanswered post is sent again after 0.1, 0.2, 0.4 ... seconds.
`python -m northbound.testing.replay_stream FILE URL [--speed N]`
"""

import argparse
import http.client
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from northbound.model.errors import HubError, InvalidInput

GROUP_SECONDS = 0.1
TRIES = 9  # with the waits below some 25 seconds: a process that starts again is back by then
FIRST_WAIT = 0.1
TIMEOUT = 10.0
SAMPLE = "janus-1.1.2-session.ndjson"


class StreamStopped(HubError):
    """The intake did not take a group of events."""

    code = "stream_stopped"


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Events that are posted together, *at* seconds after the first event of the stream."""

    at: float
    body: bytes
    count: int


class _Stamp(msgspec.Struct):
    timestamp: int  # microseconds


def sample_path(name: str = SAMPLE) -> Path:
    """Return a captured stream that is shipped in the package."""
    return Path(str(files("northbound"))) / "samples" / name


def read_groups(path: Path) -> list[Group]:
    """Read a captured stream, one JSON event a line, into the groups its sender would have posted."""
    try:
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
        stamps = [msgspec.json.decode(line, type=_Stamp).timestamp / 1_000_000 for line in lines]
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise InvalidInput(
            f"{path} is not a captured stream, one JSON event with a timestamp a line: {error}"
        ) from None
    return list(_grouped(lines, stamps))


def _grouped(lines: Sequence[bytes], stamps: Sequence[float]) -> Iterable[Group]:
    together: list[bytes] = []
    began = 0.0
    for line, stamp in zip(lines, stamps, strict=True):
        if together and stamp - began >= GROUP_SECONDS:
            yield _group(together, began - stamps[0])
            together = []
        if not together:
            began = stamp
        together.append(line)
    if together:
        yield _group(together, began - stamps[0])


def _group(lines: list[bytes], at: float) -> Group:
    return Group(at=max(0.0, at), body=b"[" + b",".join(lines) + b"]", count=len(lines))


class StreamReplay:
    """Posts the groups of one stream to one URL; `run` in a thread, `stop` from anywhere."""

    def __init__(
        self,
        groups: Sequence[Group],
        url: str,
        *,
        speed: float = 1.0,
        tls: ssl.SSLContext | None = None,
        on_posted: Callable[[Group], None] = lambda _: None,
    ) -> None:
        if speed <= 0:
            raise InvalidInput("the speed is a number above 0; 1 is the stream's own pace", field="speed")
        self._groups = groups
        self._speed = speed
        self._parts = urlsplit(url)
        self._tls = tls
        self._on_posted = on_posted
        self._stopped = threading.Event()
        self._connection: http.client.HTTPConnection | None = None
        self.posted = 0  # events taken by the intake so far
        self.groups_posted = 0

    @property
    def total(self) -> int:
        """How many events the stream holds."""
        return sum(group.count for group in self._groups)

    def stop(self) -> None:
        """End `run` after the group under way."""
        self._stopped.set()

    def run(self) -> bool:
        """Post every group at its time; tell whether the stream came to its end; raise `StreamStopped`."""
        began = time.monotonic()
        try:
            for group in self._groups:
                wait = began + group.at / self._speed - time.monotonic()
                if self._stopped.wait(max(0.0, wait)) or not self._post(group):
                    return False
                self.posted += group.count
                self.groups_posted += 1
                self._on_posted(group)
        finally:
            self._hang_up()
        return True

    def _post(self, group: Group) -> bool:
        pause, why = FIRST_WAIT, ""
        for _ in range(TRIES):
            status, why = self._try(group.body)
            if 200 <= status < 300:
                return True
            if self._stopped.wait(pause):
                return False
            pause *= 2
        raise StreamStopped(f"the intake did not take the stream in {TRIES} tries: {why}")

    def _try(self, body: bytes) -> tuple[int, str]:
        try:
            connection = self._connected()
            headers = {"content-type": "application/json"}
            connection.request("POST", self._parts.path or "/", body=body, headers=headers)
            answer = connection.getresponse()
            answer.read(65_536)
        except (OSError, http.client.HTTPException) as error:
            self._hang_up()
            return 0, str(error) or type(error).__name__
        if answer.getheader("connection", "").lower() == "close":
            self._hang_up()
        return answer.status, f"it answers {answer.status}"

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self._parts.hostname or "", self._parts.port
            if self._parts.scheme == "https":
                self._connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT, context=self._tls)
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Play one stream from the command line."""
    parser = argparse.ArgumentParser(description="Post a captured stream to an intake URL at its own pace.")
    parser.add_argument("file", type=Path)
    parser.add_argument("url")
    parser.add_argument("--speed", type=float, default=1.0, help="1 is the stream's own pace")
    given = parser.parse_args(arguments)
    try:
        replay = StreamReplay(read_groups(given.file), given.url, speed=given.speed)
        replay.run()
    except HubError as error:
        sys.stderr.write(f"error: {error.message}\n")
        return 1
    sys.stdout.write(f"{replay.posted} events in {replay.groups_posted} posts\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
