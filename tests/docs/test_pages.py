"""Every block of the other pages: shell blocks run, data blocks are what they claim to be."""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sessionary import models
from sessionary.server.config import Settings, effective
from sessionary.server.limits_file import limits_from
from tests.docs.blocks import blocks, pasted, run_shell
from tests.harness.server import ServerProcess
from tests.layout.places import DOCS, ROOT

_SHOWN = {
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
    """What a reader of the pages has set: the server, a token, and sessionary on the path."""
    return {
        "URL": server.base_url,
        "ORGANISATION": "acme",
        "TOKEN": server.create_token("acme"),
        "SESSIONARY_DATABASE": server.database,
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
    }


def test_the_api_page_works_block_by_block(reader: dict[str, str], tmp_path: Path) -> None:
    answers = run_shell(pasted(blocks("docs/api.md", "sh")), tmp_path, reader)
    assert '"totalMessages":3,"totalTokens":12' in answers
    assert '"metadata":{"channel":"web"}' in answers
    assert "Session extended by 30 minutes" in answers
    assert "Session deleted successfully" in answers


def test_the_operating_page_works_block_by_block(reader: dict[str, str], tmp_path: Path) -> None:
    printed = run_shell(pasted(blocks("docs/operating.md", "sh")), tmp_path, reader)
    assert "expiry_horizon_days" in printed
    assert '{"status":"ready"}' in printed
    assert "revoked: " in printed
    assert "Nothing is pending." in printed
    assert '"openapi": "3.1' in (tmp_path / "openapi.json").read_text()


def test_every_settings_file_that_is_shown_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "sessionary.toml"
    for block in blocks("docs/operating.md", "toml"):
        file.write_text(block.text)
        shown = tomllib.loads(block.text)
        if block.text.startswith("# limits.toml"):
            allowances = limits_from(Settings(limits_file=str(file)))
            assert set(allowances.quotas) == set(shown["organisations"])
            assert set(allowances.token_rates) == set(shown["tokens"])
            continue
        found = effective({}, {}, str(file)).settings
        assert {name: getattr(found, name) for name in shown} == shown


@pytest.mark.parametrize("page", sorted(str(page.relative_to(ROOT)) for page in DOCS.rglob("*.md")))
def test_every_answer_that_is_shown_has_the_shape_of_its_heading(page: str) -> None:
    if "```json" not in (ROOT / page).read_text():
        return
    for block in blocks(page, "json"):
        msgspec.json.decode(block.text, type=_SHOWN[block.heading])


def test_no_page_but_these_has_shell_blocks_that_nothing_runs() -> None:
    run = {"tutorial.md", "api.md", "operating.md"}
    assert {page.name for page in DOCS.rglob("*.md") if "```sh" in page.read_text()} <= run
