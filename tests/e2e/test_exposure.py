"""A server listens beyond the loopback only with TLS, or behind a proxy that terminates TLS."""

import contextlib
import http.client
import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from sessionary import Client
from sessionary.errors import APIConnectionError
from tests.e2e.terminal import run_in_terminal, wait_for_text
from tests.harness.certificates import self_signed
from tests.harness.processes import free_port
from tests.harness.server import run_sessionary
from tests.http.raw_connection import head

EVERYWHERE = "0.0.0.0"  # noqa: S104 - the subject of these tests
BEYOND = [EVERYWHERE, "::", "::ffff:0.0.0.0"]
OF_THIS_MACHINE = ["127.0.0.1", "127.0.0.7", "localhost", "::1"]


@pytest.mark.parametrize("host", BEYOND)
def test_beyond_the_loopback_a_server_without_tls_does_not_start(tmp_path: Path, host: str) -> None:
    completed = run_sessionary("serve", "--host", host, "--port", "0", directory=tmp_path)
    assert completed.returncode == 2
    assert completed.stdout == ""
    assert completed.stderr.count("\n") == 1
    for word in (host, "--tls-certificate", "--tls-key", "--behind-proxy"):
        assert word in completed.stderr
    assert list(tmp_path.iterdir()) == [], "nothing was touched"


@pytest.mark.parametrize("words", [*((host,) for host in OF_THIS_MACHINE), (EVERYWHERE, "--behind-proxy")])
def test_a_server_without_tls_starts_on_the_loopback_or_behind_a_proxy(tmp_path: Path, words: tuple[str, ...]) -> None:
    port = free_port()
    with run_in_terminal(tmp_path, "serve", "--port", str(port), "--host", *words, stdout=tmp_path / "printed"):
        wait_for_text(tmp_path / "printed", "-d '{")
        address = {EVERYWHERE: "127.0.0.1", "::1": "[::1]"}.get(words[0], words[0])
        assert httpx.get(f"http://{address}:{port}/health/live", trust_env=False).status_code == 200


def test_a_server_with_a_certificate_uses_tls_and_the_client_verifies_it(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    port = free_port()
    words = ("serve", "--host", EVERYWHERE, "--port", str(port))
    files = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    with run_in_terminal(tmp_path, *words, *files, stdout=tmp_path / "printed"):
        printed = wait_for_text(tmp_path / "printed", "-d '{")
        assert f"listens on https://{EVERYWHERE}:{port} " in printed
        token = next(line.strip() for line in printed.splitlines() if line.strip().startswith("sny_"))
        url = f"https://localhost:{port}"
        trusting = ssl.create_default_context(cafile=str(certificate))
        with Client(url, token=token, organisation="demo", verify=trusting) as client:
            message = {"role": "user", "content": "x" * 500_000}
            session = client.create_session("ada", initial_messages=[message])
            assert client.get_session(session.session_id).messages[0]["content"] == message["content"]
        with (
            Client(url, token=token, organisation="demo", max_retries=0) as distrusting,
            pytest.raises(APIConnectionError, match=r"(?i)certificate"),
        ):
            distrusting.list_sessions()
        with pytest.raises((httpx.TransportError, http.client.HTTPException)):
            httpx.get(f"http://127.0.0.1:{port}/health/live", trust_env=False)


def test_only_tls_versions_and_ciphers_with_forward_secrecy_are_accepted(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    port = free_port()
    files = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    with run_in_terminal(tmp_path, "serve", "--port", str(port), *files, stdout=tmp_path / "printed"):
        wait_for_text(tmp_path / "printed", "-d '{")
        assert negotiated(port, certificate, "1.3", "ALL") == "TLSv1.3"
        assert negotiated(port, certificate, "1.2", "ECDHE+AESGCM") == "TLSv1.2"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            negotiated(port, certificate, "1.2", "ECDHE+AES:!AESGCM:!AESCCM")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            negotiated(port, certificate, "1.1", "ALL:@SECLEVEL=0")


def negotiated(port: int, certificate: Path, version: str, ciphers: str) -> str | None:
    """Connect with exactly this TLS version and these ciphers, and return the negotiated version, None if refused."""
    context = ssl.create_default_context(cafile=str(certificate))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"]
    context.set_ciphers(ciphers)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as wire,
        context.wrap_socket(wire, server_hostname="localhost") as secured,
    ):
        return secured.version()


def test_a_tls_handshake_has_the_time_limit_of_headers(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    port = free_port()
    files = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    words = ("serve", "--port", str(port), "--header-seconds", "0.6")
    with run_in_terminal(tmp_path, *words, *files, stdout=tmp_path / "printed"):
        wait_for_text(tmp_path / "printed", "-d '{")
        with socket.create_connection(("127.0.0.1", port), timeout=5) as silent:
            started = time.monotonic()
            assert silent.recv(100) == b""
            assert 0.5 < time.monotonic() - started < 4


def test_a_tls_client_that_does_not_read_its_response_is_disconnected(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    port = free_port()
    files = ("--tls-certificate", str(certificate), "--tls-key", str(key))
    words = ("serve", "--port", str(port), "--idle-seconds", "1", "--body-seconds", "1")
    with run_in_terminal(tmp_path, *words, *files, stdout=tmp_path / "printed"):
        printed = wait_for_text(tmp_path / "printed", "-d '{")
        token = next(line.strip() for line in printed.splitlines() if line.strip().startswith("sny_"))
        trusting = ssl.create_default_context(cafile=str(certificate))
        with Client(f"https://localhost:{port}", token=token, organisation="demo", verify=trusting) as client:
            messages = [{"role": "user", "content": "x" * 1_000_000}] * 7
            session_id = client.create_session("ada", initial_messages=messages).session_id
        path = f"/api/v3/organizations/demo/ai/sessions/{session_id}"
        with socket.socket() as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            wire.connect(("127.0.0.1", port))
            with trusting.wrap_socket(wire, server_hostname="localhost") as connection:
                connection.sendall(head("GET", path, {"Authorization": f"Bearer {token}"}))
                time.sleep(4)
                assert 0 < sum(map(len, pieces_from(connection))) < 7_000_000, (
                    "the server has closed the connection meanwhile"
                )


def pieces_from(wire: ssl.SSLSocket) -> Iterator[bytes]:
    """Read until the connection ends in any way."""
    with contextlib.suppress(OSError):
        while piece := wire.recv(1 << 20):
            yield piece


def test_an_unusable_certificate_is_refused_with_the_reason(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    _, other_key = self_signed(tmp_path, "other")
    before = sorted(tmp_path.iterdir())
    for files, expected in (
        (("--tls-certificate", str(certificate)), "TLS needs both"),
        (("--tls-key", str(key)), "TLS needs both"),
        (("--tls-certificate", "nowhere.pem", "--tls-key", str(key)), "nowhere.pem"),
        (("--tls-certificate", str(certificate), "--tls-key", str(other_key)), "cannot be used"),
        (("--tls-certificate", str(key), "--tls-key", str(key)), "cannot be used"),
    ):
        completed = run_sessionary("serve", "--port", "0", *files, directory=tmp_path)
        assert completed.returncode == 2
        assert expected in completed.stderr
        assert completed.stderr.count("\n") == 1
        assert "PRIVATE" not in completed.stderr
    assert sorted(tmp_path.iterdir()) == before, "nothing was touched"
