"""The rules for SQL; each function checks one rule and returns a line for each violation."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LINE_LENGTH_MAX = 110

# The statements that may omit the organisation, in every engine, and why.
WITHOUT_ORGANISATION: Mapping[str, str] = {
    "find_tokens": "the token determines the organisation",
    "insert_token": "tokens are stored by id; an operator's token has no organisation",
    "list_tokens": "the operator's list shows all organisations",
    "revoke_token": "a token is identified by its id",
    "use_tokens": "a token is identified by its id",
    "sweep_due": "one sweep deletes for all organisations, in the order of expiry",
    "sweep_keys": "as sweep_due",
    "list_audit": "as list_tokens",
    "sweep_audit": "as sweep_due",
    "can_write": "reads the role's rights, not any organisation's data",
    "ping": "checks whether the store responds, reads no data",
}
# The statements that only one engine has, and why.
ONLY_IN: Mapping[str, Mapping[str, str]] = {
    "sqlite": {
        "update_models": "part of update_sessions in PostgreSQL, which sees that an indexed value stays the same",
        "read_sessions": "PostgreSQL reads sessions and keys with one statement, read_batch",
        "read_keys": "as read_sessions",
    },
    "postgres": {
        "find_unlocked_sessions": "SQLite locks the whole file",
        "read_batch": "sessions and keys in one round trip; SQLite has no round trips",
        "write_batch": "makes one statement of the writes of a batch, for the same reason",
        "can_write": "checks rights; a file has none",
        "try_write": "tries a write on a server; for a file the free space is checked",
    },
}

_BLOCK = re.compile(r"^-- name: (\w+)$\n", re.MULTILINE)
# A word before a parenthesis may be a function (left, replace…), unless it is one of these, which never are.
_WORD = re.compile(
    r"""(?<![\w$:@."]) (?: [a-z_]+ (?![\w"(]) | (?:and|as|exists|in|on|or|using|values|where) (?=\() )""",
    re.IGNORECASE | re.VERBOSE,
)
# Only reserved words: others (key, first, count, status…) are also column names.
_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """
        ALL ALTER AND AS ASC BETWEEN BY CASE CONFLICT CREATE CROSS DELETE DESC DISTINCT DO DROP
        ELSE END EXCLUDED EXISTS FOR FROM FULL GROUP HAVING IN INDEX INNER INSERT INTO IS JOIN LATERAL LEFT
        LIKE LIMIT LOCKED MATERIALIZED NATURAL NOT NOTHING NULL OFFSET ON OR ORDER OUTER PRIMARY REFERENCES
        RETURNING RIGHT SELECT SET SKIP TABLE THEN UNION UNIQUE UPDATE USING VALUES WHEN WHERE WITH
        """,
    )
)
# A clause begins its line, unless one of these words is right before it and makes it part of another clause.
_CLAUSES: Mapping[str, set[str]] = {
    "SELECT": set(),
    "FROM": {"DELETE", "DISTINCT"},
    "WHERE": set(),
    "SET": {"UPDATE"},
    "VALUES": set(),
    "RETURNING": set(),
    "GROUP": set(),
    "ORDER": set(),
    "HAVING": set(),
    "LIMIT": set(),
    "UNION": set(),
    "JOIN": {"CROSS", "FULL", "INNER", "LEFT", "OUTER", "RIGHT"},
    "INSERT": set(),
    "DELETE": set(),
    "UPDATE": {"DO", "FOR", "KEY"},
}
_FIRST_PREDICATE = re.compile(r"^[\s(]*(?:\w+\.)?organisation\b")
_TABLES = re.compile(r"\b(?:FROM|JOIN|UPDATE|INTO|USING)\s+(?:sessions|message_blocks|keys|audit|tokens)\b")
_SCHEMA = re.compile(r"\bWHERE\s+:schema_is_known")
"""Reads the schema's migrations, which belong to no organisation."""
_INSERT = re.compile(r"\bINSERT\s+INTO\s+\w+(?:\s+AS\s+\w+)?\s*\(\s*(\w+)")


@dataclass(frozen=True)
class Statement:
    """One named block of an engine's file, without its comments."""

    engine: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.engine}/{self.name}"


def engines(sql: Path) -> list[Path]:
    """Return the folder of every engine; raises AssertionError if there are fewer than two to compare."""
    found = sorted(folder for folder in sql.iterdir() if folder.is_dir())
    if len(found) < 2:
        raise AssertionError(f"expected the folders of two engines in {sql}, found {found}")
    return found


def read_statements(sql: Path) -> list[Statement]:
    """Return every named statement of every engine."""
    return [statement for engine in engines(sql) for statement in _read(engine)]


def names_that_differ(sql: Path) -> list[str]:
    """A statement has the same name in every engine, except those in ONLY_IN."""
    named = {engine.name: [statement.name for statement in _read(engine)] for engine in engines(sql)}
    own = {engine: set(ONLY_IN.get(engine, ())) for engine in named}
    everywhere = set().union(*(set(names) - own[engine] for engine, names in named.items()))
    expected = {engine: everywhere | own[engine] for engine in named}
    missing = [f"{engine} has no {name}" for engine in named for name in expected[engine] - set(named[engine])]
    shared = [f"{name} is not {engine}'s own" for engine in named for name in own[engine] & everywhere]
    twice = [f"{engine} has {name} twice" for engine in named for name in _repeated(named[engine])]
    return sorted(missing + shared + twice)


def statements_without_organisation(sql: Path) -> list[str]:
    """A statement reads and writes rows of one organisation only, which is its first condition."""
    return [
        f"{statement}: {violation}"
        for statement in read_statements(sql)
        if statement.name not in WITHOUT_ORGANISATION
        for violation in _organisation_violations(statement.text)
    ]


def needless_exceptions(sql: Path) -> list[str]:
    """Every exception is needed: one that is not could hide a mistake later."""
    needing = {statement.name for statement in read_statements(sql) if _organisation_violations(statement.text)}
    return sorted(f"{name} needs no exception" for name in WITHOUT_ORGANISATION.keys() - needing)


def keywords_in_lower_case(sql: Path) -> list[str]:
    """Keywords are upper case, in statements and in migrations."""
    return [
        f"{source}: {word}"
        for source, text in _all_texts(sql)
        for word in _WORD.findall(text)
        if word.upper() in _KEYWORDS and word != word.upper()
    ]


def crowded_lines(sql: Path) -> list[str]:
    """A line has one clause and is not too long."""
    return [
        f"{statement}: {line.strip()}"
        for statement in read_statements(sql)
        for line in statement.text.splitlines()
        if len(line) > LINE_LENGTH_MAX or any(_crowd(line, clause) for clause in _CLAUSES)
    ]


def misnumbered_migrations(sql: Path) -> list[str]:
    """Migrations are numbered 0001, 0002, … in every engine, with none missing."""
    violations: list[str] = []
    for engine in engines(sql):
        names = sorted(file.name for file in (engine / "migrations").glob("*.sql"))
        expected = [f"{number:04}_" for number in range(1, len(names) + 1)]
        if not names or [name[:5] for name in names] != expected:
            violations.append(f"{engine.name}: {names}")
    return violations


def _read(engine: Path) -> list[Statement]:
    parts = _BLOCK.split((engine / "queries.sql").read_text(encoding="utf-8"))[1:]
    if not parts:
        raise AssertionError(f"no named statements in {engine}")
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return [Statement(engine.name, name, _without_comments(text)) for name, text in pairs]


def _all_texts(sql: Path) -> list[tuple[str, str]]:
    migrations = [
        (f"{file.parent.parent.name}/{file.name}", _without_comments(file.read_text(encoding="utf-8")))
        for engine in engines(sql)
        for file in sorted((engine / "migrations").glob("*.sql"))
    ]
    return [*((str(statement), statement.text) for statement in read_statements(sql)), *migrations]


def _without_comments(text: str) -> str:
    """Return SQL without comments and with empty string literals: the rules do not apply to either."""
    return re.sub(r"'(?:[^']|'')*'", "''", re.sub(r"--.*", "", text)).rstrip()


def _repeated(names: list[str]) -> set[str]:
    return {name for name in names if names.count(name) > 1}


def _organisation_violations(statement: str) -> list[str]:
    """Check that every condition begins with the organisation, and every insertion has it in the first column."""
    conditions = _conditions(_SCHEMA.sub("", statement))
    violations = [
        f"{kind} {' '.join(condition.split())[:40]}…"
        for kind, condition in conditions
        if not _FIRST_PREDICATE.match(condition)
    ]
    violations += [f"inserts {column} first" for column in _INSERT.findall(statement) if column != "organisation"]
    reads = _TABLES.search(_INSERT.sub("", statement))
    if reads and not conditions:
        violations.append("no condition at all")
    return violations


def _conditions(statement: str) -> list[tuple[str, str]]:
    """Return what follows each WHERE, each ON of a join and each parenthesised USING."""
    found = re.finditer(r"\b(WHERE|ON|USING(?=\s*\())\b(?!\s+CONFLICT)", statement)
    return [
        (match[1], statement[match.end() :])
        for match in found
        if not re.search(r"\bDISTINCT\s*$", statement[: match.start()])
    ]


def _crowd(line: str, clause: str) -> bool:
    """Return whether a clause begins in the middle of a line."""
    for match in re.finditer(rf"(?<![\w:.$]){clause}\b", line):
        before = line[: match.start()].strip()
        last = before.split()[-1] if before else ""
        if before and last not in _CLAUSES[clause]:
            return True
    return False
