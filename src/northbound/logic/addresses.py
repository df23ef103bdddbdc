"""Decide which targets we may connect to: public addresses in plain spelling, and what the operator has listed.

Used twice for every outgoing request (D3-D5, T3): `check_url` before anything is looked up, at create and at send;
`check_address` on the address that is really being connected to, so that a changing DNS answer gains nothing.
Both refuse with `BlockedAddress` and the same advice.
"""

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, Self

import msgspec

from northbound.model.errors import BlockedAddress, ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL: Final = 65_536  # what intakes accept in one request line at most; nothing longer can be answered
MAX_NAME: Final = 253  # RFC 1035
MAX_ENTRIES: Final = 1_000  # each connect looks through all of them
ADVICE: Final = (
    "a target is an http or https URL of a public host in plain spelling; to reach another one on purpose, "
    "list its address:port or network in the setting allow_targets"
)

# IANA special-purpose registries: what is not public unicast, or can lead back to our own side.
PRIVATE_V4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 "
        "192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
    ).split()
)
PUBLIC_V6: Final = IPv6Network("2000::/3")
PRIVATE_V6: Final = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))

# Cloud metadata, "this host", and IPv6 forms that carry an IPv4 address: a broad allow-list entry does not open them,
# only an entry for the single address does.
SINGLED_OUT: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/32 169.254.169.254/32 169.254.170.2/32 169.254.170.23/32 100.100.100.200/32 168.63.129.16/32 "
        "192.0.0.192/32 fd00:ec2::254/128 fd00:ec2::23/128 fd20:ce::254/128 "
        "::/96 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b:1::/48 2001::/32 2002::/16"
    ).split()
)
NAT64: Final = IPv6Network("64:ff9b::/96")
ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)  # the upper half of such an address's interface identifier

LOOPBACK: Final = (IPv4Network("127.0.0.1/32"), IPv6Network("::1/128"))
LOCAL_NAMES: Final = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})

_URL = re.compile(r"(?i:https?)://([^/?#]*)")
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]]*))(?::(?P<port>[^:\[\]]*))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ufeff\\]")


class AllowEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One network that may be connected to, at one port or at any."""

    network: Network
    port: int | None = None

    def permits(self, address: Address, port: int) -> bool:
        """Tell whether *address* and *port* are covered."""
        return self.port in (None, port) and address in self.network

    @property
    def is_single(self) -> bool:
        """Whether the entry names exactly one address."""
        return self.network.num_addresses == 1


class AllowList(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator permits beyond public addresses; empty permits nothing more."""

    entries: tuple[AllowEntry, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str], setting: str = "allow_targets") -> Self:
        """Read `127.0.0.1:7099`, `10.1.0.0/16`, `[::1]:80`, `fd00::/8`, `localhost:8080`; raise `ConfigError`."""
        texts = tuple(entries)
        if len(texts) > MAX_ENTRIES:
            raise ConfigError(f"{setting} has more than {MAX_ENTRIES} entries; list networks", field=setting)
        return cls(entries=tuple(entry for text in texts for entry in _parse_entry(text, setting)))

    def permits(self, address: Address, port: int, *, single: bool = False) -> bool:
        """Tell whether an entry covers *address* and *port*; *single* counts only entries for one address."""
        return any(entry.permits(address, port) for entry in self.entries if entry.is_single or not single)


def check_url(url: str, allow: AllowList) -> None:
    """Refuse *url* unless it is plainly spelled and, as far as it tells, leads to a permitted target.

    A host name passes: what it resolves to is for `check_address` to judge.
    """
    host, port = _split_url(url)
    if isinstance(host, str):
        if (host in LOCAL_NAMES or host.endswith(".localhost")) and not _permits_loopback(port, allow):
            raise _blocked(f"{host}:{port} is this host")
        return
    _check(host, port, allow)


def check_address(host: str, port: int, allow: AllowList) -> None:
    """Refuse to connect to address *host* at *port* unless it is public or listed; *host* is never a name."""
    try:
        address = IPv6Address(host) if ":" in host else IPv4Address(host)
    except AddressValueError:
        raise _blocked("the resolved target is not an IP address") from None
    _check(address, port, allow)


def check_listed(host: str, port: int, listed: AllowList) -> None:
    """Refuse address *host* at *port* unless it is listed, public or not; *host* is never a name."""
    try:
        address = IPv6Address(host) if ":" in host else IPv4Address(host)
    except AddressValueError:
        raise BlockedAddress("the address is not a plain IPv4 or IPv6 address", field="address") from None
    if not (0 < port < 65_536 and _is_listed(address, port, listed)):
        raise BlockedAddress(
            f"{host} port {port} is not listed; the operator lists it in the setting check_targets", field="address"
        )


def _check(address: Address, port: int, allow: AllowList) -> None:
    if not 0 < port < 65_536:
        raise _blocked(f"port {port} cannot be connected to")
    if not (_is_public(address) or _is_listed(address, port, allow)):
        raise _blocked(f"{address} port {port} is private, reserved or a disguised form of another address")


def _is_public(address: Address) -> bool:
    if _is_singled_out(address):
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in PRIVATE_V4)
    return address in PUBLIC_V6 and not any(address in network for network in PRIVATE_V6)


def _is_listed(address: Address, port: int, allow: AllowList) -> bool:
    if _is_singled_out(address):
        return allow.permits(address, port, single=True)
    if not allow.permits(address, port):
        return False
    if isinstance(address, IPv6Address) and address in NAT64:
        # Listing the prefix makes an IPv6-only host reach the public IPv4 world, not our own network through it.
        carried = IPv4Address(int(address) & 0xFFFF_FFFF)
        return _is_public(carried) or _is_listed(carried, port, allow)
    return True


def _is_singled_out(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (
        address.scope_id is not None or (int(address) >> 32 & 0xFFFF_FFFF) in ISATAP
    ):
        return True
    return any(address in network for network in SINGLED_OUT)


def _permits_loopback(port: int, allow: AllowList) -> bool:
    return any(allow.permits(network.network_address, port) for network in LOOPBACK)


# --- spelling --------------------------------------------------------------------------------------------------------


def _split_url(url: str) -> tuple[Address | str, int]:
    if len(url) > MAX_URL:
        raise _blocked(f"the URL is longer than {MAX_URL} characters")
    if _UNPRINTABLE.search(url):
        raise _blocked("the URL holds a space, a control character or a backslash")
    match = _URL.match(url)
    if match is None:
        raise _blocked("the URL does not begin with http:// or https://")
    authority = match[1]
    if "@" in authority:
        raise _blocked("the URL carries a user name or password")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None or not authority.isascii() or "%" in authority:
        raise _blocked("the URL's host is not spelled as a plain name, IPv4 address or [IPv6 address]")
    port = _read_port(parts["port"], 443 if url[4] in "sS" else 80)
    return (_read_name(parts["name"]) if parts["v6"] is None else _read_v6(parts["v6"])), port


def _read_port(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not _PORT.fullmatch(text) or int(text) > 65_535:
        raise _blocked("the URL's port is not a number from 1 to 65535")
    return int(text)


def _read_v6(text: str) -> IPv6Address:
    try:
        return IPv6Address(text)
    except AddressValueError:
        raise _blocked("the URL's host is not an IPv6 address") from None


def _read_name(text: str) -> IPv4Address | str:
    labels = text.split(".")
    if len(text) > MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise _blocked("the URL's host is empty, ends in a dot or is not a host name")
    if not _NUMERIC.fullmatch(labels[-1]):
        return text.lower()
    # Resolvers read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses too; only four plain decimal numbers are.
    try:
        return IPv4Address(text)
    except AddressValueError:
        raise _blocked("the URL's host is a number that is not a plain IPv4 address") from None


def _blocked(why: str) -> BlockedAddress:
    return BlockedAddress(f"blocked address: {why}; {ADVICE}", field="url")


# --- the setting -----------------------------------------------------------------------------------------------------

_ENTRY = re.compile(
    r"\[(?P<v6>[^\]]*)\](?::(?P<port6>.*))?|(?P<bare6>[^\[\]]*:[^\[\]]*:[^\[\]]*)|(?P<v4>[^:]*)(?::(?P<port4>.*))?"
)


def _parse_entry(text: str, setting: str) -> tuple[AllowEntry, ...]:
    match = _ENTRY.fullmatch(text.strip())
    if match is None:
        raise _bad_entry(text, setting, "it is neither address, network nor localhost")
    host = match["v6"] or match["bare6"] or match["v4"] or ""
    port = _entry_port(text, setting, match["port6"] or match["port4"])
    if host.lower() == "localhost":
        return tuple(AllowEntry(network=network, port=port) for network in LOOPBACK)
    try:
        return (AllowEntry(network=ip_network(host), port=port),)
    except ValueError:
        # A listed name would let whoever answers for it in DNS choose the address.
        raise _bad_entry(
            text, setting, "only addresses, networks without host bits, and localhost can be listed"
        ) from None


def _entry_port(text: str, setting: str, port: str | None) -> int | None:
    if port is None:
        return None
    if not _PORT.fullmatch(port) or int(port) > 65_535:
        raise _bad_entry(text, setting, "the port is not a number from 1 to 65535")
    return int(port)


def _bad_entry(text: str, setting: str, why: str) -> ConfigError:
    message = f"{setting} entry {text[:80]!r} cannot be used: {why}; write 127.0.0.1:7099, 10.1.0.0/16 or [::1]:80"
    return ConfigError(message, field=setting)
