"""Errors of single records, and the reasons shown for rejected records."""

from typing import Final

from sessionary.errors import FieldError, SessionaryError

_FIELD_ERRORS_SHOWN_MAX: Final = 3


class RecordError(Exception):
    """A record cannot be imported; other records are not affected."""

    def __init__(self, reason: str) -> None:
        """``reason`` is one sentence."""
        super().__init__(reason)
        self.reason = reason


class MissingUserError(RecordError):
    """Neither the record nor ``--user-id`` names the user."""

    def __init__(self, *, is_named: bool = False) -> None:
        """``is_named`` is true if the record has a user that is not a valid name."""
        super().__init__(f"{'Its user is not text' if is_named else 'It names no user'}: give --user-id.")


def rejection_reason(error: SessionaryError) -> str:
    """Return why a server rejected a request, with the pointers of its field errors, without repetition."""
    where = [
        f"{field_error.pointer} {field_error.detail}"
        for field_error in error.field_errors[:_FIELD_ERRORS_SHOWN_MAX]
        if field_error.pointer and not _is_in_detail(field_error, error.detail)
    ]
    return " ".join([error.detail, *([f"({'; '.join(where)})"] if where else [])])


def _is_in_detail(field_error: FieldError, detail: str) -> bool:
    """Return whether the detail of the response contains the field error already."""
    return detail == field_error.detail or (field_error.detail in detail and field_error.pointer in detail)
