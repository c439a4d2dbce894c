"""What an operator sets is kept on the wire, and what is not set costs nobody anything."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sessionary
from tests.harness.server import ServerProcess, run_sessionary
from tests.http.calling import Answer, Caller, message

FOREVER = 0.01
"""So few requests a second that none comes back while a test runs."""


@contextlib.contextmanager
def serving(tmp_path: Path, limits: str = "", **settings: float) -> Iterator[ServerProcess]:
    """Run a server with these limits for all, and those of the file for some."""
    arguments = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    if limits:
        (tmp_path / "limits.toml").write_text(limits)
        arguments += ["--limits-file", str(tmp_path / "limits.toml")]
    database = f"sqlite:///{tmp_path}/sessionary.db"
    with ServerProcess(database, "--no-first-token", *arguments, directory=tmp_path) as server:
        yield server


def caller_of(server: ServerProcess, organisation: str = "acme") -> Caller:
    return Caller(server.port, server.create_token(organisation), organisation)


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


def test_without_limits_nothing_is_counted_or_said(tmp_path: Path) -> None:
    with serving(tmp_path) as server, caller_of(server) as caller:
        answers = [caller.list() for _ in range(300)]

    assert statuses(answers) == {200: 300}
    assert not any(name.startswith("ratelimit") for answer in answers for name in answer.headers)


def test_a_token_over_its_rate_is_refused_and_told_when_to_come_back(tmp_path: Path) -> None:
    with serving(tmp_path, token_rate=FOREVER, token_burst=5) as server, caller_of(server) as caller:
        answers = [caller.list() for _ in range(8)]

    assert [answer.status for answer in answers] == [200] * 5 + [429] * 3
    assert answers[0].headers["ratelimit"] == '"token";r=4;t=100'
    assert answers[0].headers["ratelimit-policy"] == '"token";q=5;w=500'
    refused = answers[-1]
    assert refused.refusal == (429, "RATE_LIMITED")
    assert 90 <= int(refused.headers["retry-after"]) <= 100
    assert refused.headers["ratelimit"].startswith('"token";r=0;t=')


def test_an_organisation_is_counted_over_all_its_tokens_exactly(tmp_path: Path) -> None:
    with serving(tmp_path, organisation_rate=FOREVER, organisation_burst=50) as server:
        callers = [caller_of(server) for _ in range(4)]

        def call(caller: Caller) -> list[Answer]:
            with caller:
                return [caller.list() for _ in range(30)]

        with ThreadPoolExecutor(4) as pool:
            answers = [answer for told in pool.map(call, callers) for answer in told]
        with caller_of(server, "other") as other:
            assert other.list().status == 200

    assert statuses(answers) == {200: 50, 429: 70}


def test_a_refused_request_has_no_effect_and_waiting_as_told_helps(tmp_path: Path) -> None:
    with serving(tmp_path, token_rate=1, token_burst=2) as server, caller_of(server) as caller:
        session_id = caller.begin()
        assert caller.update(session_id, tokensUsed=1).status == 200
        refused = caller.update(session_id, tokensUsed=1)
        assert refused.status == 429

        time.sleep(int(refused.headers["retry-after"]))

        assert caller.read(session_id)["total_tokens"] == 1


def test_the_health_checks_are_never_counted(tmp_path: Path) -> None:
    with serving(tmp_path, organisation_rate=FOREVER) as server, caller_of(server) as caller:
        assert [caller.list().status for _ in range(2)] == [200, 429]
        assert {caller.send("GET", "/health/ready").status for _ in range(20)} == {200}


def test_who_is_not_let_in_uses_up_nobodys_rate(tmp_path: Path) -> None:
    with serving(tmp_path, organisation_rate=FOREVER, organisation_burst=2) as server:
        with Caller(server.port, server.create_token("stranger"), "acme") as stranger:
            assert {stranger.list().status for _ in range(20)} == {403}
        with caller_of(server) as caller:
            assert [caller.bearing("nonsense").list().status for _ in range(20)] == [401] * 20
            assert [caller.list().status for _ in range(3)] == [200, 200, 429]


def test_the_file_gives_some_more_and_others_less(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        told = server.create_token_object("acme")
    limits = f"[organisations.acme]\nrequests_per_second = 0\n[tokens.{told['id']}]\nrequests_per_second = {FOREVER}\n"
    with serving(tmp_path, limits, organisation_rate=FOREVER, organisation_burst=3) as server:
        with Caller(server.port, told["token"], "acme") as slow, caller_of(server) as fast:
            assert statuses([slow.list() for _ in range(5)]) == {200: 1, 429: 4}
            assert statuses([fast.list() for _ in range(20)]) == {200: 20}
        with caller_of(server, "other") as other:
            assert statuses([other.list() for _ in range(5)]) == {200: 3, 429: 2}


def test_a_quota_of_sessions_is_exact_under_concurrent_creates(tmp_path: Path) -> None:
    with serving(tmp_path, organisation_sessions=20) as server:
        callers = [caller_of(server) for _ in range(4)]

        def call(caller: Caller) -> list[Answer]:
            with caller:
                return [caller.create() for _ in range(15)]

        with ThreadPoolExecutor(4) as pool:
            answers = [answer for told in pool.map(call, callers) for answer in told]
        with caller_of(server) as caller:
            listed = caller.list("?limit=100").json
            assert statuses(answers) == {201: 20, 429: 40}
            assert len(listed) == 20
            assert caller.delete(listed[0]["id"]).status == 200
            assert [caller.create().status for _ in range(2)] == [201, 429]

    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.refusal == (429, "QUOTA_EXCEEDED")
    assert "retry-after" not in refused.headers
    assert "at most 20 live sessions" in refused.problem["detail"]


def test_a_quota_of_bytes_stops_what_appends_and_nothing_else(tmp_path: Path) -> None:
    with serving(tmp_path, "[organisations.acme]\nstored_bytes = 3_000\n") as server, caller_of(server) as caller:
        session_id = caller.begin(initialMessages=[message("a" * 2_000)])

        assert caller.update(session_id, newMessages=[message("a" * 2_000)]).refusal == (429, "QUOTA_EXCEEDED")
        assert caller.update(session_id, newMessages=[message("a" * 500)]).status == 200
        assert caller.update(session_id, metadata={"a": 1}, tokensUsed=3).status == 200
        assert caller.extend(session_id).status == 200
        assert len(caller.read(session_id)["messages"]) == 2
        assert caller.delete(session_id).status == 200


def test_a_quota_outlives_the_server(tmp_path: Path) -> None:
    with serving(tmp_path, organisation_sessions=2) as server, caller_of(server) as caller:
        assert [caller.create().status for _ in range(3)] == [201, 201, 429]
        server.restart()
        with Caller(server.port, caller.token, "acme") as anew:
            assert anew.create().status == 429


def test_our_client_waits_out_a_rate_and_gives_up_at_a_quota(tmp_path: Path) -> None:
    attempts: list[tuple[int, str | None]] = []
    with (
        serving(tmp_path, organisation_sessions=1, token_rate=2, token_burst=1) as server,
        sessionary.Client(
            server.base_url,
            organisation="acme",
            token=server.create_token("acme"),
            on_attempt=lambda attempt: attempts.append((attempt.status, attempt.code)),
        ) as client,
    ):
        client.create_session("ada")
        client.list_sessions()
        with pytest.raises(sessionary.QuotaExceededError) as refusal:
            client.create_session("ada")

    assert (429, "RATE_LIMITED") in attempts
    assert attempts.count((429, "QUOTA_EXCEEDED")) == 1
    assert attempts[-1] == (429, "QUOTA_EXCEEDED")
    assert refusal.value.retry_after is None


def test_our_client_tells_a_caller_that_does_not_want_to_wait(tmp_path: Path) -> None:
    with (
        serving(tmp_path, token_rate=FOREVER) as server,
        sessionary.Client(
            server.base_url, organisation="acme", token=server.create_token("acme"), max_retries=0
        ) as client,
    ):
        client.list_sessions()
        with pytest.raises(sessionary.RateLimitError) as refusal:
            client.list_sessions()

    assert refusal.value.code == "RATE_LIMITED"
    assert refusal.value.retry_after is not None
    assert 90 <= refusal.value.retry_after <= 100


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            "[organisations.acme]\nrequests = 5\n",
            "organisations.acme is not valid: there is no 'requests'.",
        ),
        ("[token.x]\n", "knows organisations and tokens, not 'token'"),
        ("burst = \n", "cannot be read"),
    ],
)
def test_a_server_with_a_mistaken_limits_file_says_so_and_does_not_start(
    tmp_path: Path, limits: str, said: str
) -> None:
    (tmp_path / "limits.toml").write_text(limits)

    done = run_sessionary(
        "serve",
        "--port",
        "0",
        "--database",
        f"sqlite:///{tmp_path}/s.db",
        "--limits-file",
        "limits.toml",
        directory=tmp_path,
    )

    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "s.db").exists()
