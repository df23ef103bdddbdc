"""Tell who is calling: peers, listed proxies, and the clients they speak for."""

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from northbound.model.errors import ConfigError

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]


def read_networks(names: tuple[str, ...], option_name: str) -> Networks:
    """Read the setting that lists trusted proxies as addresses or networks."""
    try:
        return tuple(ip_network(name, strict=False) for name in names)
    except ValueError as error:
        raise ConfigError(f"{option_name}: {error}; write e.g. 10.0.0.0/8", field=option_name) from None


def client_address(scope: Mapping[str, Any], trusted: Networks) -> str:
    """Return the address of who sent the request; empty when unknown.

    X-Forwarded-For counts only when a listed proxy says it, and is read from the right: what stands left of the first
    stranger is that stranger's own claim (ruling 7).
    """
    peer: str = scope["client"][0] if scope.get("client") else ""
    if not trusted:
        return _as_address(peer)
    address = parse_address(peer)
    if address is None or not is_within(address, trusted):
        return str(address or peer)
    claims = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    for claim in reversed(b",".join(claims).decode("latin-1").split(",")):
        claimed = parse_address(_without_port(claim.strip()))
        if claimed is None:
            break
        address = claimed
        if not is_within(claimed, trusted):
            break
    return str(address)


@lru_cache(maxsize=1024)  # a vendor calls from few addresses
def _as_address(peer: str) -> str:
    return str(parse_address(peer) or peer)


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def address_key(peer: str, trusted: Networks) -> str:
    """Return what connections from *peer* are counted under; empty for a listed proxy or a local socket."""
    address = parse_address(peer)
    if address is None or is_within(address, trusted):
        return ""
    if isinstance(address, IPv6Address):  # a customer's line has a whole /64
        return str(IPv6Network((address, 64), strict=False))
    return str(address)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address, an IPv4 one inside IPv6 as itself; None when it is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_within(address: IPv4Address | IPv6Address, networks: Networks) -> bool:
    """Tell whether *address* is in one of *networks*."""
    return any(address.version == network.version and address in network for network in networks)
