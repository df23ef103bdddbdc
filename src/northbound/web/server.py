"""Bind a port and serve an application behind the guard, inside an asyncio program."""

import asyncio
import contextlib
import errno
import resource
import socket
import ssl
from collections.abc import Generator
from typing import Any, Literal, cast

import msgspec
import uvicorn

from northbound.model.errors import ConfigError
from northbound.web.address import Networks
from northbound.web.connection import GuardedProtocol
from northbound.web.guard import Expiring, Gate, Limits

BACKLOG = 2048  # connections the kernel holds for us: a burst of a second
OWN_DESCRIPTORS = 256  # databases, sockets between processes, logs

_BIND_ADVICE = {
    errno.EADDRINUSE: "is taken: another program listens there; stop it or choose another port",
    errno.EACCES: "is not allowed: ports below 1024 need a right of their own; choose a higher port",
    errno.EADDRNOTAVAIL: "is not an address of this machine; use 127.0.0.1, 0.0.0.0 or one of its own",
}


def bind_socket(host: str, port: int, option_name: str) -> socket.socket:
    """Return a listening socket; raise `ConfigError` that names *option_name* and says what to do."""
    shown = f"{option_name} [{host}]:{port}" if ":" in host else f"{option_name} {host}:{port}"
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{shown} cannot be resolved: {error}; give an address", field=option_name) from None
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        code = error.errno if isinstance(error, OSError) else None
        advice = _BIND_ADVICE.get(code or 0, f"cannot be listened on: {error}")
        raise ConfigError(f"{shown} {advice}", field=option_name) from None
    listener.setblocking(False)
    return listener


def check_tls(cert: str, key: str) -> None:
    """Raise `ConfigError` unless *cert* and *key*, files or both empty, are a certificate and its key."""
    if not cert and not key:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key or None, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:  # neither says anything of what is in the files
        raise ConfigError(
            f"tls_cert {cert!r} and tls_key {key!r} cannot be used: {error}; give PEM files, the key without password",
            field="tls_cert",
        ) from None


class Server(uvicorn.Server):
    """A uvicorn server whose connections are guarded; `await serve()`, and `stop()` to drain and return."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, gate: Gate) -> None:
        super().__init__(config)
        self.gate = gate
        self.listener = listener

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `stop`; then take no new connection, finish what is in work, and return."""
        await super().serve(sockets or [self.listener])

    def stop(self) -> None:
        """Ask `serve` to drain and return."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone: they belong to the program around us."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, with a deadline for the TLS handshake, and start the sweep."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise ConfigError("the application refused to start; its log says why")
        loop = asyncio.get_running_loop()

        def connection() -> GuardedProtocol:
            return GuardedProtocol(self.gate, self.config, self.server_state, self.lifespan.state)

        handshake = self.gate.header if self.config.ssl else None
        self.servers = [
            await loop.create_server(
                connection, sock=sock, ssl=self.config.ssl, ssl_handshake_timeout=handshake, backlog=BACKLOG
            )
            for sock in sockets or ()
        ]
        self.gate.start(cast("set[Expiring]", self.server_state.connections))
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain within the deadline, then cut what is left."""
        await super().shutdown(sockets)
        if tasks := tuple(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=self.gate.linger)  # the cancelled ones answer 503
        if self.server_state.connections:
            await asyncio.sleep(min(0.1, self.gate.linger))  # and the loop sends it
        self.gate.stop()
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()


def make_server(
    app: Any,
    listener: socket.socket,
    limits: Limits,
    *,
    tls_cert: str | None = None,
    tls_key: str | None = None,
    trusted: Networks = (),
    lifespan: Literal["on", "off"] = "off",
) -> Server:
    """Return a guarded server of the ASGI *app* on *listener* (from `bind_socket`), not yet running.

    Nothing is logged for each request: paths and queries hold secrets.
    """
    config = uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan=lifespan,
        interface="asgi3",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # `client_address` decides, from the listed proxies only
        server_header=False,
        timeout_graceful_shutdown=max(1, round(limits.drain_deadline.total_seconds())),
        ssl_certfile=tls_cert,
        ssl_keyfile=tls_key,
    )
    if tls_key and not tls_cert:
        raise ConfigError("--tls-key needs --tls-cert beside it", field="tls_cert")
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--tls-cert and --tls-key cannot be used: {error}", field="tls_cert") from None
    return Server(config, listener, Gate(_within_descriptors(limits), trusted))


def _within_descriptors(limits: Limits) -> Limits:
    """Lower the number of connections to what the process may open: running out would stop the databases too."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return limits
    return msgspec.structs.replace(limits, connections=min(limits.connections, max(16, allowed - OWN_DESCRIPTORS)))
