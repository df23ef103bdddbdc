"""The way out through an egress proxy: the target is looked up and judged here, then the proxy is told the address."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from northbound.backends.curl.guard import Guard
from northbound.backends.curl.slot import DNS_SECONDS, Route
from northbound.backends.curl.wire import origin_of
from northbound.config import read_proxy
from northbound.model.errors import BlockedAddress

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
REMEMBERED: Final = 4_096


class Unresolved(Exception):
    """A name has no address; `is_proxy` tells whether it is our own proxy's."""

    def __init__(self, host: str, *, is_proxy: bool) -> None:
        super().__init__(host)
        self.host = host
        self.is_proxy = is_proxy


class Egress:
    """One HTTP proxy; `login` is its user and password as libcurl wants them, or None."""

    def __init__(self, url: str, guard: Guard, hosts: Mapping[tuple[str, int], str]) -> None:
        self.host, self.port, self.login = read_proxy(url)
        self._guard = guard
        self._names = _Names(hosts)

    async def route(self, url: str) -> Route:
        """Return the way to *url*; raise `Unresolved`, or `BlockedAddress` when no address of it is permitted."""
        host, port = target_of(url)
        targets = await self._resolve(host, port, is_proxy=False)
        target = self._permitted(targets, port)
        proxies = await self._resolve(self.host, self.port, is_proxy=True)
        return Route(proxy=proxies[0], proxy_port=self.port, target=target, target_port=port)

    async def _resolve(self, host: str, port: int, *, is_proxy: bool) -> list[str]:
        try:
            return await self._names.look_up(host, port)
        except OSError:
            raise Unresolved(host, is_proxy=is_proxy) from None

    def _permitted(self, addresses: list[str], port: int) -> str:
        *others, last = addresses  # a look-up never gives an empty list
        for address in others:
            try:
                self._guard.check_address(address, port)
            except BlockedAddress:
                continue
            return address
        self._guard.check_address(last, port)
        return last


class _Names:
    """Look-ups through the system's resolver, each answer used for a few seconds."""

    def __init__(self, hosts: Mapping[tuple[str, int], str]) -> None:
        self._hosts = hosts
        self._known: dict[tuple[str, int], tuple[float, list[str]]] = {}

    async def look_up(self, host: str, port: int) -> list[str]:
        loop = asyncio.get_running_loop()
        fixed = self._hosts.get((host, port))
        if fixed is not None:
            return [fixed]
        known = self._known.get((host, port))
        if known is not None and known[0] > loop.time():
            return known[1]
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        # IPv4 first: what the proxy itself can reach is not known here, and nearly every one reaches IPv4.
        found.sort(key=lambda entry: entry[0] != socket.AF_INET)
        addresses = [str(entry[4][0]) for entry in found]
        if not addresses:
            raise OSError(host)
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[host, port] = (loop.time() + DNS_SECONDS, addresses)
        return addresses


def target_of(url: str) -> tuple[str, int]:
    """Return host and port of *url*, which the guard has found plainly spelled."""
    parts = urlsplit(origin_of(url))
    return parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
