"""The types of the public API."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import blocks
from tests.layout.paths import PACKAGE

USE = """
from typing import Any, assert_type
from sessionary import *
from datetime import datetime
from sessionary import APIResponse, AsyncClient, Client

client = Client("http://127.0.0.1:8080", token="t", organisation="acme", timeout=3, headers={}, max_retries=1)
assert_type(client.create_session(user_id="u", session_group="g").session_id, str)
assert_type(client.get_session("s", timeout=None, token="t", organisation="o", headers={}), Session)
assert_type(client.list_sessions(limit=3), Page[ListedSession])
assert_type(client.with_raw_response.delete_session("s"), APIResponse[DeletedSession])
raw = client.with_raw_response.extend_session("s", 5, if_match='"1"', idempotency_key="k")
assert_type(raw.parse(), ExtendedSession)
assert_type(raw.http_response, Response)
assert_type(raw.etag, str | None)
assert_type(client.with_raw_response.list_sessions(), APIResponse[Page[ListedSession]])
assert_type(client.list_sessions().next_page(), Page[ListedSession])
assert_type(client.get_session("s").created_at, datetime | None)
assert_type(client.get_session("s").to_dict(), dict[str, Any])
assert_type(client.with_options(timeout=3, max_retries=0, headers={}), Client)
for item in client.list_sessions():
    assert_type(item, ListedSession)
message: Message = {"role": "user", "content": "Hello", "name": "Ada"}
client.update_session("s", new_messages=[message])
for item in client.iterate_sessions(user_id="u", timeout=3):
    assert_type(item, ListedSession)
with client.session(user_id="u", title="t") as chat:
    assert_type(chat.say("user", "Hello"), UpdatedSession)

async def main() -> None:
    async with AsyncClient() as waiting:
        assert_type(await waiting.update_session("s", new_messages=[{"role": "user"}]), UpdatedSession)
        assert_type(await waiting.with_raw_response.get_session("s"), APIResponse[Session])
        page = await waiting.list_sessions()
        assert_type(page, AsyncPage[ListedSession])
        assert_type(await page.next_page(), AsyncPage[ListedSession])
        async for item in page:
            assert_type(item, ListedSession)
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
    "client.create_session('u', if_match='x')",
    "client.with_options(url='http://a.test')",
    "client.with_raw_response.get_session(3)",
    "Client(tokn='t')",
    "from sessionary import Cleint",
    "from sessionary import error_from_response",
]


def _run(*command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    # pyright takes the interpreter that is first on the path, and the package from where it is developed.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(PACKAGE.parent), "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.timeout(300)
def test_the_types_of_the_public_api_are_complete(tmp_path: Path) -> None:
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


@pytest.mark.timeout(300)
def test_the_examples_of_the_documentation_pass_a_type_checker(tmp_path: Path) -> None:
    for page in ("README.md", "docs/client.md"):
        for number, block in enumerate(blocks(page, "python")):
            (tmp_path / f"{Path(page).stem.lower()}_{number}.py").write_text(block.text)
    names = sorted(file.name for file in tmp_path.glob("*.py"))
    assert len(names) > 10
    cache = str(tmp_path / "cache")
    checked = _run(
        sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", cache, *names, directory=tmp_path
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
