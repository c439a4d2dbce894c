"""Tenant filters: the conditions on the organisation in the statements, and statements without one of them."""

import re
from dataclasses import dataclass
from pathlib import Path

from sessionary.server.store.queries import read_queries

_COMMENT = re.compile(r"--.*")
_TENANT_FILTER = re.compile(
    r"""(?:\w+\.)?organisation [ ] = [ ] :?\w+(?:\.\w+)? (?: ::\w+ )?
      | \( organisation,[ ] (?P<others> [\w, ]+ \) [ ] IN [ ] \( \s* SELECT [ ] ) \w+\.organisation,[ ]""",
    re.VERBOSE,
)
_CONDITION = re.compile(r"^\s*(?:WHERE|ON(?! CONFLICT)|AND|OR)\b.*organisation.*$", re.MULTILINE)

UNOBSERVABLE = {
    "postgres-find_unlocked_sessions-1": "it only takes locks: without it another organisation's row is locked, too",
    "postgres-insert_keys-1": "the conflict that it follows is one of the same organisation already",
    "postgres-sweep_keys-1": "a key of the same name elsewhere is only removed if its day is over too",
}
"""Tenant filters whose loss has no visible effect, and why."""


@dataclass(frozen=True)
class TenantFilter:
    """One condition, counted from one within its statement."""

    engine: str
    statement: str
    number: int

    def __str__(self) -> str:
        return f"{self.engine}-{self.statement}-{self.number}"


def statements_of(engine: str) -> dict[str, str]:
    """Read an engine's statements by name, without their comments."""
    return {name: _COMMENT.sub("", text).strip() for name, text in read_queries(engine).items()}


def tenant_filters_of(engine: str) -> list[TenantFilter]:
    """List every tenant filter in an engine's statements, in their order."""
    return [
        TenantFilter(engine, name, number)
        for name, text in statements_of(engine).items()
        for number, _ in enumerate(_TENANT_FILTER.finditer(text), 1)
    ]


def conditions_left(engine: str) -> list[str]:
    """List the conditions on an organisation that are in no tenant filter: the pattern above knows too few forms."""
    return [
        f"{name}: {condition.strip()}"
        for name, text in statements_of(engine).items()
        for condition in _CONDITION.findall(_TENANT_FILTER.sub(_opening, text))
    ]


def statements_without(tenant_filter: TenantFilter) -> dict[str, str]:
    """Remove one tenant filter: return the engine's statements by name, one of them changed."""
    statements = statements_of(tenant_filter.engine)
    text = statements[tenant_filter.statement]
    match = list(_TENANT_FILTER.finditer(text))[tenant_filter.number - 1]
    opened = text[: match.start()] + _opening(match) + text[match.end() :]
    return {**statements, tenant_filter.statement: opened}


def write_queries(folder: Path, engine: str, statements: dict[str, str]) -> None:
    """Write statements as ``read_queries`` reads them, into a folder that stands for that of the store."""
    file = folder / "sql" / engine / "queries.sql"
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(f"-- name: {name}\n{text};\n" for name, text in statements.items()), encoding="utf-8")


def _opening(match: re.Match[str]) -> str:
    return f"({match['others']}" if match["others"] else "TRUE"
