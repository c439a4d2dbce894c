"""Repeated imports: the server's state counts, not the journal; times and order; kinds of files."""

import gzip
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from sessionary import Client
from tests.cli import sample_sessions
from tests.cli.conftest import Run
from tests.cli.live_server import Tenant, running_server

Import = Callable[..., CompletedProcess[str]]
HI = {"role": "user", "content": "Hi"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    with running_server(tmp_path_factory.mktemp("again")) as tenant:
        yield tenant


@pytest.fixture
def tenant(server: Tenant, request: pytest.FixtureRequest) -> Tenant:
    return server.of(request.node.name[:128])


@pytest.fixture
def client(tenant: Tenant) -> Iterator[Client]:
    with Client(tenant.server.base_url, token=tenant.token, organisation=tenant.organisation) as client:
        yield client


@pytest.fixture
def run_import(run: Run, tenant: Tenant) -> Import:
    """Import into the server; the directory is the test's own."""

    def call(*words: str, **variables: str) -> CompletedProcess[str]:
        return run("import", *words, environment=tenant.environment | variables)

    return call


def write(*values: Any) -> str:
    """Write one value a line."""
    Path("data.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))
    return "data.jsonl"


def talk(user: Any, **members: Any) -> dict[str, Any]:
    """A conversation of a user's."""
    return {"user": user, "messages": [HI], **members}


def users(client: Client) -> list[str | None]:
    """Whose sessions there are, the newest first."""
    return [session.user_id for session in client.iterate_sessions()]


def test_sessions_that_were_deleted_since_are_sent_again_and_the_others_are_not(
    run_import: Import, client: Client
) -> None:
    file = write(*(talk(f"u{n}") for n in range(5)))
    assert "5 imported" in run_import(file).stdout
    for session in client.list_sessions(user_id="u1").data + client.list_sessions(user_id="u3").data:
        client.delete_session(session.id)

    assert run_import(file).returncode == 0
    completed = run_import(file)

    assert completed.returncode == 0, completed.stderr
    assert sorted(users(client), key=str) == [f"u{n}" for n in range(5)]
    assert "0 imported, 5 already there" in completed.stdout


def test_sessions_that_are_sent_again_are_reported(run_import: Import, client: Client) -> None:
    file = write(talk("ada"))
    run_import(file)
    for _ in range(3):
        (session,) = client.list_sessions().data
        client.delete_session(session.id)
        completed = run_import(file)
        assert completed.stdout == (
            "data.jsonl: 1 imported (read as OpenAI transcripts), 0 already there\n"
            "  1 of them again: their sessions from an earlier import no longer exist\n"
        )
    assert users(client) == ["ada"]


def test_sessions_beyond_the_listed_pages_are_requested_one_by_one(run_import: Import, client: Client) -> None:
    file = write(talk("ada", created_at="2020-01-01T00:00:00Z"), talk("bob", created_at="2020-01-01T00:00:00Z"))
    run_import(file)
    for _ in range(1_050):
        client.create_session("other", expiration_minutes=5)
    (bobs,) = client.list_sessions(user_id="bob").data
    client.delete_session(bobs.id)
    assert "1 imported" in run_import(file).stdout
    assert len(client.list_sessions(user_id="ada").data) == len(client.list_sessions(user_id="bob").data) == 1


def test_without_the_read_scope_the_report_says_that_sessions_were_not_checked(
    run_import: Import, tenant: Tenant
) -> None:
    writer = tenant.server.create_token(tenant.organisation, scopes=["sessions:write"])
    file = write(talk("ada"))
    run_import(file)
    completed = run_import(file, SESSIONARY_TOKEN=writer)
    assert "0 imported, 1 already there" in completed.stdout
    assert "it was not checked" in completed.stdout


def test_changed_records_are_sent_and_their_old_versions_reported(run_import: Import, client: Client) -> None:
    run_import(write(talk("ada"), talk("bob")))
    completed = run_import(write(talk("ada"), talk("eve")))
    assert "1 imported" in completed.stdout
    assert (
        "1 imported earlier are no longer in the file or were changed there; their sessions remain" in completed.stdout
    )
    assert sorted(users(client), key=str) == ["ada", "bob", "eve"]


def test_other_default_options_create_other_sessions(run_import: Import, client: Client) -> None:
    file = write({"messages": [HI]}, talk("bob"), {"user_id": "eve", "session_group": "web", "messages": [HI]})
    counts = {
        ("--user-id", "ada"): 3,
        ("--user-id", "ida"): 1,
        ("--user-id", "ida", "--session-group", "g"): 2,
    }
    for words, count in counts.items():
        assert f"{count} imported" in run_import(file, *words).stdout
        again = run_import(file, *words)
        assert again.stdout == "data.jsonl: 0 imported, 3 already there\n"
    assert "0 imported" in run_import(file, "--user-id", "ada").stdout
    found = sorted((str(each.user_id), str(each.session_group)) for each in client.iterate_sessions())
    assert found == sorted(
        [("ada", "None"), ("ida", "None"), ("ida", "g"), ("bob", "None"), ("bob", "g"), ("eve", "web")]
    )


@pytest.mark.parametrize("words", [("--format", "openai"), ("--expiration-minutes", "60")])
def test_options_without_effect_on_existing_sessions_are_reported(
    run_import: Import, client: Client, words: tuple[str, ...]
) -> None:
    run_import(write(talk("ada")))
    completed = run_import("data.jsonl", *words)
    assert "0 imported, 1 already there" in completed.stdout
    assert "Sessions that were already there are unchanged: --format and --expiration-minutes" in completed.stdout
    assert users(client) == ["ada"]


@pytest.mark.parametrize("flag", ["--user-id", "--session-group"])
@pytest.mark.parametrize("name", ["x" * 257, "a\7b", "", "\udcff"])
def test_an_option_that_no_server_accepts_is_rejected_at_once(run_import: Import, flag: str, name: str) -> None:
    completed = run_import(write({"messages": [HI]}, talk("ada")), flag, name)
    assert (completed.returncode, completed.stdout) == (2, "")
    assert flag in completed.stderr
    assert not Path("data.jsonl.journal").exists()
    assert not Path("data.jsonl.rejects").exists()


OLD = [talk(f"u{n}", created_at=f"2020-01-0{n}T00:00:00Z") for n in (5, 3, 4, 1, 2)]
NEWEST_FIRST = ["u5", "u4", "u3", "u2", "u1"]


def test_times_and_order_are_kept_with_the_scope(run_import: Import, client: Client) -> None:
    said = {"role": "user", "content": "x", "created_at": "2020-01-01T00:00:01.500Z"}
    completed = run_import(write(*OLD, talk("u0", created_at=1577836800, messages=[said, HI] * 700)))
    assert completed.returncode == 0
    assert "Times were not kept" not in completed.stdout
    listed = list(client.iterate_sessions())
    assert [session.user_id for session in listed] in ([*NEWEST_FIRST, "u0"], [*NEWEST_FIRST[:-1], "u0", "u1"])
    (session,) = client.list_sessions(user_id="u0").data
    messages = client.get_session(session.id).messages
    assert session.to_dict()["created_at"] == "2020-01-01T00:00:00.000Z"
    assert [message["created_at"] for message in messages[::2]] == ["2020-01-01T00:00:01.500Z"] * 700


def test_without_the_scope_the_order_is_kept_and_the_times_are_metadata(
    run_import: Import, client: Client, tenant: Tenant
) -> None:
    token = tenant.server.create_token(tenant.organisation)
    said = {"role": "user", "content": "x", "created_at": "2020-01-09T00:00:00.000Z"}
    completed = run_import(write(*OLD, talk("u6", messages=[said])), SESSIONARY_TOKEN=token)
    assert completed.returncode == 0, completed.stdout
    assert completed.stdout.count("Times were not kept, because the token lacks the scope sessions:import") == 1
    assert users(client) == ["u6", *NEWEST_FIRST]
    times = [session.metadata.get("imported") for session in client.iterate_sessions()]
    assert times == [None, *({"created_at": f"2020-01-0{n}T00:00:00.000Z"} for n in (5, 4, 3, 2, 1))]
    (session,) = client.list_sessions(user_id="u6").data
    assert client.get_session(session.id).messages[0]["metadata"] == {"created_at": said["created_at"]}
    assert "0 imported, 6 already there" in run_import("data.jsonl", SESSIONARY_TOKEN=token).stdout


AT_ONCE = "2025-01-01T00:00:00.000Z"


@pytest.mark.parametrize("newest_first", [True, False], ids=["export", "transcripts"])
@pytest.mark.parametrize("has_scope", [True, False])
def test_sessions_of_one_millisecond_keep_their_order(
    run_import: Import, client: Client, tenant: Tenant, *, newest_first: bool, has_scope: bool
) -> None:
    scopes = {} if has_scope else {"SESSIONARY_TOKEN": tenant.server.create_token(tenant.organisation)}
    count = 20
    name = "user_id" if newest_first else "user"
    ties: list[Any] = [{name: f"u{n:02d}", "created_at": AT_ONCE, "messages": [HI]} for n in range(count)]
    around = [{name: f"around {n}", "created_at": f"2025-01-0{n}T00:00:00Z", "messages": [HI]} for n in (4, 3)]
    file = write(around[0], *ties[:5], 5, *ties[5:], around[1])
    run_import(file, **scopes)
    listed = [str(user) for user in users(client)]
    in_file = [f"u{n:02d}" for n in range(count)]
    assert listed[2:] == (in_file if newest_first else in_file[::-1])
    assert listed[:2] == ["around 4", "around 3"]


def test_a_dry_run_counts_the_same_and_sends_nothing(run_import: Import, client: Client) -> None:
    file = write(talk("ada"), {"messages": 5}, talk(7))
    tried = run_import(file, "--dry-run", SESSIONARY_URL="http://127.0.0.1:1")
    assert (users(client), Path("data.jsonl.journal").exists()) == ([], False)
    done = run_import(file)
    assert (tried.returncode, done.returncode) == (8, 8)
    assert tried.stdout == done.stdout.replace("imported", "would be imported", 1)


def test_exit_code_and_report_show_changes_and_leftovers(run_import: Import, client: Client) -> None:
    completed = run_import(write(talk(7, tools=["x" * 70_000], title={"a": 1})))
    assert completed.returncode == 9
    assert "1 conversations changed: " in completed.stdout
    assert "see data.jsonl.leftovers" in completed.stdout
    (left,) = sample_sessions.lines(Path("data.jsonl.leftovers"))
    assert (left["line"], left["member"], left["value"]) == (1, "metadata.tools", ["x" * 70_000])
    assert Path("data.jsonl.leftovers").stat().st_mode & 0o777 == 0o600
    (session,) = client.list_sessions(user_id="7").data
    assert session.metadata == {"imported": {"title": {"a": 1}}}
    # What is left over stays where it is: no other file has it.
    run_import("data.jsonl")
    assert len(list(sample_sessions.lines(Path("data.jsonl.leftovers")))) == 1


RECORDS = [talk("ada"), talk("bob")]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize(
    "written", [json.dumps(RECORDS), json.dumps(RECORDS[0], indent=2) + "\r\n" + json.dumps(RECORDS[1])]
)
def test_files_in_other_encodings_and_packed_ones_are_read(
    run_import: Import, client: Client, encoding: str, written: str
) -> None:
    Path("data.json").write_bytes(written.encode(encoding))
    assert run_import("data.json").returncode == 0
    Path("data.json.gz").write_bytes(gzip.compress(written.encode(encoding)))
    assert run_import("data.json.gz").returncode == 0
    assert sorted(users(client), key=str) == ["ada", "ada", "bob", "bob"]


def archive(**members: str) -> str:
    """Write an archive as data exports come in."""
    with zipfile.ZipFile("export.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in members.items():
            file.writestr(name.replace("__", "/").replace("_json", ".json").replace("_html", ".html"), text)
    return "export.zip"


def test_the_conversations_of_an_archive_are_read(run_import: Import, client: Client) -> None:
    file = archive(
        **{
            "..__..__conversations-001_json": json.dumps([RECORDS[1], 5]),
            "conversations-000_json": json.dumps(RECORDS[:1]),
        },
        user_json="{}",
        shared_conversations_json="[{}]",
        chat_html="<html>",
    )
    completed = run_import(file)
    assert completed.returncode == 8
    assert "2 imported" in completed.stdout
    assert "Not read: user.json, shared_conversations.json, chat.html." in completed.stdout
    (reject,) = sample_sessions.lines(Path("export.zip.rejects"))
    assert (reject["inside"], reject["element"]) == ("../../conversations-001.json", 2)
    assert sorted(users(client), key=str) == ["ada", "bob"]
    assert "0 imported, 2 already there" in run_import(file).stdout


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"chat_html": "x"}, "contains no conversations.json. It contains only an HTML page"),
        ({"user_json": "{}"}, "contains no conversations.json"),
    ],
)
def test_an_archive_without_conversations_is_an_error(
    run_import: Import, members: dict[str, str], message: str
) -> None:
    completed = run_import(archive(**members))
    assert completed.returncode == 1
    assert message in completed.stderr


def test_a_decompression_bomb_is_refused(run_import: Import) -> None:
    with (
        zipfile.ZipFile("export.zip", "w", zipfile.ZIP_DEFLATED) as file,
        file.open("conversations.json", "w") as inside,
    ):
        for _ in range(1_100):
            inside.write(b" " * 1024 * 1024)
    completed = run_import("export.zip")
    assert completed.returncode == 1
    assert "too many for conversations" in completed.stderr


@pytest.mark.parametrize(
    ("begins", "message"),
    [
        (b"PK\x03\x04 no archive", "is not a readable ZIP archive"),
        (b"\xfd7zXZ\0", "is xz"),
        (b"\x1f\x8bno", "is damaged"),
    ],
)
def test_unreadable_files_are_reported_in_one_sentence(run_import: Import, begins: bytes, message: str) -> None:
    Path("data").write_bytes(begins)
    completed = run_import("data")
    assert completed.returncode == 1
    assert message in completed.stderr
    assert "Traceback" not in completed.stderr
