"""Runs the shell blocks of the other pages, and validates their TOML and JSON blocks."""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sessionary import models
from sessionary.server.config import Settings, load_settings
from sessionary.server.limits_file import load_limits
from tests.docs.blocks import blocks, joined_script, run_shell
from tests.harness.server import ServerProcess
from tests.layout.paths import DOCS, ROOT

_TYPE_UNDER_HEADING: dict[str, Any] = {
    "create_session": models.CreatedSession,
    "list_sessions": list[models.ListedSession],
    "get_session": models.Session,
    "update_session": models.UpdatedSession,
    "extend_session": models.ExtendedSession,
    "delete_session": models.DeletedSession,
    "Errors": models.Problem,
    "Create a session": models.CreatedSession,
    "Logs": dict[str, Any],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(f"sqlite:///{tmp_path_factory.mktemp('docs')}/sessionary.db") as running:
        yield running


@pytest.fixture
def reader(server: ServerProcess) -> dict[str, str]:
    """The environment of a reader: the server's URL, a token, and `sessionary` on the path."""
    return {
        "URL": server.base_url,
        "ORGANISATION": "acme",
        "TOKEN": server.create_token("acme"),
        "SESSIONARY_DATABASE": server.database,
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
    }


def test_the_api_page_works_block_by_block(reader: dict[str, str], tmp_path: Path) -> None:
    printed = run_shell(joined_script(blocks("docs/api.md", "sh")), tmp_path, reader)
    assert '"totalMessages":3,"totalTokens":12' in printed
    assert '"metadata":{"channel":"web"}' in printed
    assert "Session extended by 30 minutes" in printed
    assert "Session deleted successfully" in printed


def test_the_operating_page_works_block_by_block(reader: dict[str, str], tmp_path: Path) -> None:
    printed = run_shell(joined_script(blocks("docs/operating.md", "sh")), tmp_path, reader)
    assert "expiry_horizon_days" in printed
    assert '{"status":"ready"}' in printed
    assert "revoked: " in printed
    assert "Nothing is pending." in printed
    assert '"openapi": "3.1' in (tmp_path / "openapi.json").read_text()


def test_every_settings_file_in_the_documentation_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "sessionary.toml"
    for block in blocks("docs/operating.md", "toml"):
        file.write_text(block.text)
        shown = tomllib.loads(block.text)
        if block.text.startswith("# limits.toml"):
            limits = load_limits(Settings(limits_file=str(file)))
            assert set(limits.quotas) == set(shown["organisations"])
            assert set(limits.token_rates) == set(shown["tokens"])
            continue
        found = load_settings({}, {}, str(file)).settings
        assert {name: getattr(found, name) for name in shown} == shown


@pytest.mark.parametrize("page", sorted(str(page.relative_to(ROOT)) for page in DOCS.rglob("*.md")))
def test_every_json_block_has_the_declared_type_of_its_heading(page: str) -> None:
    if "```json" not in (ROOT / page).read_text():
        return
    for block in blocks(page, "json"):
        msgspec.json.decode(block.text, type=_TYPE_UNDER_HEADING[block.heading])


def test_every_page_with_shell_blocks_is_run_by_a_test() -> None:
    run = {"tutorial.md", "api.md", "operating.md"}
    assert {page.name for page in DOCS.rglob("*.md") if "```sh" in page.read_text()} <= run
