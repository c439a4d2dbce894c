"""Access tokens: creating and finding them.

A token has the form ``sny_<id>_<secret><checksum>``. The store holds the id and the SHA-256 of the secret; the checksum
lets a mistyped token be refused without a query.
"""

import hashlib
import hmac
import re
import zlib
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from sessionary.constants import NAME_LENGTH_MAX, ORGANISATION_LENGTH_MAX
from sessionary.errors import FieldError, UnavailableError
from sessionary.server.operations.validation import validation_error
from sessionary.server.store.base import OPERATOR, Clock, Store, StoredToken

READ: Final = "sessions:read"
WRITE: Final = "sessions:write"
IMPORT: Final = "sessions:import"
"""Beside ``WRITE``: setting the creation times of sessions and messages. For migrations, not for daily use."""
SCOPES: Final = (READ, WRITE, IMPORT)
"""All scopes."""
DEFAULT_SCOPES: Final = (READ, WRITE)
"""The scopes of a token for which none are given, and of the first token."""

_SECRET_BYTES: Final = 32
_FIRST_ID: Final = "0" * 20
_TOKEN: Final = re.compile(r"sny_([0-9a-f]{20})_([0-9a-f]{64})([0-9a-f]{8})")
# Python decodes command line arguments that are not UTF-8 to lone surrogates.
_INVALID_CHARACTER: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class TokenIssuer(Struct, frozen=True):
    """What creating tokens needs: a store, a clock and a source of random bytes such as ``secrets.token_bytes``.

    ``actor`` is written to the audit records.
    """

    store: Store
    clock: Clock
    random_bytes: Callable[[int], bytes]
    actor: str = OPERATOR


async def create_token(
    issuer: TokenIssuer,
    organisation: str | None,
    name: str,
    scopes: Sequence[str] = DEFAULT_SCOPES,
    expires_at: int | None = None,
) -> tuple[StoredToken, str]:
    """Create a token for an organisation, or for all of them if None; returns it and its text, which is not stored.

    ``expires_at`` is in milliseconds since 1970. Raises InvalidRequestError.
    """
    now = issuer.clock()
    _validate(organisation, name, scopes, expires_at, now)
    secret = issuer.random_bytes(_SECRET_BYTES).hex()
    token = StoredToken(
        id=f"{now:012x}{issuer.random_bytes(4).hex()}",
        organisation=organisation,
        name=name,
        scopes=tuple(scope for scope in SCOPES if scope in scopes),
        secret_hash=_hash_secret(secret),
        created_at=now,
        expires_at=expires_at,
    )
    await issuer.store.create_token(token, issuer.actor)
    return token, _format_token(token.id, secret)


async def create_first_token(issuer: TokenIssuer, organisation: str) -> str | None:
    """Create the first token of a store and return its text; None if there is a token, even one created just now."""
    if await issuer.store.list_tokens(1):
        return None
    secret = issuer.random_bytes(_SECRET_BYTES).hex()
    # If several servers start at once, only one creates it: its id is fixed, and ids are unique.
    token = StoredToken(
        id=_FIRST_ID,
        organisation=organisation,
        name="first",
        scopes=DEFAULT_SCOPES,
        secret_hash=_hash_secret(secret),
        created_at=issuer.clock(),
    )
    try:
        await issuer.store.create_token(token, issuer.actor)
    except UnavailableError:
        if await issuer.store.list_tokens(1):
            return None
        raise
    return _format_token(token.id, secret)


async def find_token(store: Store, text: str) -> StoredToken | None:
    """Find a token by its text; None if it does not exist. It may be revoked or expired."""
    parts = _TOKEN.fullmatch(text)
    if parts is None:
        return None
    token_id, secret, checksum = parts.groups()
    if checksum != _checksum(token_id, secret):
        return None
    token = await store.find_token(token_id)
    if token is None or not hmac.compare_digest(token.secret_hash, _hash_secret(secret)):
        return None
    return token


def is_active(token: StoredToken, now: int) -> bool:
    """Whether a token is neither revoked nor expired."""
    return token.revoked_at is None and (token.expires_at is None or token.expires_at > now)


def _format_token(token_id: str, secret: str) -> str:
    return f"sny_{token_id}_{secret}{_checksum(token_id, secret)}"


def _validate(organisation: str | None, name: str, scopes: Sequence[str], expires_at: int | None, now: int) -> None:
    field_errors = []
    if organisation is not None and not is_valid_organisation(organisation):
        field_errors.append(
            FieldError(
                "/organisation",
                f"1 to {ORGANISATION_LENGTH_MAX} characters, none of them a control character.",
            )
        )
    if not 0 < len(name) <= NAME_LENGTH_MAX or _INVALID_CHARACTER.search(name):
        field_errors.append(
            FieldError("/name", f"1 to {NAME_LENGTH_MAX} characters, none of them a control character.")
        )
    if not scopes or not set(scopes) <= set(SCOPES):
        field_errors.append(FieldError("/scopes", f"One or more of {', '.join(SCOPES)}."))
    if expires_at is not None and expires_at <= now:
        field_errors.append(FieldError("/expires_at", "It is in the past."))
    if field_errors:
        raise validation_error(field_errors)


def is_valid_organisation(name: str) -> bool:
    """Whether an organisation can have this name."""
    return 0 < len(name) <= ORGANISATION_LENGTH_MAX and not _INVALID_CHARACTER.search(name)


def _hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _checksum(token_id: str, secret: str) -> str:
    return f"{zlib.crc32(f'{token_id}{secret}'.encode()):08x}"
