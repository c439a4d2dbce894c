"""Every limit that the protocol fixes; what an operator can set is in the configuration.

A name says its unit. ``..._LENGTH_MAX`` counts Unicode code points, ``..._BYTES_MAX`` counts bytes.
"""

from typing import Final

# ------------------------------------------------------------------------------------------------------ numbers

INT32_MAX: Final = 2_147_483_647
"""The largest integer that the official clients can read; totals and offsets never exceed it."""
INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**64 - 1
"""Integers in messages and metadata are stored exactly within this range, and refused outside of it."""

# -------------------------------------------------------------------------------------------------- names and texts

ORGANISATION_LENGTH_MAX: Final = 128
NAME_LENGTH_MAX: Final = 256
"""For ``userId``, ``sessionGroup``, ``model`` and the name of a token."""
TITLE_LENGTH_MAX: Final = 512
DERIVED_TITLE_LENGTH_MAX: Final = 80
REQUEST_ID_LENGTH_MAX: Final = 128
IDEMPOTENCY_KEY_LENGTH_MAX: Final = 255

# --------------------------------------------------------------------------------------------------------- requests

QUERY_BYTES_MAX: Final = 8 * 1024
HEADERS_BYTES_MAX: Final = 32 * 1024
HEADERS_MAX: Final = 1_024
HEAD_BYTES_MAX: Final = 60 * 1024
"""A request line and headers that exceed this together are refused before they are complete; no more is buffered."""
HEAD_BYTES_READ_MAX: Final = 4 * HEAD_BYTES_MAX
"""How much is read and discarded after such a refusal, so that the client gets to read the response."""

BODY_BYTES_MAX: Final = 8 * 1024 * 1024
REFUSED_BYTES_READ_MAX: Final = 2 * BODY_BYTES_MAX
"""How much of a refused body is read and discarded, so that the client gets to read the response."""
TRAILERS_BYTES_MAX: Final = 8 * 1024
"""Trailers after a chunked body are ignored; more of them are refused."""
FRAMING_BYTES_MAX: Final = 64 * 1024
FRAMING_BYTES_PER_BYTE_MAX: Final = 16
"""A chunked body may have FRAMING_BYTES_MAX bytes of framing, and this many more for each byte of content."""
NESTING_MAX: Final = 64
VALUES_MAX: Final = 100_000
"""JSON values in one body, empty and nested ones included: decoding more would hold up all other requests."""

RESPONSE_BYTES_READ_MIN: Final = 1024 * 1024
"""How much of a long response a client must read within the time that a body may take to arrive."""

# --------------------------------------------------------------------------------------------------------- sessions

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
"""How far in the future an expiry may be after an extension; the default of an operator's setting."""

PAGE_LIMIT_MAX: Final = 100
PAGE_LIMIT_DEFAULT: Final = 50
WINDOW_LIMIT_MAX: Final = 1_000

# -------------------------------------------------------------------------------------------------------- retention

IDEMPOTENCY_KEY_RETENTION_MILLISECONDS: Final = 24 * 60 * 60 * 1000
"""How long an idempotency key and its response are stored."""
AUDIT_RETENTION_MILLISECONDS: Final = 400 * 24 * 60 * 60 * 1000
"""How long audit entries are stored: about thirteen months, as auditors usually ask for."""

# ------------------------------------------------------------------------------------------------------ rate limits

REQUESTS_PER_SECOND_MAX: Final = 1_000_000
BURST_MAX: Final = 1_000_000
"""The highest rate limit that an operator may set; without a rate limit requests are not counted."""

# ------------------------------------------------------------------------------------------------------------- time

MILLISECONDS_PER_MINUTE: Final = 60_000
MILLISECONDS_PER_DAY: Final = 86_400_000
