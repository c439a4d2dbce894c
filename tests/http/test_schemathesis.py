"""The server against its own OpenAPI document: schemathesis makes up requests and checks every answer.

All checks are on. What is left out of them, and why, stands in `schemathesis_hooks.py`.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionary.http.routes import ROUTES
from tests.harness.server import ServerProcess
from tests.http.serving import STORES, serve_store

EXAMPLES_MIN = 100

# Sessions are made in any organisation, most of them in one, so that ids meet the organisation they belong to. What
# the operator makes, a stranger must not see.
CONFIGURATION = """
hooks = {hooks}
continue-on-failure = true
auth.wfc = {{ path = {users}, user = "operator", peers = ["operator", "stranger"] }}
parameters.organisation = {{ dictionary = "organisations", probability = 0.9 }}
dictionaries.organisations.values = ["demo"]
generation = {{ mode = "all", max-examples = {examples}, deterministic = true }}
phases.examples.enabled = false
reports.json.path = {report}
output.sanitization.enabled = false
warnings.fail-on = ["missing_auth", "missing_deserializer", "unresolvable_reference", "unsupported_regex"]
"""


@pytest.fixture(scope="module", params=STORES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own: its log is counted."""
    yield from serve_store(request, tmp_path_factory)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_answer_to_made_up_requests_is_as_the_document_says(server: ServerProcess, tmp_path: Path) -> None:
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
        assert statuses.total() >= EXAMPLES_MIN, f"{route.name} was asked {statuses.total()} times: {statuses}"
        assert statuses[route.status] >= EXAMPLES_MIN / 5, f"{route.name} seldom met a session: {statuses}"


def _run_schemathesis(server: ServerProcess, directory: Path) -> subprocess.CompletedProcess[str]:
    (directory / "users.json").write_text(
        json.dumps(
            {
                "auth": [
                    _user("operator", server.create_token(all_organisations=True)),
                    _user("stranger", server.create_token("elsewhere")),
                ]
            }
        )
    )
    configuration = CONFIGURATION.format(
        hooks=json.dumps(str(Path(__file__).with_name("schemathesis_hooks.py"))),
        users=json.dumps(str(directory / "users.json")),
        report=json.dumps(str(directory / "report.json")),
        examples=EXAMPLES_MIN,
    )
    (directory / "schemathesis.toml").write_text(configuration)
    return subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), "run", "--no-color", f"{server.base_url}/openapi.json"],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _user(name: str, token: str) -> dict[str, object]:
    return {"name": name, "fixedHeaders": [{"name": "Authorization", "value": f"Bearer {token}"}]}


def _answers(server: ServerProcess) -> dict[str, Counter[int]]:
    """Count the statuses that each operation answered, by the server's log."""
    answers: dict[str, Counter[int]] = {route.name: Counter() for route in ROUTES}
    for line in server.log_lines():
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("route") in answers:
            answers[entry["route"]][entry["status"]] += 1
    return answers
