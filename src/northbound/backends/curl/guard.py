"""The outgoing guard at work: every address that is connected to, or whose connection is used again, is judged."""

from typing import Any, Final

from northbound.backends.curl.wire import is_plain, origin_of
from northbound.logic.addresses import AllowList, check_address, check_url
from northbound.model.errors import InvalidInput

REMEMBERED: Final = 4_096  # verdicts kept per kind; thousands of endpoints fit, and forgetting costs only time


class Guard:
    """Judges by one allow-list and remembers what passed; a new list forgets all of it."""

    def __init__(self, allow: AllowList) -> None:
        self._allow = allow
        self._origins: set[str] = set()
        self._addresses: set[tuple[str, int]] = set()

    @property
    def allow(self) -> AllowList:
        """The list in force."""
        return self._allow

    @allow.setter
    def allow(self, allow: AllowList) -> None:
        self._allow = allow
        self._origins.clear()
        self._addresses.clear()

    def check_url(self, url: str) -> None:
        """Refuse *url* with `BlockedAddress`, or `InvalidInput` when it is no more than badly escaped."""
        origin = origin_of(url)
        if origin in self._origins and len(url) <= 8_192 and is_plain(url):
            return
        check_url(url, self._allow)
        if not is_plain(url):
            raise InvalidInput("the URL holds characters beyond ASCII; percent-encode them", field="url")
        _remember(self._origins, origin)

    def check_address(self, host: str, port: int) -> None:
        """Refuse to use a connection to *host* at *port* with `BlockedAddress`."""
        target = (host, port)
        if target in self._addresses:
            return
        check_address(host, port, self._allow)
        _remember(self._addresses, target)


def _remember(known: set[Any], item: Any) -> None:
    if len(known) >= REMEMBERED:
        known.clear()
    known.add(item)
