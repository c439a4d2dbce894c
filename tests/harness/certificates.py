"""Certificates for tests with TLS."""

import shutil
import subprocess
from pathlib import Path

import pytest

_OPENSSL = shutil.which("openssl")


def self_signed(directory: Path, name: str = "server") -> tuple[Path, Path]:
    """Create a certificate for localhost and 127.0.0.1, valid for a day, and its key; skips without openssl."""
    if _OPENSSL is None:
        pytest.skip("openssl is not installed: apt-get install openssl")
    certificate, key = directory / f"{name}.pem", directory / f"{name}-key.pem"
    subprocess.run(
        [
            *(_OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
