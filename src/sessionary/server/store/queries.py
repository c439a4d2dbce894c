"""Read the statements of an engine: the named blocks of a ``.sql`` file."""

import re
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def read_queries(engine: str) -> dict[str, str]:
    """Read ``store/sql/<engine>/queries.sql`` into statements by name."""
    text = files("sessionary.server.store").joinpath("sql", engine, "queries.sql").read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {name: statement.strip().removesuffix(";") for name, statement in zip(parts[::2], parts[1::2], strict=True)}
