"""`sessionary audit`: who did what, read from the database."""

import getpass
import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


def records(run: Run, database: str, *words: str) -> list[dict[str, Any]]:
    completed = run("audit", "--json", "--database", database, *words)
    assert completed.returncode == 0, completed.stderr
    return [json.loads(line) for line in completed.stdout.splitlines()]


def test_tokens_are_recorded_with_the_user_who_made_and_revoked_them(run: Run, database: str) -> None:
    made = run("tokens", "create", "--organisation", "demo", "--json", "--database", database)
    token = json.loads(made.stdout)
    run("tokens", "revoke", token["id"], "--database", database)

    found = records(run, database)

    me = f"operator {getpass.getuser()}"
    assert [(each["action"], each["subject"], each["actor"], each["organisation"]) for each in found] == [
        ("create_token", token["id"], me, "demo"),
        ("revoke_token", token["id"], me, "demo"),
    ]
    assert found[0]["at"] == token["created_at"]
    assert token["token"] not in json.dumps(found)


def test_the_organisation_option_filters_records(run: Run, database: str) -> None:
    for organisation in ("demo", "other"):
        run("tokens", "create", "--organisation", organisation, "--database", database)
    run("tokens", "create", "--all-organisations", "--database", database)

    assert len(records(run, database)) == 3
    assert [each["organisation"] for each in records(run, database, "--organisation", "other")] == ["other"]


def test_text_output_has_a_heading_and_one_line_a_record(run: Run, database: str) -> None:
    run("tokens", "create", "--organisation", "demo", "--database", database)

    completed = run("audit", "--database", database)

    assert completed.returncode == 0
    heading, line = completed.stdout.splitlines()
    assert heading.split() == ["AT", "(UTC)", "ACTION", "SUBJECT", "ORGANISATION", "BY"]
    assert [line.index("create_token"), line.index("demo")] == [heading.index("ACTION"), heading.index("ORGANISATION")]
    assert line[heading.index("BY") :] == f"operator {getpass.getuser()}"


def test_no_records_print_nothing(run: Run, database: str) -> None:
    completed = run("audit", "--json", "--database", database)
    assert (completed.returncode, completed.stdout) == (0, "")
    assert len(run("audit", "--database", database).stdout.splitlines()) == 1, "the heading"
