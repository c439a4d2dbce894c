"""Texts that explain why no response came: what failed, at which host, and in which phase."""

import os
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx2
from msgspec import Struct

from sessionary.client.deadlines import CONNECTING, HANDSHAKE, SENDING, WAITING

_LIBRARY_TEXTS: Final = ("Server disconnected", "peer closed connection")
_PHASES: Final = {
    CONNECTING: "there was no connection to {to} yet",
    HANDSHAKE: "the TLS handshake with {to} had not ended",
    SENDING: "the request was still being sent to {to}",
    WAITING: "the response of {to} was not complete",
}
_DEPTH_MAX: Final = 20


class Route(Struct, frozen=True):
    """Where requests are sent: the origin of the server, and of the proxy if there is one."""

    server: str
    proxy: str | None = None

    def __str__(self) -> str:
        return f"{self.server} through the proxy {self.proxy}" if self.proxy else self.server


def explain_unreachable(error: BaseException, host: str) -> str:
    """Explain why no connection could be made; ``host`` is the host of the TLS handshake."""
    if isinstance(error, httpx2.ProxyError):
        return f"the proxy refused with {error}"
    for cause in _cause_chain(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return f"the certificate of {host or 'the server'} was not accepted: {cause.verify_message}"
            case ssl.SSLError():
                reason = (cause.reason or "the connection was closed").replace("_", " ").lower()
                return f"the TLS handshake with {host or 'the server'} failed: {reason}"
            case socket.gaierror() | UnicodeError():
                return f"its name could not be resolved: {_describe(cause)}"
            case OSError(errno=int()):
                return _describe(cause)
    return str(error) or type(error).__name__


def explain_broken(error: BaseException) -> str:
    """Explain why a connection broke during a request, without repeating what the other side sent."""
    if isinstance(error, httpx2.RemoteProtocolError):
        text = str(error)
        return text.rstrip(".") if text.startswith(_LIBRARY_TEXTS) else "what came is not HTTP"
    for cause in _cause_chain(error):
        if isinstance(cause, OSError) and cause.errno is not None:
            return _describe(cause)
    return "the connection was closed" if isinstance(error, httpx2.NetworkError) else type(error).__name__


def explain_timeout(phase: str, route: Route) -> str:
    """Explain what had not happened when the time was up."""
    return _PHASES.get(phase, "{to} had not responded").format(to=route)


def is_before_request_sent(error: BaseException, phase: str) -> bool:
    """Return whether a timeout came before any part of the request was sent."""
    if isinstance(error, httpx2.TimeoutException):
        return isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout)
    return phase in {CONNECTING, HANDSHAKE}


def _describe(error: BaseException) -> str:
    text = None
    if isinstance(error, OSError) and error.errno is not None:
        # An event loop puts its own text into strerror.
        text = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno)
    words = (text or str(error) or type(error).__name__).rstrip(".")
    return words[:1].lower() + words[1:]


def _cause_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, from the last to the first; of a group the first one."""
    following: BaseException | None = error
    for _ in range(_DEPTH_MAX):
        if following is None:
            return
        yield following
        inner = following.exceptions[0] if isinstance(following, BaseExceptionGroup) else None
        following = inner or following.__cause__ or following.__context__
