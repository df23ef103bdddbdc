"""Run the demo: hub, receiver and stream in one program, with a live table of what happens."""

import asyncio
import contextlib
import signal
import ssl
import time
from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table

from northbound.cli.client import Client, local
from northbound.cli.output import Unreachable, out, print_json, styled
from northbound.cli.serving import say_where
from northbound.config import Config
from northbound.dialects import dialect_named
from northbound.hub.demo import Demo, Expected, Receiver, certificate_base, expect, receiving, set_up, shortcomings
from northbound.hub.process import set_up_logging
from northbound.hub.supervisor import Supervisor
from northbound.hub.system import Folder
from northbound.model.errors import HubError
from northbound.testing.replay_stream import StreamReplay, read_groups, sample_path
from northbound.testing.sink import Mount, Sink, strict_options

READY_SECONDS = 60.0  # from starting the processes to the first answer
KNOWN_SECONDS = 30.0  # from setting up to the last process that has seen it
ARRIVE_SECONDS = 60.0  # from the stream's end to its last callback
SETTLED_SECONDS = 0.7  # after the last expected callback, for those nobody expects
TICK = 0.1
LINE_SECONDS = 2.0  # between two lines where there is no terminal
Show = Callable[[float | None], None]
LOSSES = ("lost", "invented", "no_word")


class Demonstration:
    """One run; `run` tells whether every expected callback arrived and verified."""

    def __init__(
        self, config: Config, receiver_port: int, *, speed: float, is_endless: bool = False, as_json: bool = False
    ) -> None:
        self._speed = speed
        self._is_endless = is_endless
        self._as_json = as_json
        self._config = receiving(config, receiver_port)
        self._tls = ssl.create_default_context(cafile=config.tls_cert) if config.tls_cert else None
        if self._tls is not None:
            self._tls.check_hostname = False  # the very certificate we were given, at whatever name
        self._sink = Sink(port=receiver_port, port_option="--receiver-port", tls=self._tls)
        self._supervisor = Supervisor(self._config)
        self._stopped = asyncio.Event()
        self._figures: dict[str, Any] = {}
        self._demo: Demo | None = None
        self._expected: Expected | None = None
        self._replay: StreamReplay | None = None

    async def run(self) -> bool:
        """Run until the stream is through, or for ever; leave nothing running."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stopped.set)
        set_up_logging(self._config)
        async with self._sink:
            try:
                self._supervisor.start()
                say_where(self._config, as_json=self._as_json and self._is_endless)
                return await self._demonstrate()
            finally:
                if self._replay is not None:
                    self._replay.stop()
                await asyncio.to_thread(self._supervisor.stop)

    async def _demonstrate(self) -> bool:
        client = await self._ready()
        self._demo = demo = await asyncio.to_thread(set_up, client, self._sink.url, self._mount)
        groups = read_groups(sample_path())
        self._expected = expect([group.body for group in groups], demo)
        await self._known(client)
        scheme = "https" if self._config.tls_cert else "http"
        url = f"{scheme}://{local(self._config.intake)}/in/{demo.source.id}/{demo.source.token}"
        self._replay = StreamReplay(groups, url, speed=self._speed, tls=self._tls)
        streaming = asyncio.create_task(asyncio.to_thread(self._replay.run))
        console = out()
        with self._shown(console) as show:
            await self._follow(client, streaming, show)
            await self._look(client)
            show(None)
        return await self._conclude(console, client)

    async def _conclude(self, console: Console, client: Client) -> bool:
        assert self._expected is not None  # noqa: S101 - set before the stream began
        problems = shortcomings(self._expected, self._arrived())
        if self._stopped.is_set() and not self._is_endless:
            problems = problems or ["the demo was interrupted"]
        if self._as_json:
            print_json(self._account() | {"ok": not problems, "problems": problems})
        elif problems:
            for problem in problems:
                console.print(styled(problem, "red"))
        else:
            said = f"all {self._expected.total} callbacks arrived, verified and in order"
            console.print(styled(said, "green"))
        if self._is_endless and not self._stopped.is_set():
            console.print(f"still serving at {client.server}; Ctrl-C ends")
            while not self._stopped.is_set():
                await self._tick_for(1.0)
        return not problems

    # --- starting -------------------------------------------------------------------------------

    async def _ready(self) -> Client:
        scheme = "https" if self._config.tls_cert else "http"
        key = Folder(self._config.data).admin_key.read_text().strip()
        client = Client(f"{scheme}://{local(self._config.listen)}", key, ca_file=self._config.tls_cert or None)
        until = time.monotonic() + READY_SECONDS
        why = "nothing answers"
        while time.monotonic() < until and not self._stopped.is_set():
            self._supervisor.poll()
            try:
                status, content = await asyncio.to_thread(client.get, "/readyz")
            except HubError as error:
                why = error.message
            else:
                if status == 200:
                    return client
                why = f"/readyz answers {status}: {content[:200].decode(errors='replace')}"
            await asyncio.sleep(TICK)
        raise Unreachable(f"the hub did not become ready within {READY_SECONDS:g} s: {why}")

    async def _known(self, client: Client) -> None:
        """Return when every process has seen what was set up."""
        until = time.monotonic() + KNOWN_SECONDS
        while time.monotonic() < until and not self._stopped.is_set():
            self._supervisor.poll()
            _, content = await asyncio.to_thread(client.get, "/readyz")
            told: Any = msgspec.json.decode(content)
            if all(one.get("registry", -1) >= told["registry"] for one in told["processes"].values()):
                return
            await asyncio.sleep(TICK)
        if not self._stopped.is_set():
            raise Unreachable(f"not every process saw what was set up within {KNOWN_SECONDS:g} s; see the hub's log")

    def _mount(self, one: Receiver) -> None:
        options = strict_options(dialect_named(one.dialect), certificate_base(self._config))
        self._sink.mount(Mount(path=one.path, dialect=one.dialect, keys=one.keys, options=options))

    async def _tick_for(self, seconds: float) -> None:
        """Keep the processes running meanwhile."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stopped.is_set():
            self._supervisor.poll()
            await asyncio.sleep(TICK)

    # --- following ------------------------------------------------------------------------------

    async def _follow(self, client: Client, streaming: asyncio.Task[bool], show: Show) -> None:
        """Return when all is here, when something is wrong for good, or when nothing more is to be waited for."""
        assert self._expected is not None  # noqa: S101 - set before the stream began
        ended: float | None = None
        complete: float | None = None
        while not self._stopped.is_set():
            self._supervisor.poll()
            now = time.monotonic()
            if streaming.done() and ended is None:
                streaming.result()
                ended = now
            if ended is not None and complete is None and self._first_count() >= self._expected.total:
                complete = now
            if complete is not None and now - complete > SETTLED_SECONDS:
                return
            if ended is not None and (now - ended > ARRIVE_SECONDS or self._has_unverified()):
                return
            await self._look(client)
            show(now)
            await asyncio.sleep(TICK)
        if self._replay is not None:
            self._replay.stop()
        await asyncio.wait({streaming})

    async def _look(self, client: Client) -> None:
        with contextlib.suppress(HubError):  # a web process that starts again is no reason to stop
            self._figures = await asyncio.to_thread(client.call, "GET", "/stats")

    def _first_count(self) -> int:
        return sum(tally.first for tally in self._sink.tallies.values())

    def _has_unverified(self) -> bool:
        return any(tally.refused or tally.undecodable for tally in self._sink.tallies.values())

    def _arrived(self) -> dict[str, dict[str, list[tuple[int | None, tuple[str, ...], bool]]]]:
        return {
            path: {room: [(one.seq, one.kinds, one.verified) for one in seen] for room, seen in rooms.items()}
            for path, rooms in self._sink.firsts.items()
        }

    # --- showing --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _shown(self, console: Console) -> Generator[Show]:
        """Yield what is called now and then with the time, and at last with None."""
        if self._as_json:
            yield _nothing
        elif console.is_terminal:
            with Live(self._table(), console=console, refresh_per_second=8) as live:

                def update(now: float | None) -> None:
                    live.update(self._table())

                yield update
        else:
            shown_at = [0.0]

            def line(now: float | None) -> None:
                if now is None:
                    console.print(self._table())
                elif now - shown_at[0] >= LINE_SECONDS:
                    shown_at[0] = now
                    console.print(self._line())

            yield line

    def _account(self) -> dict[str, Any]:
        """Return the numbers of the table."""
        assert self._demo is not None  # noqa: S101 - nothing is shown before
        assert self._expected is not None  # noqa: S101 - nothing is shown before
        assert self._replay is not None  # noqa: S101 - nothing is shown before
        figures = {one["endpoint_id"]: one for one in self._figures.get("endpoints", [])}
        rows: list[dict[str, Any]] = []
        for path, endpoint in self._demo.endpoints.items():
            tally = self._sink.tallies[path]
            firsts = [one for seen in self._sink.firsts.get(path, {}).values() for one in seen]
            known = figures.get(endpoint.id, {})
            losses: Counter[str] = Counter()
            for loss in known.get("losses", []):
                losses[loss["kind"]] += loss["count"]
            rows.append(
                {
                    "dialect": endpoint.dialect,
                    "expected": self._expected.count(path),
                    "delivered": known.get("delivered", 0),
                    "verified": sum(one.verified for one in firsts),
                    "refused": tally.refused + tally.undecodable,
                    "disorder": tally.late + tally.gaps,
                    **{kind: losses[kind] for kind in LOSSES},
                }
            )
        return {
            "received": self._replay.posted,
            "events": self._replay.total,
            "rooms_open": self._figures.get("rooms_open", 0),
            "dialects": rows,
        }

    def _table(self) -> Table:
        account = self._account()
        title = f"received {account['received']}/{account['events']} events · {account['rooms_open']} rooms open"
        table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
        for name in ("dialect", "expected", "delivered", "verified", "refused", "disorder", *LOSSES):
            table.add_column(name.replace("_", " "), justify="left" if name == "dialect" else "right", no_wrap=True)
        for row in account["dialects"]:
            done = row["verified"] == row["expected"] and not row["refused"] and not row["disorder"]
            style = "red" if row["refused"] or row["disorder"] else "green" if done else ""
            table.add_row(*[str(value) for value in row.values()], style=style)
        return table

    def _line(self) -> str:
        account = self._account()
        wires = " · ".join(f"{row['dialect']} {row['verified']}/{row['expected']}" for row in account["dialects"])
        rooms = f"{account['rooms_open']} rooms open"
        return f"received {account['received']}/{account['events']} · {rooms} · verified: {wires}"


def _nothing(now: float | None) -> None:
    """Show nothing until the end."""
