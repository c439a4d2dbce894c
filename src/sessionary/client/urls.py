"""Parsing of server and proxy URLs, and matching of hosts against ``NO_PROXY``."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

import httpx2

from sessionary.errors import InvalidArgumentError

_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
_HOST_LENGTH_MAX: Final = 253
_PORT_MAX: Final = 65_535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_Address = IPv4Address | IPv6Address


def parse_url(text: object, what: str) -> httpx2.URL:
    """Parse a URL and check its host and port; raises InvalidArgumentError, whose text never contains the URL."""
    if not isinstance(text, str):
        raise InvalidArgumentError(f"The {what} must be a string, not {type(text).__name__}.")
    if not _has_ascii_port(text.strip()):
        raise InvalidArgumentError(f"The {what} is not valid: its port must be between 1 and {_PORT_MAX}.")
    try:
        url = httpx2.URL(text.strip())
        host, port = url.raw_host.decode("ascii"), url.port
    except (httpx2.InvalidURL, ValueError):
        raise InvalidArgumentError(f"The {what} is not a valid address.") from None
    if host and _ip(host) is None:
        _check_host_name(host, what)
    if port is not None and not 0 < port <= _PORT_MAX:
        raise InvalidArgumentError(f"The {what} is not valid: its port must be between 1 and {_PORT_MAX}.")
    return url


def origin_of(url: httpx2.URL) -> str:
    """Return scheme, host and port of a URL for error messages, without user, path or query."""
    host = url.raw_host.decode("ascii")
    shown = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{shown}" + ("" if url.port is None else f":{url.port}")


def bypasses_proxy(url: str, no_proxy: str) -> bool:
    """Return whether ``no_proxy`` lists the host of a URL.

    Entries are separated by commas or white space. An entry is ``*``, a host name (its subdomains match too), a name
    after a dot or ``*.`` (subdomains only), an IP address or a network, with or without a port. Case and a trailing
    dot are ignored.
    """
    parts = httpx2.URL(url)
    host = parts.raw_host.decode("ascii").lower().rstrip(".")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    return any(_matches(entry, host, port) for entry in re.split(r"[\s,]+", no_proxy.strip().lower()) if entry)


def _matches(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    bare = entry.partition("://")[2] or entry
    name, wanted = _split_port(bare)
    if wanted is not None and wanted != str(port):
        return False
    address = _ip(host)
    if address is not None:
        return _matches_ip(name, address)
    only_below = name.startswith("*.")
    plain = _ascii(name.removeprefix("*").strip("."))
    return bool(plain) and (host.endswith(f".{plain}") or (host == plain and not only_below))


def _split_port(entry: str) -> tuple[str, str | None]:
    """Split an entry into host and port; an IPv6 address without brackets has no port."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host + rest.partition(":")[0], rest.partition(":")[2] or None
    host, colon, port = entry.rpartition(":")
    return (host, port) if colon and ":" not in host else (entry, None)


def _matches_ip(entry: str, address: _Address) -> bool:
    if "/" not in entry:
        return _ip(entry) == address
    try:
        return address in ip_network(entry, strict=False)
    except ValueError:
        return False


def _ip(text: str) -> _Address | None:
    try:
        # The zone of an IPv6 address names a network interface, not a host.
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _has_ascii_port(text: str) -> bool:
    """Return whether the port in a URL, if any, has ASCII digits only; ``int`` accepts others too."""
    authority = re.split(r"[/?#]", text.partition("://")[2])[0].rpartition("@")[2]
    port = authority.rpartition("]")[2].rpartition(":")[2] if ":" in authority else ""
    return not port or (port.isascii() and port.isdigit())


def _check_host_name(host: str, what: str) -> None:
    if len(host) > _HOST_LENGTH_MAX:
        raise InvalidArgumentError(
            f"The {what} is not valid: its host name is longer than {_HOST_LENGTH_MAX} characters."
        )
    for label in _labels(host):
        if not _LABEL.fullmatch(label):
            raise InvalidArgumentError(
                f"The {what} is not valid: each part of its host name has 1 to 63 letters, digits and hyphens."
            )


def _labels(host: str) -> Iterator[str]:
    yield from host.removesuffix(".").split(".")


def _ascii(name: str) -> str:
    if name.isascii():
        return name
    try:
        return urlsplit(str(httpx2.URL(f"http://{name}").copy_with(path="/"))).hostname or name
    except (httpx2.InvalidURL, ValueError):
        return name
