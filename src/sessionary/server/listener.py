"""The listening socket, and the limit of open files."""

import contextlib
import ipaddress
import logging
import resource
import socket
from typing import Final

from sessionary.errors import InvalidRequestError, UnavailableError
from sessionary.server.config import Settings

_BACKLOG: Final = 2048
_OTHER_FILES: Final = 256
"""Files needed beside the connections: those of the store, and connections that are being refused."""

_logger: Final = logging.getLogger("sessionary.server.listener")


def bind_socket(settings: Settings) -> socket.socket:
    """Bind the address; raises InvalidRequestError if that would expose it without TLS, or UnavailableError on failure.

    Connections are refused until ``start_accepting`` is called.
    """
    with contextlib.ExitStack() as cleanup:
        try:
            host = settings.host.removeprefix("[").removesuffix("]")
            family, _, _, _, address = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0]
            _check_exposure(settings, str(address[0]))
            listener = cleanup.enter_context(socket.socket(family))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            # With SO_REUSEADDR another socket could bind the address until this one accepts, so it is reset.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except OSError as error:
            address_text = f"{format_host(settings.host)}:{settings.port}"
            raise UnavailableError(f"Cannot listen on {address_text}: {error.strerror}.") from error
        except UnicodeError:
            raise InvalidRequestError(f"Cannot listen on {settings.host}: it is not a valid host name.") from None
        cleanup.pop_all()
        return listener


def start_accepting(listener: socket.socket) -> None:
    """Accept connections, and let another server bind the address as soon as this one has stopped."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.listen(_BACKLOG)


def raise_file_limit(connections: int) -> int:
    """Raise the limit of open files for this many connections; returns how many connections it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    allowed = max(1, soft - _OTHER_FILES)
    if allowed < connections:
        _logger.warning(
            "This process may open %d files, so it accepts %d connections, not %d.", soft, allowed, connections
        )
    return min(allowed, connections)


def format_host(host: str) -> str:
    """Format a host as in a URL: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _check_exposure(settings: Settings, address: str) -> None:
    if settings.behind_proxy or settings.tls_certificate or _is_loopback(address):
        return
    raise InvalidRequestError(
        f"Listening on {settings.host} without TLS would expose tokens and messages to the network."
        " Set --tls-certificate and --tls-key, or --behind-proxy if only a proxy that terminates TLS can reach this"
        " address."
    )


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
