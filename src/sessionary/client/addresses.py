"""Checking the addresses that a client is given, and which of them go past the proxy."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

import httpx2

from sessionary.errors import InvalidRequestError

_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
_HOST_LENGTH_MAX: Final = 253
_PORT_MAX: Final = 65_535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_Address = IPv4Address | IPv6Address


def address_of(text: object, what: str) -> httpx2.URL:
    """Read a URL and check its host and port; raises InvalidRequestError, which never repeats what was given."""
    if not isinstance(text, str):
        raise InvalidRequestError(f"The {what} must be text, not {type(text).__name__}.")
    if not _has_plain_port(text.strip()):
        raise InvalidRequestError(f"The {what} is not valid: its port must be between 1 and {_PORT_MAX}.")
    try:
        url = httpx2.URL(text.strip())
        host, port = url.raw_host.decode("ascii"), url.port
    except (httpx2.InvalidURL, ValueError):
        raise InvalidRequestError(f"The {what} is not a valid address.") from None
    if host and _ip(host) is None:
        _check_name(host, what)
    if port is not None and not 0 < port <= _PORT_MAX:
        raise InvalidRequestError(f"The {what} is not valid: its port must be between 1 and {_PORT_MAX}.")
    return url


def origin_of(url: httpx2.URL) -> str:
    """Write scheme, host and port of a URL, for an error to name: no user, path or query."""
    host = url.raw_host.decode("ascii")
    shown = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{shown}" + ("" if url.port is None else f":{url.port}")


def goes_past_the_proxy(url: str, no_proxy: str) -> bool:
    """Tell whether ``no_proxy`` names the host of a URL.

    Entries are separated by commas or white space and may be ``*``, a name, which stands for all below it too, a name
    after a dot or ``*.``, an IP address or a range of them, each with a port or without; case and a dot at the end do
    not matter.
    """
    parts = httpx2.URL(url)
    host = parts.raw_host.decode("ascii").lower().rstrip(".")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    return any(_matches(entry, host, port) for entry in re.split(r"[\s,]+", no_proxy.strip().lower()) if entry)


def _matches(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    bare = entry.partition("://")[2] or entry
    name, wanted = _split(bare)
    if wanted is not None and wanted != str(port):
        return False
    address = _ip(host)
    if address is not None:
        return _covers(name, address)
    only_below = name.startswith("*.")
    plain = _ascii(name.removeprefix("*").strip("."))
    return bool(plain) and (host.endswith(f".{plain}") or (host == plain and not only_below))


def _split(entry: str) -> tuple[str, str | None]:
    """Part an entry into host and port; a bare IPv6 address is full of colons and has no port."""
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host + rest.partition(":")[0], rest.partition(":")[2] or None
    host, colon, port = entry.rpartition(":")
    return (host, port) if colon and ":" not in host else (entry, None)


def _covers(entry: str, address: _Address) -> bool:
    if "/" not in entry:
        return _ip(entry) == address
    try:
        return address in ip_network(entry, strict=False)
    except ValueError:
        return False


def _ip(text: str) -> _Address | None:
    try:
        # The zone says through which of this machine's interfaces, not which host.
        address = ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _has_plain_port(text: str) -> bool:
    """Tell whether the port in a URL, if there is one, has ASCII digits only: ``int`` reads others too."""
    authority = re.split(r"[/?#]", text.partition("://")[2])[0].rpartition("@")[2]
    port = authority.rpartition("]")[2].rpartition(":")[2] if ":" in authority else ""
    return not port or (port.isascii() and port.isdigit())


def _check_name(host: str, what: str) -> None:
    if len(host) > _HOST_LENGTH_MAX:
        raise InvalidRequestError(
            f"The {what} is not valid: its host name is longer than {_HOST_LENGTH_MAX} characters."
        )
    for label in _labels(host):
        if not _LABEL.fullmatch(label):
            raise InvalidRequestError(
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
