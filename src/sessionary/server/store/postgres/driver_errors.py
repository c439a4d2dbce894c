"""What an error says about the work it ended: refused for certain, lost before a commit, or of unknown outcome.

===================================  ==============================  ===========================================
what came                            of a statement that commits     of any other
===================================  ==============================  ===========================================
ERROR 08, 40003, 57P, 58             unknown: never again            Lost: once more, on a new connection
ERROR XX                             unknown: never again            Unfit: the batch is split
ERROR 40, 23505, 22012 in a write    Conflict: nothing remains, what is decided upon is read again
ERROR 55P03                          Locked: nothing remains; somebody holds a lock, the batch is split
ERROR 22, 23, 54, P0, 21             Unfit: nothing remains; one item may be to blame, the batch is split
ERROR 25006, 0A000, 26000            Lost: nothing remains; a new connection may do better
any other ERROR                      Refused: nothing remains, and it fails as it is (rights, disk, memory, time)
FATAL, PANIC, a connection's end     unknown: never again            Lost
no answer in time                    unknown: never again            unknown, which of a read means nothing
what the driver itself refuses       Unfit: it was never sent
===================================  ==============================  ===========================================

Class 08 reported as an error comes from what stands between us and PostgreSQL: it speaks of a connection that it lost,
perhaps after the commit went out on it. 57P is a server on its way down, 58 an error of its system, XX one that cannot
be. A FATAL error ends the session, and may come after a commit.
"""

import asyncio
from typing import Final

import asyncpg

DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

_UNKNOWN: Final = ("08", "40003", "57P", "58")
_CANNOT_BE: Final = "XX"
_OVERTAKEN: Final = "22012"
"""write_batch divides by zero where somebody else came between; nothing else divides."""
_CONFLICTS: Final = ("40", "23505", _OVERTAKEN)
_LOCKED: Final = "55P03"
_UNFIT: Final = ("21", "22", "23", "54", "P0", _CANNOT_BE)
_OUTLIVED: Final = ("0A000", "25006", "26000")
"""Tables changed under a prepared statement, a server that became a standby, a statement forgotten: a new one will."""
_HARMLESS: Final = ("22", "23", "40", _LOCKED)
"""Values, constraints, conflicts and locks say nothing against the connection; after others a new one may do better."""
_TELLTALE: Final = ("21", "22", "23", "54", "P0")
"""Messages of these classes quote values of the caller."""
_PASSING: Final = ("08", "53", "57P")


class RolledBackError(Exception):
    """The server reported an error: nothing of the transaction remains."""


class WriteConflictError(RolledBackError):
    """Somebody else changed what was decided upon: it may be read and decided again."""


class LockTimeoutError(RolledBackError):
    """Somebody else holds a lock for longer than we wait."""


class InvalidDataError(RolledBackError):
    """The server refused what it was given: without one of the items it might have taken the others."""


class ConnectionLostError(Exception):
    """The connection was lost or not made, before anything could have been committed on it."""


class UnknownOutcomeError(Exception):
    """The connection, or what stands behind it, failed while something may have been committed."""


def classify_error(error: Exception, *, commits: bool) -> RolledBackError | ConnectionLostError | UnknownOutcomeError:
    """Say what an error of the driver means for a statement; its text is for the operator's log."""
    reason = reason_of(error)
    sqlstate = _sqlstate_of_error(error)
    if not sqlstate or sqlstate.startswith(_UNKNOWN):
        return UnknownOutcomeError(reason) if commits else ConnectionLostError(reason)
    if commits and sqlstate.startswith(_CANNOT_BE):
        return UnknownOutcomeError(reason)
    if sqlstate in _OUTLIVED:
        return ConnectionLostError(reason)
    if sqlstate.startswith(_CONFLICTS):
        return WriteConflictError(reason)
    if sqlstate == _LOCKED:
        return LockTimeoutError(reason)
    return InvalidDataError(reason) if sqlstate.startswith(_UNFIT) else RolledBackError(reason)


def is_harmless(error: Exception) -> bool:
    """Say whether the connection is as good as before."""
    return _sqlstate_of_error(error).startswith(_HARMLESS)


def reason_of(error: BaseException) -> str:
    """Name a cause for the operator's log, without anything that a caller sent."""
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = str(error.sqlstate)
        if sqlstate.startswith(_TELLTALE):
            return f"{type(error).__name__} ({sqlstate})"
        return f"{error.args[0] if error.args else type(error).__name__} ({sqlstate})"
    if isinstance(error, asyncio.TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__


def may_pass(error: Exception) -> bool:
    """Say whether waiting may help: nothing answers, or what answers does not serve yet or has no room."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(_PASSING)
    return isinstance(error, OSError) and not isinstance(error, PermissionError) and not _is_tls(error)


def _is_tls(error: OSError) -> bool:
    return type(error).__module__ == "ssl"


def _sqlstate_of_error(error: Exception) -> str:
    """Name the error after which the session goes on; empty if it has ended, or may have.

    A FATAL error, which ends the session, may come after a commit: it says nothing about it.
    """
    if not isinstance(error, asyncpg.PostgresError):
        return ""
    found_by_the_driver = isinstance(error, asyncpg.DataError) and error.severity_en is None
    return str(error.sqlstate) if found_by_the_driver or error.severity_en == "ERROR" else ""
