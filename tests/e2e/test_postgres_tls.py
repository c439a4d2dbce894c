"""PostgreSQL over TLS, with a self-signed certificate."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.api_client import ApiClient
from tests.harness.binaries import NOBODY
from tests.harness.certificates import self_signed
from tests.harness.postgres import postgres_or_skip
from tests.harness.server import ServerProcess, run_sessionary
from tests.harness.waiting import poll


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("certificate"))[0]


@pytest.fixture(scope="module")
def url(certificate: Path) -> Iterator[str]:
    """The URL, without parameters, of a PostgreSQL with TLS, which the one from PyPI does not support."""
    with postgres_or_skip(15) as server:
        for name, source in (("server.crt", certificate), ("server.key", certificate.with_name("server-key.pem"))):
            copy = server.directory / "data" / name
            copy.write_bytes(source.read_bytes())
            copy.chmod(0o600)
            if os.geteuid() == 0:
                os.chown(copy, NOBODY, NOBODY)
        server.run_sql("ALTER SYSTEM SET ssl = on")
        server.run_sql("SELECT pg_reload_conf()")
        poll(lambda: server.run_sql("SHOW ssl") == "on", "a server that speaks TLS")
        yield server.url()


@pytest.mark.parametrize(
    "parameters",
    [
        "sslmode=require",
        "sslmode=verify-full&sslrootcert={certificate}",
        "sslmode=verify-ca&sslrootcert={certificate}",
        "sslmode=require&channel_binding=prefer",
        "sslmode=require&channel_binding=require&sslrootcert={certificate}",
    ],
)
def test_a_server_connects_to_postgresql_over_tls(url: str, certificate: Path, parameters: str) -> None:
    url = f"{url}?{parameters.format(certificate=certificate)}"
    with ServerProcess(url) as server, ApiClient(server.base_url, server.first_token) as api:
        assert api.contents(api.create("one")) == ["one"]


@pytest.mark.parametrize(
    "parameters",
    [
        "sslmode=verify-full&sslrootcert=system",
        "sslmode=require&channel_binding=require",
        "sslmode=verify-full&sslrootcert={other}",
    ],
)
@pytest.mark.parametrize("words", [("serve", "--port", "0"), ("migrate",)], ids=lambda words: words[0])
def test_an_untrusted_certificate_is_reported_with_the_parameter_that_requires_it(
    url: str, tmp_path: Path, parameters: str, words: tuple[str, ...]
) -> None:
    other = self_signed(tmp_path, "other")[0]
    url = f"{url}?{parameters.format(other=other)}"
    completed = run_sessionary(*words, "--database", url, directory=tmp_path)
    assert completed.returncode == 1
    error = completed.stderr.splitlines()[-1]
    assert error.startswith("sessionary: The database at 127.0.0.1:")
    assert "its certificate is not trusted (self" in error
    assert "channel_binding=require" in error
    assert "sslrootcert" in error
