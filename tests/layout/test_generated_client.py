"""The blocking client is generated from the asyncio client, and the generated files are current."""

import subprocess
import sys

import pytest

from tests.layout.paths import ROOT

SCRIPT = ROOT / "scripts" / "generate_sync_client.py"


def test_the_blocking_client_is_current() -> None:
    pytest.importorskip("unasync", reason="unasync is not installed")
    run = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_every_asyncio_module_has_its_generated_one() -> None:
    client = ROOT / "src" / "sessionary" / "client"
    sources = sorted(client.glob("_async_*.py"))
    assert len(sources) == 3
    for source in sources:
        generated = client / source.name.replace("_async_", "_", 1)
        assert generated.read_text(encoding="utf-8").startswith(
            f"# Generated from {source.name} by {SCRIPT.relative_to(ROOT)}"
        )
