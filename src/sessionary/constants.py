"""Every bound the service keeps, with its unit in its name or beside it.

Text is counted in Unicode code points; a name that ends in ``BYTES_MAX`` counts bytes.
"""

from typing import Final

INT32_MAX: Final = 2_147_483_647
"""The largest integer the official clients read; totals and offsets never pass it."""
INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**64 - 1
"""Integers inside messages and metadata keep every digit between these two."""

ORGANISATION_LENGTH_MAX: Final = 128
NAME_LENGTH_MAX: Final = 256
"""``userId``, ``sessionGroup``, ``model`` and the name of a token."""
TITLE_LENGTH_MAX: Final = 512
DERIVED_TITLE_LENGTH_MAX: Final = 80
REQUEST_ID_LENGTH_MAX: Final = 128

BODY_BYTES_MAX: Final = 8 * 1024 * 1024
HEADERS_BYTES_MAX: Final = 32 * 1024
HEAD_BYTES_MAX: Final = 60 * 1024
"""A request line and headers longer than this together are refused before they are whole, and no longer kept."""
HEAD_BYTES_READ_MAX: Final = 4 * HEAD_BYTES_MAX
"""So much of what comes after such a refusal is read and thrown away, so that its sender hears of it."""
HEADERS_MAX: Final = 1_024
TRAILERS_BYTES_MAX: Final = 8 * 1024
"""Header lines behind a body in chunks are read past, and not for long."""
FRAMING_BYTES_MAX: Final = 64 * 1024
FRAMING_BYTES_PER_BYTE_MAX: Final = 16
"""What may come around the bytes of a body in chunks: so much, and so much for each of its bytes."""
REFUSED_BYTES_READ_MAX: Final = 2 * BODY_BYTES_MAX
"""So much of a body that was refused is read and thrown away, so that its sender hears of the refusal."""
ANSWER_BYTES_TAKEN_MIN: Final = 1024 * 1024
"""So much of a long answer must be taken in the time that a body has to arrive."""
QUERY_BYTES_MAX: Final = 8 * 1024
NESTING_MAX: Final = 64
VALUES_MAX: Final = 100_000
"""Values in one body, the empty and the nested ones too: more would hold up everybody else while they are read."""

METADATA_BYTES_MAX: Final = 64 * 1024
MESSAGES_PER_REQUEST_MAX: Final = 1_000
MESSAGE_BYTES_MAX: Final = 1024 * 1024
MESSAGES_PER_SESSION_MAX: Final = 100_000
SESSION_BYTES_MAX: Final = 16 * 1024 * 1024

EXPIRATION_MINUTES_MIN: Final = 5
EXPIRATION_MINUTES_MAX: Final = 1_440
EXPIRATION_MINUTES_DEFAULT: Final = 60
ADDITIONAL_MINUTES_MIN: Final = 1
ADDITIONAL_MINUTES_MAX: Final = 1_440
ADDITIONAL_MINUTES_DEFAULT: Final = 60
EXPIRY_HORIZON_DAYS_DEFAULT: Final = 30
"""How far ahead of now an expiry may be moved by extending; an operator's setting."""

PAGE_LIMIT_MAX: Final = 100
PAGE_LIMIT_DEFAULT: Final = 50
WINDOW_LIMIT_MAX: Final = 1_000

IDEMPOTENCY_KEY_LENGTH_MAX: Final = 255
IDEMPOTENCY_KEY_KEPT_MILLISECONDS: Final = 24 * 60 * 60 * 1000
"""How long the answer to a command that names a key is kept for its repetition."""
AUDIT_KEPT_MILLISECONDS: Final = 400 * 24 * 60 * 60 * 1000
"""How long it is remembered who deleted what: thirteen months, as auditors like it."""

REQUESTS_PER_SECOND_MAX: Final = 1_000_000
BURST_MAX: Final = 1_000_000
"""The widest rate an operator may set; without one requests are not counted."""

MILLISECONDS_PER_MINUTE: Final = 60_000
MILLISECONDS_PER_DAY: Final = 86_400_000
