"""The public face as a type checker sees it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.layout.paths import PACKAGE

USE = """
from typing import assert_type
from sessionary import *
from sessionary import Answered, AsyncClient, Client

client = Client("http://127.0.0.1:8080", token="t", organisation="acme", timeout=3, headers={}, retries=1)
assert_type(client.create_session(user_id="u", session_group="g").session_id, str)
assert_type(client.get_session("s", timeout=None, token="t", organisation="o", headers={}), Session)
assert_type(client.list_sessions(limit=3), list[ListedSession])
assert_type(client.delete_session.with_response("s"), Answered[DeletedSession])
answer, response = client.extend_session.with_response("s", 5)
assert_type(answer, ExtendedSession)
assert_type(response, Response)
for item in client.iterate_sessions(user_id="u", timeout=3):
    assert_type(item, ListedSession)
with client.session(user_id="u", title="t") as chat:
    assert_type(chat.say("user", "Hello"), UpdatedSession)

async def main() -> None:
    async with AsyncClient() as waiting:
        assert_type(await waiting.update_session("s", new_messages=[{"role": "user"}]), UpdatedSession)
        assert_type(await waiting.get_session.with_response("s"), Answered[Session])
        async for item in waiting.iterate_sessions():
            assert_type(item, ListedSession)
"""
MISUSE = [
    "client.get_session(3)",
    "client.get_session()",
    "client.get_session('s', timout=3)",
    "client.get_session('s', timeout='3')",
    "client.create_session('u', 'g')",
    "client.update_session('s', status='done')",
    "client.session(user='u')",
    "Client(tokn='t')",
]


def _run(*command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    # pyright takes the interpreter that is first on the path, and the package from where it is developed.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(PACKAGE.parent), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(300)
def test_the_types_of_the_public_face_are_complete(tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    run = _run(
        sys.executable,
        "-m",
        "pyright",
        "--verifytypes",
        "sessionary",
        "--ignoreexternal",
        "--outputjson",
        directory=tmp_path,
    )
    report = json.loads(run.stdout)["typeCompleteness"]
    unknown = [symbol["name"] for symbol in report["symbols"] if symbol["isExported"] and not symbol["isTypeKnown"]]
    assert unknown == []
    assert report["completenessScore"] == 1
    assert report["exportedSymbolCounts"]["withKnownType"] > 200


@pytest.mark.timeout(300)
def test_right_use_is_accepted_and_wrong_use_is_not(tmp_path: Path) -> None:
    used = tmp_path / "use.py"
    misused = [f"{line}  # error {number}" for number, line in enumerate(MISUSE)]
    used.write_text("\n".join([USE, *misused]))
    checked = _run(
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--cache-dir",
        str(tmp_path / "cache"),
        "use.py",
        directory=tmp_path,
    )
    lines = used.read_text().splitlines()
    complained = {int(line.split(":")[1]) for line in checked.stdout.splitlines() if ": error:" in line}
    assert [lines[number - 1] for number in sorted(complained)] == misused, checked.stdout + checked.stderr
