"""The six operations as commands: their output for people and programs, and their exit codes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.live_server import Tenant, answering, running_server

Sessionary = Callable[..., CompletedProcess[str]]
UNKNOWN = "0199c1f2-7b5e-7c3a-9d41-2f6e8a0b5c11"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    with running_server(tmp_path_factory.mktemp("commands")) as tenant:
        yield tenant


@pytest.fixture
def tenant(server: Tenant, request: pytest.FixtureRequest) -> Tenant:
    return server.of(request.node.name[:128])


@pytest.fixture
def sessionary(run: Run, tenant: Tenant) -> Sessionary:
    """Run a command against the server."""

    def call(*words: str, **variables: str) -> CompletedProcess[str]:
        return run(*words, environment=tenant.environment | variables)

    return call


def created(sessionary: Sessionary, *words: str) -> str:
    """Create a session, and return its id."""
    return str(printed_json(sessionary("create-session", "--user-id", "ada", "--json", *words))["sessionId"])


def printed_json(completed: CompletedProcess[str]) -> dict[str, Any]:
    """Read the one object that a command printed."""
    assert (completed.returncode, completed.stderr) == (0, "")
    (line,) = completed.stdout.splitlines()
    answer = json.loads(line)
    assert isinstance(answer, dict)
    return answer


def test_create_session_accepts_every_argument_of_the_operation(sessionary: Sessionary, tmp_path: Path) -> None:
    file = tmp_path / "messages.json"
    file.write_text('[{"role": "system", "content": "Be brief.", "name": "house"}]')
    words = ["--session-group", "web", "--metadata", '{"a": [1]}', "--expiration-minutes", "5", "--model", "m"]
    session_id = created(
        sessionary,
        *words,
        "--title",
        "T",
        "--messages",
        str(file),
        "--message",
        "user:Hello: you",
        "--message",
        "tool:",
    )

    session = printed_json(sessionary("get-session", session_id, "--json"))

    assert (session["user_id"], session["session_group"], session["metadata"]) == ("ada", "web", {"a": [1]})
    assert (session["model"], session["title"]) == ("m", "T")
    assert [(message["role"], message["content"]) for message in session["messages"]] == [
        ("system", "Be brief."),
        ("user", "Hello: you"),
        ("tool", ""),
    ]
    assert session["messages"][0]["name"] == "house"


def test_create_session_reads_messages_from_standard_input(tenant: Tenant, sessionary: Sessionary) -> None:
    messages = json.dumps([{"role": "user", "content": "piped"}]).encode()
    completed = tenant.run("create-session", "--user-id", "ada", "--messages", "-", "--json", stdin=messages)
    session = printed_json(sessionary("get-session", json.loads(completed.stdout)["sessionId"], "--json"))
    assert session["messages"][0]["content"] == "piped"


def test_create_session_prints_the_id_for_people(sessionary: Sessionary) -> None:
    completed = sessionary("create-session", "--user-id", "ada")
    assert completed.returncode == 0
    assert [line.split()[0] for line in completed.stdout.splitlines()] == ["id", "status", "expires"]


def test_list_sessions_prints_a_table_and_one_object_a_line(sessionary: Sessionary) -> None:
    ids = [created(sessionary, "--message", f"user:Question {number}") for number in range(3)]

    table = sessionary("list-sessions").stdout.splitlines()
    objects = [json.loads(line) for line in sessionary("list-sessions", "--json").stdout.splitlines()]

    headings = ["TITLE", "USER", "GROUP", "MODEL", "STATUS", "MESSAGES", "TOKENS", "CREATED (UTC)", "ID"]
    assert [heading.strip() for heading in table[0].split("  ") if heading] == headings
    assert [line.split()[-1] for line in table[1:]] == ids[::-1]
    assert table[1].startswith("Question 2 ")
    assert [each["id"] for each in objects] == ids[::-1]
    assert "messages" not in objects[0]


def test_list_sessions_says_how_to_get_the_next_page(sessionary: Sessionary) -> None:
    for number in range(3):
        created(sessionary, "--message", f"user:Question {number}")

    for words in (["--limit", "2"], ["--limit", "2", "--json"]):
        page = sessionary("list-sessions", *words)
        assert page.returncode == 0
        assert page.stderr == "There are more: give --offset 2 for the next ones, or --all.\n"
    assert "--offset 2" in sessionary("list-sessions", "--limit", "1", "--offset", "1").stderr
    for words in (["--limit", "3"], ["--all"], ["--limit", "2", "--offset", "1"]):
        assert sessionary("list-sessions", *words).stderr == ""


def test_list_sessions_filters_pages_and_lists_all(sessionary: Sessionary) -> None:
    ids = [created(sessionary, "--model", "m") for _ in range(3)] + [created(sessionary, "--session-group", "g")]
    ids.reverse()

    def listed(*words: str) -> list[str]:
        return [json.loads(line)["id"] for line in sessionary("list-sessions", "--json", *words).stdout.splitlines()]

    assert listed("--session-group", "g") == ids[:1]
    assert listed("--model", "m", "--user-id", "ada", "--status", "active") == ids[1:]
    assert listed("--limit", "2") == ids[:2]
    assert listed("--limit", "2", "--offset", "1") == ids[1:3]
    assert listed("--limit", "1", "--all") == ids
    assert len(sessionary("list-sessions", "--all").stdout.splitlines()) == 5


def test_list_sessions_without_a_match_says_so_on_standard_error(sessionary: Sessionary) -> None:
    completed = sessionary("list-sessions")
    assert (completed.returncode, completed.stdout) == (0, "")
    assert completed.stderr == "There are no such sessions.\n"
    assert sessionary("list-sessions", "--json").stderr == ""


def test_get_session_prints_a_transcript(sessionary: Sessionary, tmp_path: Path) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}
    parts = [{"type": "text", "text": "a picture:"}, {"type": "image_url", "image_url": {"url": "x"}}]
    file = tmp_path / "messages.json"
    file.write_text(
        json.dumps(
            [
                {"role": "user", "content": "Hello\nworld", "name": "Ada"},
                {"role": "assistant", "content": None, "tool_calls": [call, 5]},
                {"role": "user", "content": parts},
            ]
        )
    )
    session_id = created(sessionary, "--messages", str(file), "--metadata", '{"k": "v"}')

    lines = sessionary("get-session", session_id).stdout.splitlines()

    assert lines[0] == "Hello"
    assert lines[1].split() == ["id", session_id]
    assert 'metadata  {"k":"v"}' in lines
    said = [line for line in lines[lines.index("") :] if line.startswith("  ") or not line[:1].isspace()]
    assert [line.rpartition("  20")[0] or line for line in said] == [
        "",
        "user (Ada)",
        "  Hello",
        "  world",
        "",
        "assistant",
        '  [tool call: find({"a": 1})]',
        "  [tool call]",
        "",
        "user",
        "  a picture:",
        "  [image_url]",
    ]


def test_get_session_reads_a_window(sessionary: Sessionary) -> None:
    session_id = created(sessionary, *(word for n in range(5) for word in ("--message", f"user:{n}")))
    window = printed_json(
        sessionary("get-session", session_id, "--json", "--messages-offset", "1", "--messages-limit", "2")
    )
    assert [message["content"] for message in window["messages"]] == ["1", "2"]
    assert window["messages_offset"] == 1


def test_get_session_escapes_control_characters(sessionary: Sessionary) -> None:
    session_id = created(sessionary, "--message", "user:\x1b]0;owned\x07\x1b[2J\ttab\u3000wide\u202e\x9b2J")
    transcript = sessionary("get-session", session_id).stdout
    assert "\\x1b]0;owned\\x07\\x1b[2J\ttab\u3000wide\\u202e\\x9b2J" in transcript
    assert "\x1b" not in transcript


def test_update_session_appends_counts_merges_and_completes(sessionary: Sessionary) -> None:
    session_id = created(sessionary, "--message", "user:Hello", "--metadata", '{"a": 1, "b": 2}')
    words = ["--message", "assistant:Hi", "--tokens-used", "7", "--status", "completed", "--metadata", '{"a": null}']
    updated = printed_json(sessionary("update-session", session_id, "--json", *words, "--title", "New", "--model", "m"))
    assert (updated["totalMessages"], updated["totalTokens"], updated["status"]) == (2, 7, "completed")

    session = printed_json(sessionary("get-session", session_id, "--json"))

    assert (session["metadata"], session["title"], session["model"]) == ({"b": 2}, "New", "m")
    assert "completed" in sessionary("update-session", session_id).stdout


def test_extend_session_prints_the_new_expiry(sessionary: Sessionary) -> None:
    session_id = created(sessionary)
    assert (
        printed_json(sessionary("extend-session", session_id, "--json"))["message"] == "Session extended by 60 minutes"
    )
    assert "by 5 minutes" in sessionary("extend-session", session_id, "--additional-minutes", "5").stdout


def test_delete_session_removes_it(sessionary: Sessionary) -> None:
    one, two = created(sessionary), created(sessionary)
    assert sessionary("delete-session", one).stdout == "Session deleted successfully\n"
    assert printed_json(sessionary("delete-session", two, "--json")) == {"message": "Session deleted successfully"}
    assert sessionary("get-session", one).returncode == 3


ENDINGS: dict[str, tuple[list[str], dict[str, str], int, str]] = {
    "an unknown session": (["get-session", UNKNOWN], {}, 3, "There is no such session"),
    "a session deleted twice": (["delete-session", UNKNOWN], {}, 3, "There is no such session"),
    "no token": (["get-session", UNKNOWN], {"SESSIONARY_TOKEN": ""}, 4, "A valid bearer token is required."),
    "a wrong token": (["list-sessions"], {"SESSIONARY_TOKEN": "x"}, 4, "A valid bearer token is required."),
    "nobody listens": (["list-sessions"], {"SESSIONARY_URL": "http://127.0.0.1:1"}, 5, "could not be reached"),
    "no time": (["list-sessions", "--timeout", "0.000001"], {}, 5, "did not end within"),
    "a refused value": (["create-session", "--user-id", "\n"], {}, 7, "/userId"),
    "a value too large": (
        ["create-session", "--user-id", "a", "--metadata", '{"a": "%s"}' % ("x" * 65_536)],
        {},
        7,
        "",
    ),
    "no server": (["list-sessions"], {"SESSIONARY_URL": ""}, 2, "Missing option '--url'"),
    "a server that is none": (["list-sessions"], {"SESSIONARY_URL": "ftp://x"}, 2, "http://"),
    "no organisation": (["list-sessions"], {"SESSIONARY_ORGANISATION": ""}, 2, "--organisation"),
    "an organisation that is no text": (["list-sessions", "--organisation", "\udcff"], {}, 2, "UTF-8 text"),
    "an empty organisation": (["list-sessions", "--organisation", ""], {}, 2, "is empty"),
    "an empty id": (["get-session", ""], {}, 2, "session id is empty"),
    "no user": (["create-session"], {}, 2, "Missing option '--user-id'"),
    "a message without a role": (["create-session", "--user-id", "a", "--message", "Hello"], {}, 2, "must be one of"),
    "metadata that is no object": (["create-session", "--user-id", "a", "--metadata", "[]"], {}, 2, "JSON object"),
    "minutes out of range": (["extend-session", UNKNOWN, "--additional-minutes", "0"], {}, 2, "range"),
    "both all and an offset": (["list-sessions", "--all", "--offset", "1"], {}, 2, "either --all or --offset"),
}


@pytest.mark.parametrize(("words", "variables", "code", "said"), ENDINGS.values(), ids=ENDINGS)
def test_an_error_is_explained_and_sets_the_exit_code(
    run: Run, server: Tenant, *, words: list[str], variables: dict[str, str], code: int, said: str
) -> None:
    environment = {name: value for name, value in (server.environment | variables).items() if value}
    completed = run(*words, environment=environment)
    assert completed.returncode == code, completed.stderr
    assert said in completed.stderr
    assert completed.stdout == ""
    assert "Traceback" not in completed.stderr
    if code != 2:
        assert completed.stderr.startswith("sessionary: ")
        assert len(completed.stderr.splitlines()) == 1


def test_a_file_that_holds_no_messages_is_a_usage_error(sessionary: Sessionary, tmp_path: Path) -> None:
    file = tmp_path / "messages.json"
    for text in ("{}", "[5]", "nonsense"):
        file.write_text(text)
        completed = sessionary("create-session", "--user-id", "a", "--messages", str(file))
        assert completed.returncode == 2
        assert "give a JSON array of messages" in completed.stderr
    completed = sessionary("create-session", "--user-id", "a", "--messages", "nowhere.json")
    assert (completed.returncode, "nowhere.json: No such file" in completed.stderr) == (2, True)


def test_a_token_for_another_organisation_ends_with_the_code_for_not_allowed(tenant: Tenant, run: Run) -> None:
    token = tenant.server.create_token("somewhere else")
    completed = run("list-sessions", environment=tenant.environment | {"SESSIONARY_TOKEN": token})
    assert completed.returncode == 4


def test_an_unavailable_server_sets_its_exit_code(run: Run) -> None:
    answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 100\r\nX-Request-Id: abc\r\n\r\n"
    with answering(answer) as url:
        environment = {"SESSIONARY_URL": url, "SESSIONARY_ORGANISATION": "x"}
        completed = run("list-sessions", environment=environment)
    assert completed.returncode == 6
    assert "(UNAVAILABLE, request id abc)" in completed.stderr


def test_flags_win_over_the_environment(run: Run, tenant: Tenant) -> None:
    wrong = {"SESSIONARY_URL": "http://127.0.0.1:1", "SESSIONARY_ORGANISATION": "x", "SESSIONARY_TOKEN": "y"}
    flags = ["--url", tenant.server.base_url, "--organisation", tenant.organisation, "--token", tenant.token]
    assert run("list-sessions", *flags, environment=wrong).returncode == 0


@pytest.mark.parametrize(
    "command",
    [
        *("create-session", "list-sessions", "get-session", "update-session", "extend-session", "delete-session"),
        *("export", "import", "chat"),
    ],
)
def test_help_shows_an_example(run: Run, command: str) -> None:
    completed = run(command, "--help")
    assert completed.returncode == 0
    assert f"Example:\n    sessionary {command} " in completed.stdout
    assert "SESSIONARY_TOKEN" in completed.stdout


def test_an_organisation_is_trimmed(sessionary: Sessionary, tenant: Tenant) -> None:
    assert sessionary("list-sessions", SESSIONARY_ORGANISATION=f" {tenant.organisation}\n").returncode == 0
    session_id = created(sessionary)
    listed = sessionary("list-sessions", "--json", SESSIONARY_ORGANISATION=f"{tenant.organisation}\r\n")
    assert printed_json(listed)["id"] == session_id


WRONG_CALLS = [
    ({"SESSIONARY_ORGANISATION": "a\nb"}, [], "The organisation is not valid: it must be one line"),
    ({"SESSIONARY_ORGANISATION": "a\x1b[2Jb"}, [], "The organisation is not valid: it must be one line"),
    ({"SESSIONARY_ORGANISATION": " \n"}, [], "The organisation is empty."),
    ({}, ["--organisation", "x" * 129], "The organisation is not valid: it must have at most 128 characters."),
    ({}, ["--timeout", "nan"], "It must be a number of seconds above 0, in plain digits."),
    ({}, ["--timeout", "inf"], "It must be a number of seconds above 0, in plain digits."),
    ({}, ["--timeout", "٣"], "It must be a number of seconds above 0, in plain digits."),
    ({}, ["--limit", "٣"], "It must be a whole number in plain digits."),
    ({}, ["--limit", "1_0"], "It must be a whole number in plain digits."),
    ({}, ["--offset", "٩"], "It must be a whole number in plain digits."),
]


@pytest.mark.parametrize(("variables", "words", "said"), WRONG_CALLS)
def test_arguments_that_no_server_accepts_are_usage_errors(
    sessionary: Sessionary, variables: dict[str, str], words: list[str], said: str
) -> None:
    completed = sessionary("list-sessions", *words, **variables)
    assert (completed.returncode, completed.stdout) == (2, "")
    assert said in " ".join(completed.stderr.split())
    assert "\x1b" not in completed.stderr


def test_client_commands_warn_about_a_misspelt_variable(sessionary: Sessionary) -> None:
    more = {"SESSIONARY_TOKN": "geheim", "SESSIONARY_PORT": "tcp://10.0.0.1:80"}
    completed = sessionary("list-sessions", **more)
    assert completed.returncode == 0
    (warning, _) = completed.stderr.splitlines()
    assert warning.startswith("sessionary: The variable SESSIONARY_TOKN is ignored")
    assert "Did you mean SESSIONARY_TOKEN?" in warning


@pytest.mark.parametrize("metadata", ["[1]", "1", "null", '"x"', "{", "[" * 5_000, ""])
def test_metadata_that_is_not_an_object_is_a_usage_error(sessionary: Sessionary, metadata: str) -> None:
    completed = sessionary("update-session", "x", "--metadata", metadata)
    assert completed.returncode == 2
    assert "give a JSON object." in " ".join(completed.stderr.split())
    assert "`" not in completed.stderr
    assert "Expected" not in completed.stderr
