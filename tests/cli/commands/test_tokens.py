"""`sessionary tokens`: the secret is shown once, rejected arguments change nothing."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.e2e.database import query
from tests.harness.server import run_sessionary

TOKEN = r"sny_[0-9a-f]{20}_[0-9a-f]{72}"


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


class Tokens:
    """`sessionary tokens …` on one database."""

    def __init__(self, run: Run, database: str) -> None:
        self._run = run
        self.database = database

    def run(self, *words: str) -> CompletedProcess[str]:
        return self._run("tokens", *words, "--database", self.database)

    def create(self, *words: str) -> dict[str, Any]:
        completed = self.run("create", "--json", *words)
        assert completed.returncode == 0, completed.stderr
        created = json.loads(completed.stdout)
        assert isinstance(created, dict)
        return created

    def listed(self) -> list[dict[str, Any]]:
        completed = self.run("list", "--json")
        assert completed.returncode == 0, completed.stderr
        return [json.loads(line) for line in completed.stdout.splitlines()]


@pytest.fixture
def tokens(run: Run, database: str) -> Tokens:
    return Tokens(run, database)


def test_create_prints_one_object_with_id_and_token(tokens: Tokens) -> None:
    created = tokens.create("--organisation", "demo", "--name", "laptop")
    assert set(created) == {
        "id",
        "organisation",
        "name",
        "scopes",
        "created_at",
        "expires_at",
        "revoked_at",
        "last_used_at",
        "token",
    }
    assert created["token"].startswith(f"sny_{created['id']}_")
    assert (created["organisation"], created["name"]) == ("demo", "laptop")
    assert created["scopes"] == ["sessions:read", "sessions:write"]
    assert (created["expires_at"], created["revoked_at"]) == (None, None)
    assert abs(datetime.fromisoformat(created["created_at"]) - datetime.now(UTC)) < timedelta(minutes=1)


def test_create_without_json_prints_the_token_and_nothing_else(tokens: Tokens) -> None:
    completed = tokens.run("create", "--organisation", "demo")
    assert completed.returncode == 0
    (line,) = completed.stdout.splitlines()
    assert line.startswith("sny_")
    assert completed.stderr == ""


def test_the_secret_is_in_no_file_of_the_store(tokens: Tokens, tmp_path: Path) -> None:
    secret = tokens.create("--organisation", "demo")["token"].rpartition("_")[2][:64]
    tokens.create("--organisation", "other")
    files = list(tmp_path.iterdir())
    assert files
    for file in files:
        content = file.read_bytes()
        for encoded in (secret.encode(), secret.upper().encode(), bytes.fromhex(secret), secret.encode("utf-16-le")):
            assert encoded not in content, file.name


def test_list_shows_every_token_oldest_first_and_no_secret(tokens: Tokens) -> None:
    one = tokens.create("--organisation", "demo", "--name", "one", "--scope", "sessions:read")
    two = tokens.create("--all-organisations", "--name", "two", "--expires", "2d")
    for token in (one, two):
        token.pop("token")
    assert tokens.listed() == [one, two]

    heading, *table = tokens.run("list").stdout.splitlines()

    assert heading.split("  ")[0] == "ID"
    assert [line.split()[:3] for line in table] == [[one["id"], "good", "demo"], [two["id"], "good", "(all)"]]
    created, expires = heading.index("CREATED (UTC)"), heading.index("EXPIRES (UTC)")
    assert [line[created : created + 16] for line in table] == [
        token["created_at"][:16].replace("T", " ") for token in (one, two)
    ]
    assert table[0][expires:].split() == ["never", "never"]
    assert table[1][expires : expires + 16] == two["expires_at"][:16].replace("T", " ")
    assert heading.endswith("LAST USED (UTC)")
    assert "sny_" not in "".join(table)


def test_an_empty_token_list_says_how_to_create_one(tokens: Tokens) -> None:
    completed = tokens.run("list")
    assert (completed.returncode, completed.stdout) == (0, "")
    assert "sessionary tokens create" in completed.stderr


@pytest.mark.parametrize(
    ("flags", "scopes"),
    [
        ([], ["sessions:read", "sessions:write"]),
        (["--scope", "sessions:write"], ["sessions:write"]),
        (["--scope", "sessions:write", "--scope", "sessions:read"], ["sessions:read", "sessions:write"]),
    ],
)
def test_a_token_has_the_requested_scopes(tokens: Tokens, flags: Sequence[str], scopes: list[str]) -> None:
    assert tokens.create("--organisation", "demo", *flags)["scopes"] == scopes
    assert query(tokens.database, "SELECT scopes FROM tokens") == [(" ".join(scopes),)]


def test_a_token_expires_at_the_given_time(tokens: Tokens) -> None:
    now = datetime.now(UTC)
    for text, after in (("90d", timedelta(days=90)), ("12h", timedelta(hours=12)), ("30m", timedelta(minutes=30))):
        expires_at = tokens.create("--organisation", "demo", "--expires", text)["expires_at"]
        assert abs(datetime.fromisoformat(expires_at) - now - after) < timedelta(minutes=1)
    for text in ("2099-01-01T00:00:00Z", "2099-01-01T01:00:00+01:00"):
        created = tokens.create("--organisation", "demo", "--expires", text)
        assert created["expires_at"] == "2099-01-01T00:00:00.000Z"


def test_revoke_is_permanent_and_reported(tokens: Tokens) -> None:
    token, other = (tokens.create("--organisation", "demo", "--name", name) for name in ("lost", "kept"))
    completed = tokens.run("revoke", token["id"])
    assert completed.returncode == 0
    assert completed.stdout == f"revoked: {token['id']}  lost\n"
    assert [bool(each["revoked_at"]) for each in tokens.listed()] == [True, False]
    assert [line.split()[1] for line in tokens.run("list").stdout.splitlines()[1:]] == ["revoked", "good"]

    first = tokens.listed()[0]["revoked_at"]
    assert tokens.run("revoke", token["id"]).returncode == 0, "once more does no harm"
    assert tokens.listed()[0]["revoked_at"] == first
    assert tokens.run("revoke", other["id"]).returncode == 0


def test_an_expired_token_is_listed_as_such(tokens: Tokens) -> None:
    tokens.create("--organisation", "demo", "--expires", "1m")
    query(tokens.database, "UPDATE tokens SET expires_at = created_at + 1")
    assert tokens.run("list").stdout.splitlines()[1].split()[1] == "expired"


REJECTED = {
    "neither one organisation nor all": (["create"], 2, "Give either --organisation NAME or --all-organisations."),
    "both one organisation and all": (["create", "--organisation", "x", "--all-organisations"], 2, "Give either"),
    "an empty organisation": (["create", "--organisation", ""], 2, "/organisation: 1 to 128 characters"),
    "a line end in the organisation": (["create", "--organisation", "a\nb"], 2, "/organisation:"),
    "an organisation that is no text": (["create", "--organisation", "\udcff"], 2, "/organisation:"),
    "an organisation that is too long": (["create", "--organisation", "x" * 129], 2, "/organisation:"),
    "an empty name": (["create", "--organisation", "x", "--name", ""], 2, "/name: 1 to 256 characters"),
    "an unknown scope": (["create", "--organisation", "x", "--scope", "sessions:own"], 2, "sessions:own"),
    "an expiry that is no time": (["create", "--organisation", "x", "--expires", "soon"], 2, "'soon' is neither"),
    "an expiry without a time zone": (["create", "--organisation", "x", "--expires", "2099-01-01"], 2, "time zone"),
    "an expiry in the past": (["create", "--organisation", "x", "--expires", "2001-01-01T00:00Z"], 2, "in the past"),
    "an expiry at once": (["create", "--organisation", "x", "--expires", "0d"], 2, "in the past"),
    "an unknown token": (["revoke", "0123456789abcdef0123"], 1, "There is no such token."),
    "a token's whole text instead of its id": (["revoke", "sny_0123_45"], 1, "There is no such token."),
    "no token": (["revoke"], 2, "Missing argument"),
    "an unknown command": (["crate"], 2, "No such command"),
}


@pytest.mark.parametrize(("words", "code", "message"), REJECTED.values(), ids=REJECTED)
def test_rejected_arguments_are_explained_and_change_nothing(
    tokens: Tokens, words: list[str], code: int, message: str
) -> None:
    tokens.create("--organisation", "demo")
    before = query(tokens.database, "SELECT * FROM tokens")

    completed = tokens.run(*words)

    assert completed.returncode == code
    assert message in completed.stderr
    assert completed.stdout == ""
    assert "Traceback" not in completed.stderr
    assert query(tokens.database, "SELECT * FROM tokens") == before


@pytest.mark.parametrize(
    "words", [["create", "--organisation", "x"], ["list"], ["revoke", "x"]], ids=lambda words: words[0]
)
def test_a_store_that_cannot_be_opened_is_reported_in_one_sentence(run: Run, tmp_path: Path, words: list[str]) -> None:
    no_database = tmp_path / "notes.txt"
    no_database.write_text("This is no database, and must not become one by being opened as such." * 10)
    before = no_database.read_bytes()
    for database, message in (
        (f"sqlite:///{tmp_path}/nowhere/store.db", "cannot be used: No such file or directory."),
        (f"sqlite:///{no_database}", "cannot be used: file is not a database."),
        (f"sqlite:///{tmp_path}", "cannot be used: Is a directory."),
        ("mysql://ada:geheim@db/x", "must be sqlite:///path or postgresql://user@host/name"),
    ):
        completed = Tokens(run, database).run(*words)
        assert completed.returncode == (2 if database.startswith("mysql") else 1)
        assert completed.stderr.startswith("sessionary: ")
        assert message in completed.stderr
        assert "geheim" not in completed.stderr
        assert len(completed.stderr.splitlines()) == 1
    assert no_database.read_bytes() == before


def test_tokens_are_stored_in_postgresql_too(run: Run, postgres_database: str) -> None:
    tokens = Tokens(run, postgres_database)
    one = tokens.create("--organisation", "demo", "--scope", "sessions:read", "--expires", "1d")
    two = tokens.create("--all-organisations")
    assert tokens.run("revoke", one["id"]).returncode == 0
    listed = tokens.listed()
    assert [(token["id"], bool(token["revoked_at"])) for token in listed] == [(one["id"], True), (two["id"], False)]
    assert listed[0]["expires_at"] == one["expires_at"]
    secret = two["token"].rpartition("_")[2][:64]
    assert secret not in str(query(postgres_database, "SELECT * FROM tokens"))


def test_tokens_create_works_in_a_separate_process(database: str) -> None:
    made = run_sessionary("tokens", "create", "--organisation", "demo", "--json", "--database", database)
    assert (made.returncode, made.stderr) == (0, "")
    assert set(json.loads(made.stdout)) >= {"id", "token"}
    refused = run_sessionary("tokens", "create", "--organisation", "", "--database", database)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("sessionary: /organisation: ")


@pytest.mark.parametrize("text", ["٣d", "٩m", "٢٠٢٧-01-01T00:00:00Z"])
def test_an_expiry_in_digits_of_another_script_is_refused(tokens: Tokens, text: str) -> None:
    completed = tokens.run("create", "--organisation", "demo", "--expires", text)
    assert (completed.returncode, completed.stdout) == (2, "")
    assert "is neither a duration" in completed.stderr
