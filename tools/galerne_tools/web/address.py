"""Which addresses may be asked: a URL as it is written, then each address that its name leads to.

A name may lead elsewhere a moment after it was looked up. So the last word has the address to
which a socket is about to connect (`guard` in `fetching`), and what is said here of the URL and of
the resolver's answers only gives a better error earlier.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from galerne.errors import InvalidSettingsError, ToolError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL = 4096
"""Characters; longer ones carry data, not addresses."""

_EXCERPT = 100
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_NOT_PUBLIC: tuple[Network, ...] = (
    ipaddress.IPv4Network("0.0.0.0/8"),
    ipaddress.IPv4Network("100.64.0.0/10"),  # carriers' and some clouds' metadata
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's metadata, on a public address
    ipaddress.IPv4Network("192.0.0.0/24"),
    ipaddress.IPv4Network("192.88.99.0/24"),
    ipaddress.IPv4Network("198.18.0.0/15"),
    ipaddress.IPv4Network("224.0.0.0/3"),  # multicast, and what is reserved
    ipaddress.IPv6Network("2001::/23"),  # Teredo and other tunnels
    ipaddress.IPv6Network("2001:db8::/32"),
    ipaddress.IPv6Network("2002::/16"),  # 6to4
    ipaddress.IPv6Network("3fff::/20"),
)


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Raises InvalidSettingsError."""
    try:
        return tuple(ipaddress.ip_network(text) for text in texts)
    except ValueError as error:
        raise InvalidSettingsError(
            f"tools.web.private: {error}; write a network such as 10.1.0.0/16"
        ) from error


def check_url(url: str, private: Sequence[Network] = ()) -> str:
    """The URL without its fragment. Raises ToolError, where nothing needs to be looked up."""
    try:
        if any(sign <= " " or sign == "\x7f" for sign in url.strip()):
            raise ToolError("the URL has blanks or control characters in it; encode them as %20")
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ToolError(f"{_shown(url)} is not a URL ({error}); correct it") from error
    if parts.scheme not in {"http", "https"} or not host:
        raise ToolError(f"{_shown(url)} is not a http:// or https:// address; give a whole one")
    if parts.username is not None or parts.password is not None:
        raise ToolError("the URL holds a user name or a password; give it without them")
    if len(url) > MAX_URL:
        raise ToolError(f"the URL is longer than {MAX_URL} characters; shorten it")
    literal = _literal(host)
    if literal is not None and not is_allowed(literal, private):
        raise refused(host, literal)
    return parts._replace(fragment="").geturl()


def is_allowed(address: str, private: Sequence[Network] = ()) -> bool:
    """Whether an IP address is on the public internet, or in a network that settings allow.

    Of an IPv4 address inside an IPv6 one, both are asked for.
    """
    try:
        every = list(_forms(ipaddress.ip_address(address)))
    except ValueError:
        return False
    return all(_is_public(one) or any(_within(one, net) for net in private) for one in every)


def refused(host: str, address: str) -> ToolError:
    via = "" if host.strip("[]") == address else f" ({address})"
    return ToolError(
        f"{host}{via} is not on the public internet, and so it is not asked; use another source"
    )


def _literal(host: str) -> str | None:
    """The address that a host is, None for a name. Numbers other than a.b.c.d are never names."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        last = host.rstrip(".").rpartition(".")[2].lower()
        if last.isdecimal() or last.startswith("0x"):
            raise ToolError(
                f"{host} is an address in an unusual form; write it as four decimal numbers"
            ) from None
        return None


def _forms(address: _Address) -> Iterator[_Address]:
    """The address, or the IPv4 address that it stands for."""
    inner: _Address | None = None
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped
        if inner is None and (_within(address, _NAT64) or _within(address, _COMPATIBLE)):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if int(address) <= 1:  # `::` and `::1`
            inner = None
    yield inner or address


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and not _within(address, _PUBLIC_6):
        return False
    return address.is_global and not any(_within(address, net) for net in _NOT_PUBLIC)


def _within(address: _Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _shown(url: str) -> str:
    return repr(url if len(url) <= _EXCERPT else f"{url[:_EXCERPT]}…")
