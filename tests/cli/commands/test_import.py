"""`sessionary import`: every format, each line exactly once, through interruptions and failures."""

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import pytest

from sessionary import Client
from tests.cli import sample_sessions
from tests.cli.conftest import Run
from tests.cli.live_server import Tenant, running_server
from tests.client.faults import (
    Fault,
    FaultProxy,
    delayed,
    dropped_after,
    dropped_before,
    overloaded,
    passed,
    refused,
    truncated,
    unanswered,
)
from tests.harness.waiting import poll

Import = Callable[..., CompletedProcess[str]]
Stored = Callable[[], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    with running_server(tmp_path_factory.mktemp("import")) as tenant:
        yield tenant


@pytest.fixture
def tenant(server: Tenant, request: pytest.FixtureRequest) -> Tenant:
    return server.of(request.node.name[:128])


@pytest.fixture
def run_import(run: Run, tenant: Tenant) -> Import:
    """Import into the server; the directory is the test's own."""

    def call(*words: str, **variables: str) -> CompletedProcess[str]:
        return run("import", *words, environment=tenant.environment | variables)

    return call


@pytest.fixture
def stored(tenant: Tenant, run: Run, tmp_path: Path) -> Stored:
    """Read all sessions of the organisation, the newest first."""

    def read() -> list[dict[str, Any]]:
        file = tmp_path / "stored.jsonl"
        assert run("export", "--output", str(file), environment=tenant.environment).returncode == 0
        return list(sample_sessions.lines(file))

    return read


def said(session: dict[str, Any]) -> list[tuple[str, Any]]:
    """Who said what."""
    return [(message["role"], message["content"]) for message in session["messages"]]


def without_times(session: dict[str, Any]) -> list[dict[str, Any]]:
    """A session's messages as they were sent."""
    return [{name: value for name, value in message.items() if name != "created_at"} for message in session["messages"]]


def write(*lines: Any) -> str:
    """Write lines, those that are no text as JSON."""
    Path("data.jsonl").write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return "data.jsonl"


HELLO = {"messages": [{"role": "user", "content": "Hello"}], "user": "ada"}


def test_openai_transcripts_are_detected_and_read(run_import: Import, stored: Stored) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
        {"role": "function", "content": "43", "name": "find"},
        {"role": "assistant", "content": None, "refusal": "No.", "weight": 0},
    ]
    file = write({"messages": messages, "user": "ada", "model": "gpt-4o", "tools": [{"type": "function"}]})

    completed = run_import(file)

    assert completed.returncode == 9, "something was mended"
    assert completed.stdout.startswith("data.jsonl: 1 imported (read as OpenAI transcripts), 0 already there\n")
    assert "1 of: message without content, stored with empty content" in completed.stdout
    (session,) = stored()
    assert (session["user_id"], session["model"], session["title"]) == ("ada", "gpt-4o", "What is this?")
    assert session["metadata"] == {"tools": [{"type": "function"}]}
    assert without_times(session) == [
        *messages[:4],
        {"role": "tool", "content": "43", "name": "find"},
        {"role": "assistant", "content": "", "refusal": "No.", "weight": 0},
    ]


def test_sharegpt_is_detected_and_read(run_import: Import, stored: Stored) -> None:
    turns = [("human", "Hi"), ("gpt", "Hello!"), ("Human", "Bye"), ("observation", "{}"), ("assistant", "Bye!")]
    conversation = [{"from": who, "value": text, "weight": 1} for who, text in turns]
    record = {"id": "abc_0", "system": "Be kind.", "conversations": conversation, "title": "A\ttitle"}
    Path("dataset.json").write_text(json.dumps([record], indent=2))

    completed = run_import("dataset.json", "--user-id", "bob", "--session-group", "dataset", "--json")

    assert json.loads(completed.stdout) == {
        "file": "dataset.json",
        "shapes": {"ShareGPT": 1},
        "imported": 1,
        "already_there": 0,
        "rejected": 0,
        "rejects": None,
        "anew": 0,
        "mended": 0,
        "mendings": {},
        "messages": 6,
        "messages_mended": 0,
        "messages_left_out": 0,
        "left_out": {},
        "leftovers": None,
        "no_longer_in_file": 0,
        "notices": [],
    }
    (session,) = stored()
    assert (session["user_id"], session["session_group"]) == ("bob", "dataset")
    assert (session["title"], session["metadata"]) == ("A title", {"id": "abc_0"})
    roles = ["system", "user", "assistant", "user", "tool", "assistant"]
    assert said(session) == list(zip(roles, ["Be kind.", *(text for _, text in turns)], strict=True))
    assert session["messages"][1]["weight"] == 1


def chatgpt(*nodes: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A conversation of ChatGPT's export: a chain of nodes, and the given other members."""
    mapping: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
    parent = "root"
    for number, node in enumerate(nodes):
        name = f"n{number}"
        mapping[parent]["children"].append(name)
        mapping[name] = {"id": name, "message": node, "parent": parent, "children": []}
        parent = name
    return {"title": "T", "create_time": 1700000000.123456, "mapping": mapping, "current_node": parent} | members


def node(role: str, *parts: Any, **members: Any) -> dict[str, Any]:
    """A message of ChatGPT's export."""
    return {
        "id": f"id of {parts[:1]}",
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": 1700000001.5,
        "content": {"content_type": "text", "parts": list(parts)},
        "metadata": {},
    } | members


def test_the_displayed_branch_of_a_chatgpt_export_is_read(run_import: Import, stored: Stored) -> None:
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    conversation = chatgpt(
        node("system", ""),
        node("user", "settings", content={"content_type": "user_editable_context", "user_profile": "x"}),
        node("system", "secret", metadata={"is_visually_hidden_from_conversation": True}),
        node("user", "What is", picture, "?"),
        node("assistant", content={"content_type": "thoughts", "thoughts": [{"content": "hm"}]}),
        node("assistant", content={"content_type": "code", "text": "print(1)"}),
        node(
            "tool", author={"role": "tool", "name": "python"}, content={"content_type": "execution_output", "text": "1"}
        ),
        node("assistant", "One.", "\nReally."),
        conversation_id="c-1",
        default_model_slug="gpt-4o",
        update_time=None,
    )
    # A branch that was edited away.
    conversation["mapping"]["other"] = {
        "id": "other",
        "message": node("user", "edited"),
        "parent": "root",
        "children": [],
    }
    Path("conversations.json").write_text("\ufeff" + json.dumps([conversation]))

    completed = run_import("conversations.json", "--user-id", "ada")

    assert "1 imported (read as ChatGPT data export)" in completed.stdout
    (session,) = stored()
    assert (session["title"], session["model"], session["user_id"]) == ("T", "gpt-4o", "ada")
    source = {"format": "chatgpt", "id": "c-1", "created_at": "2023-11-14T22:13:20.123Z"}
    assert session["metadata"] == {"source": source}
    parts = [
        {"type": "text", "text": "What is"},
        {"type": "image_asset_pointer", **picture},
        {"type": "text", "text": "?"},
    ]
    assert said(session) == [
        ("user", parts),
        ("assistant", "print(1)"),
        ("tool", "1"),
        ("assistant", "One.\n\nReally."),
    ]
    assert session["messages"][2]["name"] == "python"
    assert session["messages"][3]["created_at"] == "2023-11-14T22:13:21.500Z"
    assert session["created_at"] == "2023-11-14T22:13:20.123Z"


def test_a_tree_without_a_current_node_ends_in_its_last_leaf(run_import: Import, stored: Stored) -> None:
    conversation = chatgpt(
        node("user", "Hi"), current_node=None, title="\n", create_time="yesterday", default_model_slug=""
    )
    Path("conversations.json").write_text(json.dumps([conversation, chatgpt(title=None)]))
    assert run_import("conversations.json", "--user-id", "ada").returncode == 9
    empty, session = sorted(stored(), key=lambda each: len(each["messages"]))
    assert (empty["title"], empty["messages"]) == (None, [])
    assert (session["title"], session["model"]) == ("Hi", None)
    assert session["metadata"] == {"source": {"format": "chatgpt"}, "imported": {"create_time": "yesterday"}}


def test_invalid_lines_are_counted_and_listed_and_valid_ones_imported(run_import: Import, stored: Stored) -> None:
    bad: dict[Any, str] = {
        "{": "It is not valid JSON: Input data was truncated. It ends too early",
        "[1]": "It is not a JSON object.",
        "\x80\udcff": "It is not valid JSON",
        "[" * 100_000: "It is nested too deeply.",
        '{"messages": 5}': "It is not a conversation in a known format. Its `messages` is not an array.",
        '{"messages": []}': "It names no user: give --user-id.",
        '{"messages": [], "user_id": {"id": 1}}': "Its user is not text: give --user-id.",
        '{"messages": [], "user": {"id": 1}}': "Its user is not text: give --user-id.",
        '{"role": "user", "content": "Hi"}': "It is a single message: a conversation",
        '{"id": "x", "conversation_id": "y"}': "its messages are in conversations.json.",
        "# a comment": "It is not valid JSON",
    }
    lines = [HELLO, "", *bad, HELLO | {"user": "bob"}]
    raw = b"".join(
        (line if isinstance(line, str) else json.dumps(line)).encode("utf-8", "surrogateescape") + b"\n"
        for line in lines
    )
    Path("data.jsonl").write_bytes(raw)

    completed = run_import("data.jsonl")

    assert completed.returncode == 8
    assert "2 imported (read as OpenAI transcripts" in completed.stdout
    assert completed.stdout.endswith(f", 0 already there, {len(bad)} rejected: see data.jsonl.rejects\n")
    rejects = {each["line"]: each["reason"] for each in sample_sessions.lines(Path("data.jsonl.rejects"))}
    assert sorted(rejects) == list(range(3, 3 + len(bad)))
    for number, reason in enumerate(bad.values(), 3):
        assert reason in rejects[number], (number, rejects[number])
    assert Counter(each["user_id"] for each in stored()) == {"ada": 1, "bob": 1}


def test_a_second_run_sends_only_the_lines_that_were_corrected(run_import: Import, stored: Stored) -> None:
    run_import(write(HELLO, '{"messages": []}', HELLO))
    assert Path("data.jsonl.rejects").exists()

    completed = run_import(write("", HELLO, '{"messages": [], "user": "bob"}', HELLO, HELLO | {"user": "eve"}))

    assert completed.returncode == 0
    assert completed.stdout == ("data.jsonl: 2 imported (read as OpenAI transcripts), 2 already there\n")
    assert Counter(each["user_id"] for each in stored()) == {"ada": 2, "bob": 1, "eve": 1}
    assert not Path("data.jsonl.rejects").exists()


def test_another_organisation_gets_sessions_of_its_own(run_import: Import, stored: Stored) -> None:
    file = write(HELLO)
    assert "1 imported" in run_import(file).stdout
    assert "1 imported" in run_import(file, "--organisation", "another").stdout
    assert "0 imported" in run_import(file).stdout
    assert len(stored()) == 1


def test_standard_input_is_imported_once_too(tenant: Tenant, stored: Stored, tmp_path: Path) -> None:
    line = json.dumps(HELLO).encode()
    first = tenant.run("import", "-", stdin=line, directory=tmp_path)
    again = tenant.run("import", "-", stdin=line, directory=tmp_path)
    assert first.stdout == b"-: 1 imported (read as OpenAI transcripts), 0 already there\n"
    assert again.stdout == b"-: 0 imported (read as OpenAI transcripts), 1 already there\n"
    (session,) = stored()

    # What was deleted since is no longer there, though the server remembers having made it.
    tenant.run("delete-session", session["id"])
    assert b"1 imported" in tenant.run("import", "-", stdin=line, directory=tmp_path).stdout
    assert len(stored()) == 1
    assert list(tmp_path.glob("*journal*")) == []


def test_a_file_that_names_no_user_needs_one(run_import: Import, stored: Stored) -> None:
    completed = run_import(write({"messages": [{"role": "user", "content": "Hi"}]}))
    assert (completed.returncode, completed.stdout) == (2, "")
    assert "data.jsonl does not name the user of its conversations: give --user-id." in completed.stderr
    assert stored() == []


@pytest.mark.parametrize("text", ["", "\n\n", "[]", " [ ] "])
def test_a_file_without_conversations_imports_nothing(run_import: Import, text: str) -> None:
    Path("empty.json").write_text(text)
    assert run_import("empty.json").stdout == "empty.json: 0 imported, 0 already there\n"


def test_several_files_are_imported_one_by_one(run_import: Import, stored: Stored) -> None:
    Path("one.json").write_text(json.dumps([HELLO, HELLO]))
    Path("two.json").write_text(json.dumps(HELLO))
    completed = run_import("one.json", "two.json", "--json")
    assert [json.loads(line)["imported"] for line in completed.stdout.splitlines()] == [2, 1]
    assert len(stored()) == 3
    assert run_import("one.json", "two.json", "--journal", "x").returncode == 2


def test_long_conversations_are_imported_completely(run_import: Import, stored: Stored) -> None:
    many = [{"role": "user", "content": str(number)} for number in range(2_500)]
    # Equal messages in equal requests must not be taken for repetitions.
    large = [{"role": "assistant", "content": "x" * 1_000_000} for _ in range(15)]
    ours = {"user_id": "ada", "status": "completed", "total_tokens": 99, "messages": many, "title": "Long"}
    run_import(write(ours, {"messages": large, "user": "bob"}))

    sessions = {each["user_id"]: each for each in stored()}

    assert without_times(sessions["ada"]) == many
    assert (sessions["ada"]["status"], sessions["ada"]["total_tokens"]) == ("completed", 99)
    assert without_times(sessions["bob"]) == large


def test_a_rejection_after_the_first_request_leaves_no_session(run_import: Import, stored: Stored) -> None:
    too_much = {"messages": [{"role": "user", "content": "x" * 1_000_000} for _ in range(18)], "user": "ada"}
    for _ in range(2):
        completed = run_import(write(too_much, HELLO))
        assert completed.returncode == 8
        (reject,) = sample_sessions.lines(Path("data.jsonl.rejects"))
        assert reject == {"line": 1, "reason": "A session holds at most 100000 messages and 16777216 bytes of them."}
    assert len(stored()) == 1


@pytest.mark.parametrize(("minutes", "days"), [(1_440, 1), (5, 5 / 1_440), (4_000, 4_000 / 1_440)])
def test_sessions_expire_after_the_requested_time(
    run_import: Import, stored: Stored, minutes: int, days: float
) -> None:
    assert run_import(write(HELLO), "--expiration-minutes", str(minutes)).returncode == 0
    (session,) = stored()
    lives = datetime.fromisoformat(session["expires_at"]) - datetime.fromisoformat(session["created_at"])
    assert lives == timedelta(days=days)


def test_lost_responses_cause_no_duplicates(run_import: Import, tenant: Tenant, stored: Stored) -> None:
    file = write(*(HELLO | {"user": f"user {number}"} for number in range(30)))
    with FaultProxy(tenant.server.port) as proxy:
        proxy.plan = [passed, *[dropped_after, dropped_before, truncated, overloaded(), passed] * 5]
        completed = run_import(file, SESSIONARY_URL=proxy.base_url)
    assert "30 imported" in completed.stdout or "already there" in completed.stdout
    assert Counter(each["user_id"] for each in stored()) == {f"user {number}": 1 for number in range(30)}


@pytest.mark.parametrize("removed", [False, True])
def test_an_incomplete_session_is_completed_or_replaced(
    run: Run, run_import: Import, tenant: Tenant, stored: Stored, *, removed: bool
) -> None:
    messages = [{"role": "user", "content": str(number)} for number in range(2_500)]
    file = write({"messages": messages, "user": "ada"})
    with FaultProxy(tenant.server.port) as proxy:
        proxy.plan = [passed, passed, passed, *[refused(500)] * 20]
        failed = run_import(file, "--timeout", "1", SESSIONARY_URL=proxy.base_url)
        assert failed.returncode == 1
        (half,) = stored()
        assert len(half["messages"]) == 2_000
        if removed:
            run("delete-session", half["id"], environment=tenant.environment)
        proxy.plan = []

        done = run_import(file, SESSIONARY_URL=proxy.base_url)

    assert done.stdout == "data.jsonl: 1 imported (read as OpenAI transcripts), 0 already there\n"
    (session,) = stored()
    assert without_times(session) == messages
    assert (session["id"] == half["id"]) is not removed


def test_a_killed_import_is_resumed_without_duplicates(
    run_import: Import, tenant: Tenant, stored: Stored, tmp_path: Path
) -> None:
    file = sample_sessions.write(tmp_path / "data.jsonl", map(sample_sessions.session, range(200)))
    with FaultProxy(tenant.server.port) as proxy:
        for _ in range(2):
            process = _start_import(tenant, proxy, file, unanswered)
            process.kill()
            process.communicate(timeout=60)
        assert 20 < len(_ids(tenant)) < 200
        proxy.plan = []

        finished = run_import(str(file), SESSIONARY_URL=proxy.base_url)

    assert finished.returncode == 0, finished.stderr
    assert sample_sessions.count_sessions(stored()) == sample_sessions.count_sessions(sample_sessions.lines(file))


@pytest.mark.parametrize("back_in_time", [True, False], ids=["back in time", "away for long"])
def test_an_import_survives_a_killed_server_or_is_resumed_without_duplicates(
    run: Run, tmp_path: Path, *, back_in_time: bool
) -> None:
    file = sample_sessions.write(tmp_path / "data.jsonl", map(sample_sessions.session, range(200)))
    with running_server(tmp_path) as tenant, FaultProxy(tenant.server.port) as proxy:
        process = _start_import(tenant, proxy, file, delayed(0.1), "--timeout", "60" if back_in_time else "3")
        tenant.server.kill9()
        proxy.plan = []
        if back_in_time:
            tenant.server.start()
        _, errors = process.communicate(timeout=90)
        assert process.returncode == (0 if back_in_time else 5), errors
        assert b"Traceback" not in errors
        environment = tenant.environment | {"SESSIONARY_URL": proxy.base_url}
        if not back_in_time:
            tenant.server.start()
            assert 20 < len(_ids(tenant)) < 200
            assert run("import", str(file), environment=environment).returncode == 0
        assert run("export", "--output", "out.jsonl", environment=environment).returncode == 0
    found = sample_sessions.count_sessions(sample_sessions.lines(Path("out.jsonl")))
    assert found == sample_sessions.count_sessions(sample_sessions.lines(file))


def _start_import(tenant: Tenant, proxy: FaultProxy, file: Path, then: Fault, *words: str) -> Popen[bytes]:
    """Start an import, of whose requests sixty pass unharmed and the others do not; return in the midst of it."""
    proxy.plan = [*[passed] * 60, *[then] * 1_000]
    begun = len(proxy.arrived)
    process = tenant.start("import", str(file), "--url", proxy.base_url, *words, directory=file.parent)
    poll(lambda: len(proxy.arrived) > begun + 60, "an import in full swing", seconds=60)
    return process


def _wait_for_more_than(tenant: Tenant, count: int) -> None:
    poll(lambda: len(_ids(tenant)) > count, "some imported sessions", seconds=60)


def _ids(tenant: Tenant) -> list[str]:
    with Client(tenant.server.base_url, token=tenant.token, organisation=tenant.organisation) as client:
        return [session.id for session in client.iterate_sessions()]


def test_an_interrupted_import_says_how_to_continue(run_import: Import, tenant: Tenant, tmp_path: Path) -> None:
    file = sample_sessions.write(tmp_path / "data.jsonl", map(sample_sessions.session, range(200)))
    with FaultProxy(tenant.server.port) as proxy:
        process = _start_import(tenant, proxy, file, delayed(0.2))
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert b"Run the same command again to continue." in errors
        imported = int(printed.split()[1])
        # What was on its way was brought to its end, and written down.
        assert len(_ids(tenant)) == imported
        proxy.plan = []
        assert f"{200 - imported} imported" in run_import(str(file), SESSIONARY_URL=proxy.base_url).stdout


def test_an_unreachable_server_ends_the_import_with_its_exit_code(run_import: Import) -> None:
    completed = run_import(write(HELLO), "--timeout", "1", SESSIONARY_URL="http://127.0.0.1:1")
    assert completed.returncode == 5
    assert "could not be reached" in completed.stderr
    assert run_import("data.jsonl", SESSIONARY_TOKEN="x").returncode == 4


def test_two_simultaneous_imports_of_one_file_are_refused(run_import: Import, tenant: Tenant, tmp_path: Path) -> None:
    file = sample_sessions.write(tmp_path / "data.jsonl", map(sample_sessions.session, range(2_000)))
    process = tenant.start("import", str(file), directory=tmp_path)
    _wait_for_more_than(tenant, 5)
    completed = run_import(str(file))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert completed.returncode == 1
    assert "The journal" in completed.stderr
    assert "database is locked" in completed.stderr


def test_an_invalid_journal_file_is_an_error(run_import: Import) -> None:
    Path("data.jsonl.journal").write_text("This is no journal, and must not become one." * 10)
    completed = run_import(write(HELLO))
    assert completed.returncode == 1
    assert "file is not a database" in completed.stderr
    assert run_import("data.jsonl", "--journal", "other", "--rejects", "elsewhere").returncode == 0
    assert Path("other").exists()
