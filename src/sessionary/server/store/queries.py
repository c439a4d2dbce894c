"""Read the statements of an engine: the named blocks of a ``.sql`` file."""

import re
from importlib.resources import files
from typing import Final

from sessionary.server.store.base import ListQuery

_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def read_queries(engine: str) -> dict[str, str]:
    """Read ``store/sql/<engine>/queries.sql`` into statements by name."""
    text = files("sessionary.server.store").joinpath("sql", engine, "queries.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {name: statement.strip().removesuffix(";") for name, statement in zip(parts[::2], parts[1::2], strict=True)}


def list_statement(query: ListQuery) -> str:
    """Return the name of the statement whose index fits the filters best."""
    if query.user_id is not None:
        return "list_sessions_by_user"
    if query.session_group is not None:
        return "list_sessions_by_group"
    return "list_sessions" if query.model is None else "list_sessions_by_model"
