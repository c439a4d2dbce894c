"""Pagination cursors: the id of the last session of a page, in base64url without padding."""

import base64
import binascii
from typing import Final

from sessionary.errors import FieldError, InvalidCursorError

_CURSOR_BYTES: Final = 16


def format_cursor(session_id: str) -> str:
    """Return the cursor of the page that follows a session."""
    return base64.urlsafe_b64encode(bytes.fromhex(session_id.replace("-", ""))).rstrip(b"=").decode()


def parse_cursor(cursor: str) -> str:
    """Return the session id in a cursor; raises InvalidCursorError."""
    try:
        digits = base64.b64decode(f"{cursor}==", altchars=b"-_", validate=True).hex()
    except (binascii.Error, ValueError):
        digits = ""
    if len(digits) != 2 * _CURSOR_BYTES:
        raise _invalid_cursor()
    session_id = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    # Several texts decode to the same bytes; only the one that we made is a cursor.
    if format_cursor(session_id) != cursor:
        raise _invalid_cursor()
    return session_id


def _invalid_cursor() -> InvalidCursorError:
    return InvalidCursorError(field_errors=(FieldError("cursor", "It is not a cursor of this server."),))
