"""Client addresses: the network of an address, and the client behind a trusted proxy."""

from collections.abc import Awaitable, Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

from bot.domain.errors import ConfigError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_MAX_HOPS = 20


def network_of(address: str) -> str:
    """The unit that counts as one client: an IPv4 address, or an IPv6 /64 network."""
    ip = _read(address)
    if isinstance(ip, IPv6Address):
        return str(IPv6Address(int(ip) >> 64 << 64))
    return str(ip) if ip is not None else address


def is_loopback(address: str) -> bool:
    """Whether an address is a loopback address."""
    ip = _read(address)
    return ip is not None and ip.is_loopback


class TrustedProxies:
    """The reverse proxies whose X-Forwarded-For is trusted; that of others is ignored."""

    def __init__(self, networks: Iterable[str]) -> None:
        """`networks` are addresses or networks in CIDR notation. Raises ConfigError."""
        self._networks: list[IPv4Network | IPv6Network] = []
        for network in sorted(networks):
            try:
                self._networks.append(ip_network(network, strict=False))
            except ValueError:
                raise ConfigError(
                    f"PARLEY_TRUSTED_PROXIES: {network} is not an IP address or a network such as 10.1.0.0/16."
                ) from None

    def __contains__(self, address: str) -> bool:
        ip = _read(address)
        return ip is not None and any(
            ip.version == network.version and ip in network for network in self._networks
        )

    def client(self, peer: str, forwarded: Iterable[str]) -> str:
        """The client's address: the last one that is not a trusted proxy.

        `forwarded` are the values of X-Forwarded-For in order. If an entry is invalid, the proxy that sent it
        counts as the client.
        """
        hops = [item.strip() for value in forwarded for item in value.split(",")][-_MAX_HOPS:]
        found = peer
        while found in self and hops:
            ip = _read(_without_port(hops.pop()))
            if ip is None:
                break
            found = str(ip)
        return found

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Set `request.remote` to the client instead of a trusted proxy."""
        peer = request.remote or ""
        if self._networks and peer in self:
            client = self.client(peer, request.headers.getall("X-Forwarded-For", []))
            if client != peer:
                request = request.clone(remote=client)
        return await handler(request)


def _read(address: str) -> IPv4Address | IPv6Address | None:
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def _without_port(hop: str) -> str:
    """A hop without the port that some proxies add: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    host, colon, _ = hop.partition(":")
    return host if colon and "." in host else hop
