"""Runs commands in this process, which is faster than a new process for each."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sessionary.cli.main import main

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process, in an empty directory; `environment` sets variables."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("SESSIONARY_"):
            monkeypatch.delenv(name)

    def call(*words: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        out, err = io.StringIO(), io.StringIO()
        code: str | int | None = 0
        with monkeypatch.context() as patched, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patched.setattr(sys, "argv", ["sessionary", *words])
            for name, value in (environment or {}).items():
                patched.setenv(name, value)
            try:
                main()
            except SystemExit as end:
                code = end.code
        return subprocess.CompletedProcess(words, int(code or 0), out.getvalue(), err.getvalue())

    return call
