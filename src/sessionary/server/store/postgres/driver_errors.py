"""Classify driver errors: rolled back for certain, lost before a commit, or of unknown outcome.

===================================  ==============================  ===========================================
error                                in a statement that commits     in any other statement
===================================  ==============================  ===========================================
ERROR 08, 40003, 57P, 58             unknown: never repeated         ConnectionLost: repeated on a new connection
ERROR XX                             unknown: never repeated         InvalidData: the batch is halved
ERROR 40, 23505, 22012 in a write    WriteConflict: rolled back; the sessions are read again
ERROR 55P03                          LockTimeout: rolled back; locked sessions are left out
ERROR 22, 23, 54, P0, 21             InvalidData: rolled back; the batch is halved to find the bad item
ERROR 25006, 0A000, 26000            ConnectionLost: rolled back; a new connection may work
any other ERROR                      RolledBack: it fails (rights, disk, memory, time)
FATAL, PANIC, connection closed      unknown: never repeated         ConnectionLost
no response in time                  unknown: never repeated         unknown, which does not matter for a read
an error of the driver itself        InvalidData: nothing was sent
===================================  ==============================  ===========================================

A pooler between the server and PostgreSQL reports class 08 when it lost a connection, perhaps after it sent the commit
on it. 57P is a server that shuts down, 58 an error of its system, XX an internal error. A FATAL error ends the session,
and may come after a commit.
"""

import asyncio
from typing import Final

import asyncpg

DRIVER_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

_UNKNOWN: Final = ("08", "40003", "57P", "58")
_INTERNAL: Final = "XX"
_DIVISION_BY_ZERO: Final = "22012"
"""write_batch divides by zero if one of its conditions fails; no other statement divides."""
_CONFLICTS: Final = ("40", "23505", _DIVISION_BY_ZERO)
_LOCK_NOT_AVAILABLE: Final = "55P03"
_INVALID_DATA: Final = ("21", "22", "23", "54", "P0", _INTERNAL)
_STALE_CONNECTION: Final = ("0A000", "25006", "26000")
"""Tables changed under a prepared statement, the server became a standby, or a statement is gone: connect again."""
_CONNECTION_USABLE: Final = ("22", "23", "40", _LOCK_NOT_AVAILABLE)
"""After errors about values, constraints, conflicts and locks the connection is good; after others it is replaced."""
_QUOTES_VALUES: Final = ("21", "22", "23", "54", "P0")
"""Messages of these classes contain values that a caller sent: they are not logged."""
_TRANSIENT: Final = ("08", "53", "57P")


class RolledBackError(Exception):
    """The server reported an error: the transaction was rolled back."""


class WriteConflictError(RolledBackError):
    """Another transaction changed what was read: the batch may be read and applied again."""


class LockTimeoutError(RolledBackError):
    """Another transaction holds a lock for longer than we wait."""


class InvalidDataError(RolledBackError):
    """The server refused the data of one item; the others of the batch may be accepted without it."""


class ConnectionLostError(Exception):
    """The connection was lost, or could not be made, before anything could be committed on it."""


class UnknownOutcomeError(Exception):
    """The connection failed when something may have been committed."""


def classify_error(error: Exception, *, commits: bool) -> RolledBackError | ConnectionLostError | UnknownOutcomeError:
    """Convert a driver error into one of the errors above; its text is for the operator's log."""
    reason = reason_of(error)
    sqlstate = _sqlstate_of_error(error)
    if not sqlstate or sqlstate.startswith(_UNKNOWN):
        return UnknownOutcomeError(reason) if commits else ConnectionLostError(reason)
    if commits and sqlstate.startswith(_INTERNAL):
        return UnknownOutcomeError(reason)
    if sqlstate in _STALE_CONNECTION:
        return ConnectionLostError(reason)
    if sqlstate.startswith(_CONFLICTS):
        return WriteConflictError(reason)
    if sqlstate == _LOCK_NOT_AVAILABLE:
        return LockTimeoutError(reason)
    return InvalidDataError(reason) if sqlstate.startswith(_INVALID_DATA) else RolledBackError(reason)


def keeps_connection(error: Exception) -> bool:
    """Return whether the connection can still be used after the error."""
    return _sqlstate_of_error(error).startswith(_CONNECTION_USABLE)


def reason_of(error: BaseException) -> str:
    """Return the cause for the operator's log, without anything that a caller sent."""
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = str(error.sqlstate)
        if sqlstate.startswith(_QUOTES_VALUES):
            return f"{type(error).__name__} ({sqlstate})"
        return f"{error.args[0] if error.args else type(error).__name__} ({sqlstate})"
    if isinstance(error, asyncio.TimeoutError):
        return "no response in time"
    return str(error) or type(error).__name__


def is_transient_error(error: Exception) -> bool:
    """Return whether waiting may help: the server is not reachable, not ready yet, or out of resources."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(_TRANSIENT)
    return isinstance(error, OSError) and not isinstance(error, PermissionError) and type(error).__module__ != "ssl"


def _sqlstate_of_error(error: Exception) -> str:
    """Return the SQLSTATE of an error after which the session goes on; empty if the session ended, or may have.

    A FATAL error ends the session, and may come after a commit.
    """
    if not isinstance(error, asyncpg.PostgresError):
        return ""
    is_from_driver = isinstance(error, asyncpg.DataError) and error.severity_en is None
    return str(error.sqlstate) if is_from_driver or error.severity_en == "ERROR" else ""
