"""Rate limits and quotas over HTTP."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sessionary
from tests.harness.server import ServerProcess, run_sessionary
from tests.http.callers import Caller, Response, message

FOREVER = 0.01
"""A rate so low that no request becomes available during a test."""


@contextlib.contextmanager
def running_server(tmp_path: Path, limits: str = "", **settings: float) -> Iterator[ServerProcess]:
    """Run a server with these settings and this limits file."""
    arguments = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    if limits:
        (tmp_path / "limits.toml").write_text(limits)
        arguments += ["--limits-file", str(tmp_path / "limits.toml")]
    database = f"sqlite:///{tmp_path}/sessionary.db"
    with ServerProcess(database, "--no-first-token", *arguments, directory=tmp_path) as server:
        yield server


def api_of(server: ServerProcess, organisation: str = "acme") -> Caller:
    return Caller(server.port, server.create_token(organisation), organisation)


def statuses(responses: list[Response]) -> Counter[int]:
    return Counter(response.status for response in responses)


def test_without_limits_nothing_is_limited_and_no_header_is_sent(tmp_path: Path) -> None:
    with running_server(tmp_path) as server, api_of(server) as api:
        responses = [api.list() for _ in range(300)]

    assert statuses(responses) == {200: 300}
    assert not any(name.startswith("ratelimit") for response in responses for name in response.headers)


def test_a_token_over_its_rate_limit_gets_429_with_retry_after(tmp_path: Path) -> None:
    with running_server(tmp_path, token_rate=FOREVER, token_burst=5) as server, api_of(server) as api:
        responses = [api.list() for _ in range(8)]

    assert [response.status for response in responses] == [200] * 5 + [429] * 3
    assert responses[0].headers["ratelimit"] == '"token";r=4;t=100'
    assert responses[0].headers["ratelimit-policy"] == '"token";q=5;w=500'
    refused = responses[-1]
    assert refused.error == (429, "RATE_LIMITED")
    assert 90 <= int(refused.headers["retry-after"]) <= 100
    assert refused.headers["ratelimit"].startswith('"token";r=0;t=')


def test_the_rate_limit_of_an_organisation_is_exact_over_all_its_tokens(tmp_path: Path) -> None:
    with running_server(tmp_path, organisation_rate=FOREVER, organisation_burst=50) as server:
        apis = [api_of(server) for _ in range(4)]

        def call(api: Caller) -> list[Response]:
            with api:
                return [api.list() for _ in range(30)]

        with ThreadPoolExecutor(4) as pool:
            responses = [response for part in pool.map(call, apis) for response in part]
        with api_of(server, "other") as other:
            assert other.list().status == 200

    assert statuses(responses) == {200: 50, 429: 70}


def test_a_refused_request_has_no_effect_and_succeeds_after_retry_after(tmp_path: Path) -> None:
    with running_server(tmp_path, token_rate=1, token_burst=2) as server, api_of(server) as api:
        session_id = api.new_session()
        assert api.update(session_id, tokensUsed=1).status == 200
        refused = api.update(session_id, tokensUsed=1)
        assert refused.status == 429

        time.sleep(int(refused.headers["retry-after"]))

        assert api.read(session_id)["total_tokens"] == 1


def test_health_checks_are_not_rate_limited(tmp_path: Path) -> None:
    with running_server(tmp_path, organisation_rate=FOREVER) as server, api_of(server) as api:
        assert [api.list().status for _ in range(2)] == [200, 429]
        assert {api.send("GET", "/health/ready").status for _ in range(20)} == {200}


def test_unauthorized_requests_do_not_count_towards_rate_limits(tmp_path: Path) -> None:
    with running_server(tmp_path, organisation_rate=FOREVER, organisation_burst=2) as server:
        with Caller(server.port, server.create_token("other"), "acme") as unauthorized:
            assert {unauthorized.list().status for _ in range(20)} == {403}
        with api_of(server) as api:
            assert [api.with_token("nonsense").list().status for _ in range(20)] == [401] * 20
            assert [api.list().status for _ in range(3)] == [200, 200, 429]


def test_the_limits_file_sets_limits_of_single_organisations_and_tokens(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        created = server.create_token_object("acme")
    limits = (
        f"[organisations.acme]\nrequests_per_second = 0\n[tokens.{created['id']}]\nrequests_per_second = {FOREVER}\n"
    )
    with running_server(tmp_path, limits, organisation_rate=FOREVER, organisation_burst=3) as server:
        with Caller(server.port, created["token"], "acme") as slow, api_of(server) as fast:
            assert statuses([slow.list() for _ in range(5)]) == {200: 1, 429: 4}
            assert statuses([fast.list() for _ in range(20)]) == {200: 20}
        with api_of(server, "other") as other:
            assert statuses([other.list() for _ in range(5)]) == {200: 3, 429: 2}


def test_a_quota_of_sessions_is_exact_under_concurrent_creates(tmp_path: Path) -> None:
    with running_server(tmp_path, organisation_sessions=20) as server:
        apis = [api_of(server) for _ in range(4)]

        def call(api: Caller) -> list[Response]:
            with api:
                return [api.create() for _ in range(15)]

        with ThreadPoolExecutor(4) as pool:
            responses = [response for part in pool.map(call, apis) for response in part]
        with api_of(server) as api:
            listed = api.list("?limit=100").json
            assert statuses(responses) == {201: 20, 429: 40}
            assert len(listed) == 20
            assert api.delete(listed[0]["id"]).status == 200
            assert [api.create().status for _ in range(2)] == [201, 429]

    refused = next(response for response in responses if response.status == 429)
    assert refused.error == (429, "QUOTA_EXCEEDED")
    assert "retry-after" not in refused.headers
    assert "at most 20 live sessions" in refused.problem["detail"]


def test_a_full_quota_of_bytes_refuses_appends_only(tmp_path: Path) -> None:
    with running_server(tmp_path, "[organisations.acme]\nstored_bytes = 3_000\n") as server, api_of(server) as api:
        session_id = api.new_session(initialMessages=[message("a" * 2_000)])

        assert api.update(session_id, newMessages=[message("a" * 2_000)]).error == (429, "QUOTA_EXCEEDED")
        assert api.update(session_id, newMessages=[message("a" * 500)]).status == 200
        assert api.update(session_id, metadata={"a": 1}, tokensUsed=3).status == 200
        assert api.extend(session_id).status == 200
        assert len(api.read(session_id)["messages"]) == 2
        assert api.delete(session_id).status == 200


def test_a_quota_holds_after_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path, organisation_sessions=2) as server, api_of(server) as api:
        assert [api.create().status for _ in range(3)] == [201, 201, 429]
        server.restart()
        with Caller(server.port, api.token, "acme") as anew:
            assert anew.create().status == 429


def test_our_client_retries_after_a_rate_limit_and_not_after_a_quota(tmp_path: Path) -> None:
    attempts: list[tuple[int, str | None]] = []
    with (
        running_server(tmp_path, organisation_sessions=1, token_rate=2, token_burst=1) as server,
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


def test_our_client_raises_a_rate_limit_error_if_the_wait_is_too_long(tmp_path: Path) -> None:
    with (
        running_server(tmp_path, token_rate=FOREVER) as server,
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
    ("limits", "expected"),
    [
        (
            "[organisations.acme]\nrequests = 5\n",
            "organisations.acme is not valid: there is no 'requests'.",
        ),
        ("[token.x]\n", "there is no table 'token'. Did you mean tokens?"),
        ("burst = \n", "cannot be read"),
    ],
)
def test_a_server_with_an_invalid_limits_file_does_not_start(tmp_path: Path, limits: str, expected: str) -> None:
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
    assert expected in done.stderr
    assert not (tmp_path / "s.db").exists()
