"""One reusable easy handle: its options are set once, its hooks watch one exchange after the other."""

import math
import socket
from datetime import datetime
from typing import Any, Final

import pycurl

from northbound import __version__
from northbound.backends.curl.failures import Seen
from northbound.backends.curl.guard import Guard
from northbound.model.errors import BlockedAddress
from northbound.model.wire import Request

USER_AGENT: Final = f"northbound/{__version__}"
BUFFER: Final = 16_384  # bytes read at once; answers are small and handles are many
DNS_SECONDS: Final = 5  # one look-up serves a burst of new connections; the guard judges each address anyway
MAX_TIMEOUT_MS: Final = 2**31 - 1

# libcurl options that pycurl has no name for.
SUPPRESS_CONNECT_HEADERS: Final = 265
QUICK_EXIT: Final = 322


class Route:
    """How an exchange reaches its target through the egress proxy: both ends pinned to checked addresses."""

    __slots__ = ("proxy", "proxy_port", "target", "target_port")

    def __init__(self, *, proxy: str, proxy_port: int, target: str, target_port: int) -> None:
        self.proxy = proxy
        self.proxy_port = proxy_port
        self.target = target
        self.target_port = target_port


class Job:
    """One exchange from submit to its end."""

    __slots__ = (
        "ca_pem", "deadline", "expires", "is_over", "lines", "on_done", "request", "route", "slot",
        "started", "started_at", "tag", "timer",
    )  # fmt: skip

    def __init__(
        self, *, request: Request, on_done: Any, deadline: float, tag: str, ca_pem: bytes | None, started: float
    ) -> None:
        self.request = request
        self.on_done = on_done
        self.deadline = deadline
        self.expires = started + deadline
        self.tag = tag
        self.ca_pem = ca_pem
        self.started = started
        self.started_at: datetime | None = None
        self.lines: list[str | bytes] = []
        self.route: Route | None = None
        self.slot: Slot | None = None
        self.timer: Any = None  # ends a wait for a free handle or a look-up
        self.is_over = False


class Slot:
    """An easy handle with the state of the exchange it carries."""

    def __init__(
        self, guard: Guard, *, ca_file: str | None, reply_cap: int, hosts: list[str], proxy_login: str | None
    ) -> None:
        self.curl = pycurl.Curl()
        self.job: Job | None = None
        self.lines: list[bytes] = []
        self.chunks: list[bytes] = []
        self.address: tuple[str, int] | None = None
        self.blocked: str | None = None
        self.own_fault: str | None = None
        self.is_too_large = False
        self.has_retried = False
        self.wants_fresh = False
        self._guard = guard
        self._ca_file = ca_file
        self._reply_cap = reply_cap
        self._size = 0
        self._is_new = False  # the open-socket hook ran since the last request went out
        self._was_reused = False
        self._requests_sent = 0
        self._url = ""
        self._shape = ("", False)
        self._ca_pem: bytes | None = None
        self._pinned = ("", "")
        self._set_once(hosts, proxy_login)

    def _set_once(self, hosts: list[str], proxy_login: str | None) -> None:
        curl, option = self.curl, self.curl.setopt
        for name, value in (
            (pycurl.NOSIGNAL, 1),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.FOLLOWLOCATION, 0),
            (pycurl.HTTP_CONTENT_DECODING, 0),  # a bomb stays packed
            (pycurl.HTTP09_ALLOWED, 0),
            (pycurl.BUFFERSIZE, BUFFER),
            (pycurl.MAXFILESIZE_LARGE, self._reply_cap),
            (pycurl.DNS_CACHE_TIMEOUT, DNS_SECONDS),
            (pycurl.SSL_VERIFYPEER, 1),
            (pycurl.SSL_VERIFYHOST, 2),
            (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
            (pycurl.USERAGENT, USER_AGENT),
            # Explicitly nothing, or libcurl takes them from the environment.
            (pycurl.PROXY, ""),
            (pycurl.NOPROXY, ""),
            (pycurl.NETRC, pycurl.NETRC_IGNORED),
            (pycurl.HEADEROPT, pycurl.HEADER_SEPARATE),  # signatures and tokens are not for the proxy
            (SUPPRESS_CONNECT_HEADERS, 1),
            (QUICK_EXIT, 1),  # never wait for a look-up that hangs in its thread
            (pycurl.HEADERFUNCTION, self._on_header),
            (pycurl.WRITEFUNCTION, self._on_body),
            (pycurl.OPENSOCKETFUNCTION, self._on_open),
            (pycurl.PREREQFUNCTION, self._on_request),
        ):
            option(name, value)
        if self._ca_file is not None:
            option(pycurl.CAINFO, self._ca_file)
        if hosts:
            option(pycurl.RESOLVE, hosts)
        if proxy_login is not None:
            option(pycurl.PROXYUSERPWD, proxy_login)
        curl.unsetopt(pycurl.CAPATH)

    # --- one exchange ---

    def load(self, job: Job, now: float) -> None:
        """Prepare the handle for *job*; only what differs from the last exchange is set."""
        self.job = job
        job.slot = self
        self.lines = []
        self.chunks = []
        self.address = None
        self.blocked = None
        self.own_fault = None
        self.is_too_large = False
        self.has_retried = False
        self.wants_fresh = False
        self._size = 0
        self._is_new = False
        self._was_reused = False
        self._requests_sent = 0
        request = job.request
        option = self.curl.setopt
        if request.url != self._url:
            option(pycurl.URL, request.url)
            self._url = request.url
        shape = (request.method, bool(request.body) or request.method != "GET")
        if shape != self._shape:
            self._set_shape(shape)
        if shape[1]:
            option(pycurl.POSTFIELDS, request.body)
        option(pycurl.HTTPHEADER, job.lines)
        if job.ca_pem != self._ca_pem:
            self._set_ca(job.ca_pem)
        if job.route is not None:
            self._set_route(job.route)
        self.set_remaining(job, now)

    def set_remaining(self, job: Job, now: float) -> None:
        """Give the handle what is left of the deadline, at least a tick."""
        self.curl.setopt(pycurl.TIMEOUT_MS, min(MAX_TIMEOUT_MS, max(1, math.ceil((job.expires - now) * 1000))))

    def retry(self, job: Job, now: float) -> None:
        """Prepare a second go of the same exchange on a connection of its own."""
        self.has_retried = True
        self.wants_fresh = False
        self._is_new = False
        self.curl.setopt(pycurl.FRESH_CONNECT, 1)
        self.set_remaining(job, now)

    def unload(self) -> None:
        """Let go of the exchange."""
        if self.has_retried:
            self.curl.setopt(pycurl.FRESH_CONNECT, 0)
        if self.job is not None:
            self.job.slot = None
        self.job = None

    @property
    def died_unused(self) -> bool:
        """Whether a kept-alive connection went away under the request, before any byte of an answer."""
        return self._was_reused and not self.lines and not self.has_retried

    @property
    def peer(self) -> str | None:
        """The address and port that the exchange went to, or tried last."""
        job = self.job
        if job is not None and job.route is not None:
            return _join(job.route.target, job.route.target_port)
        return None if self.address is None else _join(*self.address)

    def seen(self, job: Job, host: str) -> Seen:
        """Return what was observed, for the explanation of a failure of *job*."""
        info = self.curl.getinfo
        return Seen(
            host=host,
            peer=self.peer,
            deadline=job.deadline,
            reply_cap=self._reply_cap,
            blocked=self.blocked,
            own_fault=self.own_fault,
            is_too_large=self.is_too_large,
            has_asked=self._requests_sent > 0,
            has_answer=bool(self.lines),
            is_proxied=job.route is not None,
            is_connected=info(pycurl.CONNECT_TIME) > 0,
            proxy_status=info(pycurl.HTTP_CONNECTCODE),
            system_error=info(pycurl.OS_ERRNO),
            certificate_error=info(pycurl.SSL_VERIFYRESULT),
        )

    def _set_shape(self, shape: tuple[str, bool]) -> None:
        method, has_body = shape
        option = self.curl.setopt
        self.curl.unsetopt(pycurl.CUSTOMREQUEST)
        if not has_body:
            option(pycurl.HTTPGET, 1)
        elif method != "POST":
            option(pycurl.CUSTOMREQUEST, method)
        self._shape = shape

    def _set_ca(self, ca_pem: bytes | None) -> None:
        # A private CA stands instead of the public ones: the endpoint's owner trusts nobody else.
        if ca_pem is None:
            self.curl.unsetopt(pycurl.CAINFO_BLOB)
        else:
            self.curl.setopt(pycurl.CAINFO_BLOB, ca_pem)
        self._ca_pem = ca_pem

    def _set_route(self, route: Route) -> None:
        pinned = (_join(route.proxy, route.proxy_port), _join(route.target, route.target_port))
        if pinned == self._pinned:
            return
        self.curl.setopt(pycurl.PROXY, f"http://{pinned[0]}")
        self.curl.setopt(pycurl.HTTPPROXYTUNNEL, 1)
        # The proxy is asked for the address that we judged, not for a name that it would look up by itself.
        self.curl.setopt(pycurl.CONNECT_TO, [f"::{pinned[1]}"])
        self._pinned = pinned

    # --- hooks: called inside libcurl, which may not be called back from here ---

    def _on_open(self, _purpose: int, address: Any) -> socket.socket | int:
        host, port = address.addr[0], address.addr[1]
        self.address = (host, port)
        if not self._is_permitted(host, port):
            return pycurl.SOCKET_BAD
        try:
            opened = _Handed(address.family, address.socktype, address.protocol)
        except OSError as error:
            self.own_fault = f"no socket could be opened on our side: {error.strerror}"
            return pycurl.SOCKET_BAD
        self._is_new = True
        return opened

    def _on_request(self, host: str, _local_host: str, port: int, _local_port: int) -> int:
        is_reused = not self._is_new
        if self._requests_sent and is_reused:
            # libcurl would try one kept-alive connection after another; the free retry is one, on a fresh one.
            self.wants_fresh = True
            return pycurl.PREREQFUNC_ABORT
        self.address = (host, port)
        if not self._is_permitted(host, port):
            return pycurl.PREREQFUNC_ABORT
        self._was_reused = is_reused
        self._is_new = False
        self._requests_sent += 1
        return pycurl.PREREQFUNC_OK

    def _is_permitted(self, host: str, port: int) -> bool:
        job = self.job
        route = None if job is None else job.route
        if route is not None:
            # The target was judged before; here only the proxy itself may be connected to.
            if (host, port) == (route.proxy, route.proxy_port):
                return True
            self.blocked = f"blocked address: {_join(host, port)} is not the egress proxy"
            return False
        try:
            self._guard.check_address(host, port)
        except BlockedAddress as error:
            self.blocked = error.message
            return False
        return True

    def _on_header(self, line: bytes) -> int | None:
        self._size += len(line)
        if self._size > self._reply_cap:
            self.is_too_large = True
            return -1
        self.lines.append(line)
        return None

    def _on_body(self, chunk: bytes) -> int | None:
        self._size += len(chunk)
        if self._size > self._reply_cap:
            self.is_too_large = True
            return -1
        self.chunks.append(chunk)
        return None


class _Handed(socket.socket):
    """A socket that is closed when it is forgotten: pycurl gives libcurl a duplicate and drops ours."""

    def __del__(self) -> None:
        self.close()


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
