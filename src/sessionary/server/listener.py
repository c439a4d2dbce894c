"""Where the server listens, under which conditions, and with room for how many connections."""

import contextlib
import ipaddress
import logging
import resource
import socket
import ssl
from typing import Final

from sessionary.errors import InvalidRequestError, UnavailableError
from sessionary.server.config import Settings

_BACKLOG: Final = 2048
_FILES_OF_OUR_OWN: Final = 256
"""What a process needs beside its connections: the store's files and connections, and those it is just refusing."""
# TLS 1.3 chooses by itself. Of 1.2 only what keeps a recorded conversation secret after the key was stolen.
_CIPHERS_OF_TLS_1_2: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"

_logger: Final = logging.getLogger("sessionary.server.listener")


def bind(settings: Settings) -> socket.socket:
    """Take the address; raises InvalidRequestError if it would be exposed and Unavailable if it cannot be had.

    Nothing is accepted before ``accept_on`` is called: whoever connects earlier is refused at once.
    """
    with contextlib.ExitStack() as undone:
        try:
            host = settings.host.removeprefix("[").removesuffix("]")
            family, _, _, _, address = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0]
            _check_exposure(settings, str(address[0]))
            listener = undone.enter_context(socket.socket(family))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            # Two that may be reused can be bound to one address for as long as neither accepts. Ours is taken.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        except OSError as error:
            place = f"{shown_host(settings.host)}:{settings.port}"
            raise UnavailableError(f"Cannot listen on {place}: {error.strerror}.") from error
        except UnicodeError:
            raise InvalidRequestError(f"Cannot listen on {settings.host}: that is no name of a host.") from None
        undone.pop_all()
        return listener


def accept_on(listener: socket.socket) -> None:
    """Let connections come, and let another server take the address once this one has ended."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.listen(_BACKLOG)


class Tls:
    """A certificate that can be replaced: connections that stand keep theirs, new ones get the new one."""

    def __init__(self, context: ssl.SSLContext) -> None:
        """Begin with what this context has loaded."""
        self.context: Final = context
        self._newest = context
        # Asked for every handshake, also where the caller names no server.
        context.sni_callback = self._choose

    def replace(self, context: ssl.SSLContext) -> None:
        """Use what this context has loaded from now on."""
        self._newest = context

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext) -> None:
        if self._newest is not self.context:
            connection.context = self._newest


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Read the certificate and its key, None if there is none; raises InvalidRequestError if they cannot be used."""
    if not settings.tls_certificate and not settings.tls_key:
        return None
    if not settings.tls_certificate or not settings.tls_key:
        raise InvalidRequestError("TLS takes both: --tls-certificate and --tls-key.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS_OF_TLS_1_2)
    try:
        # Without a password given, a key that has one would be asked for on the terminal.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    except OSError as error:
        raise InvalidRequestError(
            f"The TLS certificate {settings.tls_certificate} with the key {settings.tls_key} cannot be used:"
            f" {error.strerror or 'they are not PEM files, do not belong together, or the key has a password'}."
        ) from None
    return context


def room_for(connections: int) -> int:
    """Make room for so many open connections among this process's files; answers how many there is room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _FILES_OF_OUR_OWN
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = max(1, soft - _FILES_OF_OUR_OWN)
    if room < connections:
        _logger.warning("This process may open %d files, so it takes %d connections, not %d.", soft, room, connections)
    return min(room, connections)


def shown_host(host: str) -> str:
    """Spell a host as URLs do."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _check_exposure(settings: Settings, address: str) -> None:
    if settings.behind_proxy or settings.tls_certificate or _is_loopback(address):
        return
    raise InvalidRequestError(
        f"Listening on {settings.host} without TLS would show tokens and messages to the network. Give"
        " --tls-certificate and --tls-key, or --behind-proxy if only a proxy that ends TLS can reach this address."
    )


def _is_loopback(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
