"""The picture of the README can be recorded again, and shows what it is there to show."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.layout.paths import DOCS, ROOT

SHOWN = ["$ sessionary serve", "My name is Ada.", "Nice to meet you, Ada.", "Killed", "Your name is Ada."]


def test_the_script_records_a_chat_that_survives_the_end_of_the_server(tmp_path: Path) -> None:
    picture = tmp_path / "terminal.svg"
    command = [sys.executable, str(ROOT / "scripts" / "render_terminal.py"), str(picture)]
    recorded = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert recorded.returncode == 0, recorded.stderr
    shows_the_chat(picture)


def test_the_committed_picture_is_one_of_the_script() -> None:
    shows_the_chat(DOCS / "terminal.svg")
    assert "](docs/terminal.svg)" in (ROOT / "README.md").read_text(encoding="utf-8")


def shows_the_chat(picture: Path) -> None:
    """Check that a picture is well-formed and holds the lines of the session, in their order."""
    text = "\n".join(ET.fromstring(picture.read_text(encoding="utf-8")).itertext())  # noqa: S314 - our own
    found = [text.find(line) for line in SHOWN]
    assert -1 not in found
    assert found == sorted(found)
