"""TLS of the server: loading the certificate, and replacing it while the server runs."""

import ssl
from typing import Final

from sessionary.errors import InvalidRequestError
from sessionary.server.config import Settings

# The cipher suites of TLS 1.3 are fixed. For 1.2, only those with forward secrecy.
_TLS_1_2_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class ReloadableTLSContext:
    """A TLS context whose certificate can be replaced: open connections keep the old one, new ones get the new one."""

    def __init__(self, context: ssl.SSLContext) -> None:
        """Start with the certificate of this context."""
        self.context: Final = context
        self._current = context
        # Called for every handshake, also if the client sends no server name.
        context.sni_callback = self._select_context

    def replace(self, context: ssl.SSLContext) -> None:
        """Use the certificate of another context for new connections."""
        self._current = context

    def _select_context(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        if self._current is not self.context:
            connection.context = self._current


def load_tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Load the certificate and its key, None if none is set; raises InvalidRequestError if they cannot be used."""
    if not settings.tls_certificate and not settings.tls_key:
        return None
    if not settings.tls_certificate or not settings.tls_key:
        raise InvalidRequestError("TLS needs both --tls-certificate and --tls-key.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_TLS_1_2_CIPHERS)
    try:
        # Without a password argument, OpenSSL would prompt for the password of an encrypted key on the terminal.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password="")
    except OSError as error:
        raise InvalidRequestError(
            f"The TLS certificate {settings.tls_certificate} with the key {settings.tls_key} cannot be used:"
            f" {error.strerror or 'they are not PEM files, do not belong together, or the key has a password'}."
        ) from None
    return context
