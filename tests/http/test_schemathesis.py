"""The server against its own OpenAPI document: schemathesis generates requests and checks every response.

All checks are on; the exceptions and their reasons are in `schemathesis_hooks.py`.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionary.server.http.routes import ROUTES
from tests.harness.server import ServerProcess
from tests.http.callers import Caller, message
from tests.http.store_servers import STORES, serve_store

EXAMPLES_MIN = 100

ORGANISATION = "demo"
SESSIONS = 100

# Any organisation and any id will do, but most are known ones, so that much of what is asked meets a session. What the
# operator makes, an unauthenticated caller must not see. Ids from earlier answers would leave nothing to delete after a few examples.
CONFIGURATION = """
hooks = {hooks}
continue-on-failure = true
auth.wfc = {{ path = {users}, user = "operator", peers = ["operator", "anonymous"] }}
parameters.organisation = {{ dictionary = "organisations", probability = 0.9 }}
parameters.sessionId = {{ dictionary = "sessions", probability = 0.6 }}
dictionaries.organisations.values = [{organisation}]
dictionaries.sessions.values = {sessions}
generation = {{ mode = "all", max-examples = {examples}, deterministic = true }}
phases.examples.enabled = false
reports.json.path = {report}
output.sanitization.enabled = false
warnings.fail-on = ["missing_auth", "missing_deserializer", "unresolvable_reference", "unsupported_regex"]

[[operations]]
include-operation-id = "deleteAISession"
phases.fuzzing.extra-data-sources.responses = false
"""


@pytest.fixture(scope="module", params=STORES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A separate server, because its log is counted."""
    yield from serve_store(request, tmp_path_factory)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_response_to_generated_requests_matches_the_document(server: ServerProcess, tmp_path: Path) -> None:
    run = _run_schemathesis(server, tmp_path)

    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["complete"]
    assert not report["failures"]
    assert not report["errors"]
    assert report["operations"]["tested"] == report["operations"]["total"] >= len(ROUTES)
    assert {name for name, phase in report["phases"].items() if phase["status"] == "success"} == {
        "coverage",
        "fuzzing",
        "stateful",
    }
    answers = _answers(server)
    for route in ROUTES:
        statuses = answers[route.name]
        assert statuses.total() - statuses[401] >= EXAMPLES_MIN, f"{route.name}: {statuses}"
        assert statuses[route.status] >= EXAMPLES_MIN / 10, f"{route.name} seldom found a session: {statuses}"


def _run_schemathesis(server: ServerProcess, directory: Path) -> subprocess.CompletedProcess[str]:
    operator = server.create_token(all_organisations=True)
    users = {"auth": [_user("operator", operator), _user("anonymous", server.create_token("elsewhere"))]}
    (directory / "users.json").write_text(json.dumps(users))
    with Caller(server.port, operator, ORGANISATION) as caller:
        sessions = [caller.new_session(initialMessages=[message()]) for _ in range(SESSIONS)]
    configuration = CONFIGURATION.format(
        hooks=json.dumps(str(Path(__file__).with_name("schemathesis_hooks.py"))),
        users=json.dumps(str(directory / "users.json")),
        organisation=json.dumps(ORGANISATION),
        sessions=json.dumps(sessions),
        report=json.dumps(str(directory / "report.json")),
        examples=EXAMPLES_MIN,
    )
    (directory / "schemathesis.toml").write_text(configuration)
    return subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), "run", "--no-color", f"{server.base_url}/openapi.json"],
        cwd=directory,
        # None of our code runs in there: measuring its coverage would only slow it down.
        env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _user(name: str, token: str) -> dict[str, object]:
    return {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token}"}]}


def _answers(server: ServerProcess) -> dict[str, Counter[int]]:
    """Count the response statuses of each operation in the server's log."""
    answers: dict[str, Counter[int]] = {route.name: Counter() for route in ROUTES}
    for line in server.log_lines():
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("route") in answers:
            answers[entry["route"]][entry["status"]] += 1
    return answers
