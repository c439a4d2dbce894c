"""Why a record was left out."""

from typing import Final

from sessionary.errors import FieldError, SessionaryError

_FAULTS_TOLD_MAX: Final = 3


class UnreadableError(Exception):
    """A record cannot become a session; the others can."""

    def __init__(self, reason: str) -> None:
        """Say why, in one sentence."""
        super().__init__(reason)
        self.reason = reason


class MissingUserError(UnreadableError):
    """Nobody said whose conversation it is."""

    def __init__(self, *, is_named: bool = False) -> None:
        """Say how to tell; ``is_named`` where there is something in a user's place that names nobody."""
        super().__init__(f"{'Its user is no text' if is_named else 'It names no user'}: give --user-id.")


def refusal_of(error: SessionaryError) -> str:
    """Say what a server refused, and where, each thing once."""
    where = [
        f"{fault.pointer} {fault.detail}"
        for fault in error.field_errors[:_FAULTS_TOLD_MAX]
        if fault.pointer and not _is_told(fault, error.detail)
    ]
    return " ".join([error.detail, *([f"({'; '.join(where)})"] if where else [])])


def _is_told(fault: FieldError, detail: str) -> bool:
    """Tell whether the first sentence of an answer says a fault already."""
    return detail == fault.detail or (fault.detail in detail and fault.pointer in detail)
