"""The rules for SQL, each tried on the real statements and on planted breaks."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.layout import statements
from tests.layout.paths import SQL

Rule = Callable[[Path], list[str]]

RULES: list[Rule] = [
    statements.names_that_differ,
    statements.statements_without_organisation,
    statements.needless_exceptions,
    statements.keywords_in_lower_case,
    statements.crowded_lines,
    statements.misnumbered_migrations,
]

VALID = """
-- name: lock_sessions
-- In a comment, a select is only a word.
SELECT s.id, s.metadata, 'from where'
FROM sessions AS s
JOIN unnest($1::text[], $2::uuid[]) AS wanted(organisation, id)
  ON s.organisation = wanted.organisation
 AND s.id = wanted.id
WHERE s.organisation = ANY ($1)
  AND s.expires_at IS DISTINCT FROM $3
ORDER BY s.organisation, s.id
FOR NO KEY UPDATE OF s;

-- name: insert_sessions
INSERT INTO sessions (organisation, id, title)
SELECT *
FROM unnest($1::text[], $2::uuid[], $3::text[])
ON CONFLICT (organisation, id) DO NOTHING;

-- name: update_sessions
UPDATE sessions AS s
SET title = new.title
FROM unnest($1::text[], $2::uuid[], $3::text[]) AS new(organisation, id, title)
WHERE (s.organisation, s.id) = (new.organisation, new.id);
"""

EXCEPTION = """
-- name: find_token
SELECT t.organisation
FROM tokens AS t
WHERE t.id = $1;
"""

OWN = """
-- name: own
SELECT k.key
FROM keys AS k
WHERE k.organisation = $1;
"""


def _plant(name: str, body: str) -> str:
    return f"{VALID}\n-- name: {name}\n{body};\n"


PLANTS: list[tuple[Rule, str]] = [
    (
        statements.names_that_differ,
        _plant("only_here", "SELECT s.id\nFROM sessions AS s\nWHERE s.organisation = $1"),
    ),
    (statements.names_that_differ, VALID + VALID),
    (statements.names_that_differ, VALID + EXCEPTION + OWN),
    *(
        (statements.statements_without_organisation, _plant("bad", body))
        for body in (
            "SELECT s.id\nFROM sessions AS s",
            "SELECT s.id\nFROM sessions AS s\nWHERE s.id = $1 AND s.organisation = $2",
            "SELECT s.id\nFROM sessions AS s\nWHERE s.organisation_name = $1",
            "DELETE FROM message_blocks\nUSING sessions AS s\nWHERE message_blocks.session_id = s.id",
            "UPDATE sessions\nSET title = $1",
            "INSERT INTO sessions (id, organisation)\nVALUES ($1, $2)",
            "SELECT t.body\nFROM message_blocks AS t\nJOIN sessions AS s ON s.id = t.session_id\nWHERE t.organisation = $1",
            "SELECT t.body\nFROM message_blocks AS t\nJOIN sessions AS s USING (id)\nWHERE t.organisation = $1",
            "DELETE FROM keys\nWHERE organisation = $1\n  AND key IN (\n    SELECT k.key\n    FROM keys AS k\n    WHERE k.id = 1)",
        )
    ),
    (statements.needless_exceptions, VALID.replace("lock_sessions", "find_token")),
    (statements.needless_exceptions, VALID),
    *(
        (statements.keywords_in_lower_case, _plant("bad", body))
        for body in (
            "select s.id\nFROM sessions AS s\nWHERE s.organisation = $1",
            "SELECT s.id\nFROM sessions as s\nWHERE s.organisation = $1 and s.id = $2",
            "INSERT INTO message_blocks (organisation)\nvalues($1)",
            "SELECT s.id\nFROM sessions AS s\nWHERE s.organisation = $1\n  AND s.id in ($2)",
        )
    ),
    *(
        (statements.crowded_lines, _plant("bad", body))
        for body in (
            "SELECT s.id FROM sessions AS s\nWHERE s.organisation = $1",
            "SELECT s.id\nFROM sessions AS s WHERE s.organisation = $1",
            "SELECT s.id\nFROM sessions AS s\nWHERE s.organisation = $1 ORDER BY s.id",
            "UPDATE sessions\nSET title = $1 RETURNING id\nWHERE organisation = $1",
            "SELECT t.body\nFROM message_blocks AS t JOIN sessions AS s\n  ON s.organisation = t.organisation",
            f"SELECT {'s.id, ' * 30} s.id\nFROM sessions AS s\nWHERE s.organisation = $1",
        )
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_statements_follow_the_rule(rule: Rule) -> None:
    assert rule(SQL) == []


@pytest.mark.parametrize(("rule", "text"), PLANTS, ids=lambda value: getattr(value, "__name__", "_"))
def test_a_planted_break_of_the_rule_is_found(
    rule: Rule, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "WITHOUT_ORGANISATION", {"find_token": "as in the small folder"})
    monkeypatch.setattr(statements, "ONLY_IN", {"one": {"own": "as in the small folder"}})
    sql = _make_small_folder(tmp_path)
    assert rule(sql) == [], "the small folder follows the rule"
    for engine in ("one", "two") if rule is statements.needless_exceptions else ("two",):
        (sql / engine / "queries.sql").write_text(text)
    assert rule(sql) != []


@pytest.mark.parametrize("name", ["0003_gap.sql", "1_short.sql", "sessions.sql"])
def test_a_misnumbered_migration_is_found(name: str, tmp_path: Path) -> None:
    sql = _make_small_folder(tmp_path)
    assert statements.misnumbered_migrations(sql) == []
    (sql / "two" / "migrations" / name).touch()
    assert statements.misnumbered_migrations(sql) != []


def test_a_keyword_in_lower_case_is_found_in_a_migration(tmp_path: Path) -> None:
    sql = _make_small_folder(tmp_path)
    (sql / "two" / "migrations" / "0001_first.sql").write_text("create TABLE keys (key text NOT NULL);")
    assert statements.keywords_in_lower_case(sql) == ["two/0001_first.sql: create"]


def test_every_rule_has_a_planted_break() -> None:
    assert {rule for rule, _ in PLANTS} | {statements.misnumbered_migrations} == set(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_rule_fails_on_an_empty_tree(rule: Rule, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="two engines"):
        rule(tmp_path)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    if rule is statements.misnumbered_migrations:
        assert rule(tmp_path) == ["one: []", "two: []"]
        return
    for engine in ("one", "two"):
        (tmp_path / engine / "queries.sql").touch()
    with pytest.raises(AssertionError, match="no named statements"):
        rule(tmp_path)


def _make_small_folder(root: Path) -> Path:
    for engine in ("one", "two"):
        (root / engine / "migrations").mkdir(parents=True)
        own = OWN if engine == "one" else ""
        (root / engine / "queries.sql").write_text(VALID + EXCEPTION + own)
        (root / engine / "migrations" / "0001_first.sql").write_text("CREATE TABLE keys (key text NOT NULL);")
    return root
