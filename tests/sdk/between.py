"""Stands between a client and the hub: passes on what is said byte for byte, keeps it, and says it again on demand."""

import re
import socket
import threading
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any, Self

SECONDS = 30.0
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Between:
    """A door of its own at `address`. Clients sign for that address, and the hub gets what they signed.

    With *times* 2 each request is sent on twice and the client gets the second answer; with *together* requests are
    held until so many are there, and then are all sent on at once.
    """

    def __init__(self, hub: str, *, times: int = 1, together: int = 0) -> None:
        self.requests: list[bytes] = []
        self._hub = hub
        self._times = times
        self._gate = threading.Barrier(together) if together else None
        between = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                between._pass_on(self.request)

        class Server(ThreadingTCPServer):
            request_queue_size = 512
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def address(self) -> str:
        host, port = self._server.server_address[:2]
        return f"{host}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _pass_on(self, client: socket.socket) -> None:
        client.settimeout(SECONDS)
        request = message(client)
        if not request:
            return
        self.requests.append(request)
        if self._gate is not None:
            self._gate.wait(SECONDS)
        answers = [sent(self._hub, request) for _ in range(self._times)]
        client.sendall(answers[-1].replace(b"\r\n", b"\r\nconnection: close\r\n", 1))  # one exchange each


def sent(address: str, request: bytes) -> bytes:
    """Return what is answered to the bytes of a request."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), SECONDS) as hub:
        hub.sendall(request)
        return message(hub)


def message(one: Any) -> bytes:
    """Return one request or answer whole, empty when there is none."""
    content = b""
    while b"\r\n\r\n" not in content:
        part = one.recv(65536)
        if not part:
            return content
        content += part
    head, _, body = content.partition(b"\r\n\r\n")
    found = _LENGTH.search(head)
    missing = (int(found[1]) if found else 0) - len(body)
    while missing > 0:
        part = one.recv(65536)
        assert part, "cut off"
        content += part
        missing -= len(part)
    return content
