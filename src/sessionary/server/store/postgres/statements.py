"""Convert the statements for the driver: numbered parameters instead of named ones."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from msgspec import Struct

from sessionary.server.store.queries import read_queries

_COMMENT: Final = re.compile(r"--.*\n")
_PARAMETER: Final = re.compile(r"(?<![:\w]):(\w+)")
_SCHEMA_IS_KNOWN: Final = """1 / (
    :program::integer >= (
        SELECT max(m.serves_from)
        FROM schema_migrations AS m
    )
)::integer = 1"""
"""Evaluated once, before any row is read; divides by zero if a newer program has changed the schema."""
_WRITTEN_TOGETHER: Final = (
    "delete_blocks",
    "delete_sessions",
    "insert_sessions",
    "update_sessions",
    "insert_blocks",
    "insert_keys",
    "insert_audit",
)


class Statement(Struct, frozen=True):
    """A statement with ``$1``, ``$2``, …, and the names of these parameters."""

    sql: str
    parameters: tuple[str, ...]


@cache
def read_statements() -> Mapping[str, Statement]:
    """Read the engine's statements by name; ``write_batch`` combines everything that a batch may write."""
    queries = {
        name: _COMMENT.sub("", sql).replace(":schema_is_known", _SCHEMA_IS_KNOWN)
        for name, sql in read_queries("postgres").items()
    }
    blocks = ",\n".join(f"{name} AS (\n{queries[name]}\n)" for name in _WRITTEN_TOGETHER)
    queries["write_batch"] = f"WITH {blocks}\n{queries['write_batch']}"
    return {name: _numbered(sql) for name, sql in queries.items()}


def _numbered(sql: str) -> Statement:
    parameters = tuple(dict.fromkeys(_PARAMETER.findall(sql)))
    numbers = {name: f"${number}" for number, name in enumerate(parameters, 1)}
    return Statement(_PARAMETER.sub(lambda match: numbers[match[1]], sql), parameters)
