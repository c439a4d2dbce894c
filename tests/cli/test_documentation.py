"""The documentation of the command line: its examples run, and every exit code is listed."""

import re
import sys
from pathlib import Path

from sessionary.cli import exit_codes
from tests.cli.live_server import running_server
from tests.docs.blocks import blocks, run_shell
from tests.layout.paths import DOCS


def test_the_page_works_block_by_block(tmp_path: Path) -> None:
    typed = [
        line.removeprefix("$ ")
        for block in blocks("docs/cli.md", "console")
        for line in block.text.splitlines()
        if line.startswith("$ ")
    ]
    with running_server(tmp_path) as tenant:
        environment = {
            "SESSIONARY_DATABASE": tenant.server.database,
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        }
        script = "\n".join(typed).replace("http://127.0.0.1:8080", tenant.server.base_url)
        printed = run_shell(script, tmp_path, environment)
    assert "How do I reset my password?" in printed
    assert "Session extended by 30 minutes" in printed
    assert "Session deleted successfully" in printed
    assert "sessions.jsonl: 1 imported (read as sessionary), 0 already there" in printed
    assert '"already_there":1' in printed


def test_every_exit_code_is_documented() -> None:
    section = (DOCS / "cli.md").read_text().partition("## Exit codes")[2].partition("## ")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert documented == {
        0,
        2,
        *(value for name, value in vars(exit_codes).items() if name.isupper() and name[0] != "_"),
    }
