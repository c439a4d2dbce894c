"""Why no answer came, in words: what broke, towards whom, and after how long."""

import os
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx2
from msgspec import Struct

from sessionary.client.deadlines import CONNECTING, HANDSHAKE, SENDING, WAITING

_TOLD_BY_THE_LIBRARY: Final = ("Server disconnected", "peer closed connection")
_PHASES: Final = {
    CONNECTING: "there was no connection to {to} yet",
    HANDSHAKE: "the TLS handshake with {to} had not ended",
    SENDING: "the request was still being sent to {to}",
    WAITING: "{to} had not answered to the end",
}
_DEPTH_MAX: Final = 20


class Route(Struct, frozen=True):
    """Where requests go: the server's origin, and that of the proxy on the way, if there is one."""

    server: str
    proxy: str | None = None

    def __str__(self) -> str:
        return f"{self.server} through the proxy {self.proxy}" if self.proxy else self.server


def why_unreachable(error: BaseException, host: str) -> str:
    """Say why no connection came about; ``host`` is whom a TLS handshake was with."""
    if isinstance(error, httpx2.ProxyError):
        return f"the proxy refused with {error}"
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return f"the certificate of {host or 'the server'} was not accepted: {cause.verify_message}"
            case ssl.SSLError():
                said = (cause.reason or "it was broken off").replace("_", " ").lower()
                return f"the TLS handshake with {host or 'the server'} failed: {said}"
            case socket.gaierror() | UnicodeError():
                return f"its name could not be resolved: {_said(cause)}"
            case OSError(errno=int()):
                return _said(cause)
    return str(error) or type(error).__name__


def why_broken(error: BaseException) -> str:
    """Say why an exchange that had begun broke off; what the other side sent is not repeated."""
    if isinstance(error, httpx2.RemoteProtocolError):
        said = str(error)
        return said.rstrip(".") if said.startswith(_TOLD_BY_THE_LIBRARY) else "what came is not HTTP"
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno is not None:
            return _said(cause)
    return "the connection was closed" if isinstance(error, httpx2.NetworkError) else type(error).__name__


def what_was_late(phase: str, route: Route) -> str:
    """Say what had not happened when the time was up."""
    return _PHASES.get(phase, "{to} had not answered").format(to=route)


def is_before_the_request(error: BaseException, phase: str) -> bool:
    """Tell whether a timeout came before anything of the request was sent."""
    if isinstance(error, httpx2.TimeoutException):
        return isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout)
    return phase in {CONNECTING, HANDSHAKE}


def _said(error: BaseException) -> str:
    text = None
    if isinstance(error, OSError) and error.errno is not None:
        # An event loop puts words of its own there.
        text = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno)
    words = (text or str(error) or type(error).__name__).rstrip(".")
    return words[:1].lower() + words[1:]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Follow an exception to its origin; where there are several, the first."""
    following: BaseException | None = error
    for _ in range(_DEPTH_MAX):
        if following is None:
            return
        yield following
        inner = following.exceptions[0] if isinstance(following, BaseExceptionGroup) else None
        following = inner or following.__cause__ or following.__context__
