"""A client of the hub's REST API on the standard library: calls, and the stream of live events."""

import http.client
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
import typer

from northbound.cli.output import Unreachable
from northbound.cli.settings import KEY_VARIABLE, SERVER_VARIABLE, read_settings
from northbound.hub.system import Folder
from northbound.model.errors import (
    Conflict,
    Forbidden,
    HubError,
    InvalidInput,
    NotFound,
    Overloaded,
    Unauthorized,
)

TIMEOUT = 30.0
SILENCE = 90.0  # a stream says something at least this often, if only a comment
ANSWER_MAX = 64 * 1024 * 1024
API = "/api/v1"

Server = Annotated[
    str | None,
    typer.Option("--server", help="Base URL of the hub.", envvar=SERVER_VARIABLE, show_default="from --data"),
]
ApiKey = Annotated[
    str | None,
    typer.Option("--key", help=f"API key; else {KEY_VARIABLE}, else admin.key of --data.", show_default=False),
]
REFUSALS: dict[int, type[HubError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    429: Overloaded,
}


class Client:
    """Calls one hub with one key."""

    def __init__(self, server: str, key: str, *, ca_file: str | None = None) -> None:
        parts = urlsplit(server)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(f"--server is a URL such as http://127.0.0.1:7070, not {server!r}", field="server")
        self.server = server.rstrip("/")
        self._host, self._port = parts.hostname, parts.port
        self._base = parts.path.rstrip("/")
        self._key = key
        self._context: ssl.SSLContext | None = None
        if parts.scheme == "https":
            self._context = ssl.create_default_context(cafile=ca_file)
            self._context.check_hostname = ca_file is None  # a certificate we were handed is trusted for its holder

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call *path* under /api/v1 and return the answer's JSON; raise the `HubError` that the hub answers."""
        return self._read(method, API + path, body)

    def get(self, path: str) -> tuple[int, bytes]:
        """Get a page outside the API; return its status and body."""
        connection = self._connection(TIMEOUT)
        try:
            answer = self._ask(connection, "GET", path, None)
            return answer.status, answer.read(ANSWER_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def events(self, path: str) -> Iterator[tuple[str, str]]:
        """Yield (event name, data) of a server-sent event stream until it ends."""
        connection = self._connection(SILENCE)
        try:
            answer = self._ask(connection, "GET", API + path, None, accept="text/event-stream")
            if answer.status != 200:
                raise _refusal(answer.status, answer.read(ANSWER_MAX))
            yield from _events(answer)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def _read(self, method: str, path: str, body: Any) -> Any:
        connection = self._connection(TIMEOUT)
        try:
            answer = self._ask(connection, method, path, body)
            content = answer.read(ANSWER_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()
        if answer.status >= 300:
            raise _refusal(answer.status, content)
        try:
            return msgspec.json.decode(content) if content else None
        except msgspec.DecodeError:
            raise Unreachable(f"{self.server}{path} does not answer as a northbound hub does; check --server") from None

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._context)

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Any,
        accept: str = "application/json",
    ) -> http.client.HTTPResponse:
        headers = {"accept": accept, "authorization": f"Bearer {self._key}"}
        content = None
        if method == "PATCH":
            headers["if-match"] = "*"  # nobody edits with us: whatever is there is meant
        if body is not None:
            headers["content-type"] = "application/json"
            content = msgspec.json.encode(body)
        connection.request(method, self._base + path, body=content, headers=headers)
        return connection.getresponse()

    def _unreachable(self, error: Exception) -> Unreachable:
        why = str(error) or type(error).__name__
        return Unreachable(f"no northbound answers at {self.server} ({why}); start `northbound serve` or give --server")


def connect(server: str | None, key: str | None, data: str | None) -> Client:
    """Return a client from the usual options: the server and key given, else those of the data folder."""
    config = read_settings(data=data)
    scheme = "https" if config.tls_cert else "http"
    found = key or os.environ.get(KEY_VARIABLE) or _key_in(Folder(config.data).admin_key)
    return Client(server or f"{scheme}://{local(config.listen)}", found, ca_file=config.tls_cert or None)


def local(address: str) -> str:
    """Return the address to call a server at that listens on *address*."""
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in ("", "0.0.0.0", "[::]") else address  # noqa: S104 - compared, not bound


def _key_in(path: Path) -> str:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        raise Unauthorized(
            f"no API key: give --key or {KEY_VARIABLE}, or --data with the folder that holds {path.name}"
        ) from None
    except OSError as error:
        raise Unauthorized(f"{path} cannot be read ({error.strerror}); give --key or {KEY_VARIABLE}") from None


def _refusal(status: int, content: bytes) -> HubError:
    try:
        problem: Any = msgspec.json.decode(content)
    except msgspec.DecodeError:
        problem = {}
    words = problem if isinstance(problem, dict) else {}
    said = next((str(words[name]) for name in ("detail", "message", "title") if words.get(name)), "")
    kind = REFUSALS.get(status, Overloaded if status >= 500 else InvalidInput)
    return kind(said or f"the hub answers {status}")


def _events(answer: http.client.HTTPResponse) -> Iterator[tuple[str, str]]:
    name, data = "message", list[str]()
    while line := answer.readline():
        text = line.decode(errors="replace").rstrip("\r\n")
        if not text:
            if data:
                yield name, "\n".join(data)
            name, data = "message", []
            continue
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
