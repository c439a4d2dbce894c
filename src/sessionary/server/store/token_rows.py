"""Convert between tokens and their rows, which are the same on every engine."""

from typing import Any

from msgspec.structs import asdict

from sessionary.server.store.base import AuditAction, AuditRecord, StoredToken


def to_token(row: Any) -> StoredToken:
    """Convert a row of tokens, a tuple or a record of the driver."""
    token_id, organisation, name, scopes, *rest = row
    return StoredToken(token_id, organisation, name, tuple(scopes.split()), *rest)


def bind_token(token: StoredToken) -> dict[str, Any]:
    """Bind every column of a token."""
    return asdict(token) | {"scopes": " ".join(token.scopes)}


def token_audit_record(action: AuditAction, token: StoredToken, actor: str) -> AuditRecord:
    """Return the audit record of the creation or revocation of a token."""
    at = token.revoked_at or token.created_at
    return AuditRecord(at=at, organisation=token.organisation, actor=actor, action=action, subject=token.id)
