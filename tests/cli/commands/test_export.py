"""`sessionary export`: every session once; a file gets its name when it is complete."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionary import Client
from tests.cli import sample_sessions
from tests.cli.conftest import Run
from tests.cli.live_server import Tenant, running_server
from tests.client.faults import Fault, FaultProxy, delayed, passed, unanswered
from tests.client.vendor import TOKEN, VendorServer
from tests.harness.waiting import poll


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    with running_server(tmp_path_factory.mktemp("export")) as tenant:
        yield tenant


@pytest.fixture
def tenant(server: Tenant, request: pytest.FixtureRequest) -> Tenant:
    return server.of(request.node.name[:128])


@pytest.fixture
def client(tenant: Tenant) -> Iterator[Client]:
    with Client(tenant.server.base_url, token=tenant.token, organisation=tenant.organisation) as client:
        yield client


def exported(run: Run, tenant: Tenant, *words: str) -> list[dict[str, Any]]:
    """Export to a file and read it."""
    completed = run("export", "--output", "out.jsonl", *words, environment=tenant.environment)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout == ""
    found = list(sample_sessions.lines(Path("out.jsonl")))
    assert completed.stderr == f"out.jsonl: {len(found)} sessions\n"
    return found


def test_every_session_is_one_line_as_get_session_returns_it_newest_first(
    run: Run, tenant: Tenant, client: Client
) -> None:
    ids = [
        client.create_session("ada", initial_messages=[{"role": "user", "content": str(n)}]).session_id
        for n in range(205)
    ]
    found = exported(run, tenant)
    assert [session["id"] for session in found] == ids[::-1]
    got = run("get-session", ids[0], "--json", environment=tenant.environment).stdout
    assert Path("out.jsonl").read_text().splitlines()[-1] == got.strip()


def test_only_matching_sessions_are_exported(run: Run, tenant: Tenant, client: Client) -> None:
    client.create_session("ada", session_group="web", model="m")
    wanted = client.create_session("bob", session_group="web", model="m").session_id
    client.update_session(wanted, status="completed")
    for words in (
        ["--user-id", "bob"],
        ["--status", "completed"],
        ["--user-id", "bob", "--model", "m", "--session-group", "web"],
    ):
        assert [session["id"] for session in exported(run, tenant, *words)] == [wanted]
    assert exported(run, tenant, "--user-id", "nobody") == []


def test_standard_output_gets_the_same_bytes(run: Run, tenant: Tenant, client: Client, tmp_path: Path) -> None:
    client.create_session("ada", initial_messages=[{"role": "user", "content": "Привет \0 \u2028"}])
    exported(run, tenant)
    assert tenant.run("export").stdout == (tmp_path / "out.jsonl").read_bytes()


def test_a_long_conversation_is_exported_completely(run: Run, tenant: Tenant, client: Client) -> None:
    session_id = client.create_session("ada", title='a "messages":[] title').session_id
    for start in range(0, 2_500, 500):
        client.update_session(
            session_id, new_messages=[{"role": "user", "content": str(start + n)} for n in range(500)]
        )
    (session,) = exported(run, tenant)
    assert [message["content"] for message in session["messages"]] == [str(n) for n in range(2_500)]
    assert list(session) == list(
        json.loads(run("get-session", session_id, "--json", environment=tenant.environment).stdout)
    )


def test_an_output_file_is_readable_by_its_owner_only_and_replaced_when_the_new_one_is_complete(
    run: Run, tenant: Tenant, client: Client, tmp_path: Path
) -> None:
    client.create_session("ada")
    exported(run, tenant)
    file = tmp_path / "out.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    failed = run(
        "export", "-o", "out.jsonl", "--timeout", "1", environment=tenant.environment | {"SESSIONARY_TOKEN": "x"}
    )
    assert failed.returncode == 4
    assert file.read_bytes() == before
    client.create_session("bob")
    assert len(exported(run, tenant)) == 2
    assert {each.name for each in tmp_path.iterdir()} == {"out.jsonl"}


def test_a_killed_export_is_resumed(run: Run, tenant: Tenant, client: Client, tmp_path: Path) -> None:
    ids = [client.create_session("ada").session_id for _ in range(150)]
    journal = tmp_path / "out.jsonl.part.journal"
    with FaultProxy(tenant.server.port) as proxy:
        process = _start_export(tenant, proxy, tmp_path, unanswered)
        poll(journal.exists, "a first page", seconds=60)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        mark = json.loads(journal.read_bytes())
        assert mark["sessions"] == 100
        assert not (tmp_path / "out.jsonl").exists()
        # As if it had died in the middle of the next page; and what came before is not read again.
        part = tmp_path / "out.jsonl.part"
        part.write_bytes(part.read_bytes()[: mark["size"]] + b'{"id": "tor')
        client.delete_session(ids[-1])
        client.create_session("later")
        proxy.plan = []

        found = exported(run, tenant, "--url", proxy.base_url)

    assert [session["id"] for session in found] == ids[::-1]
    assert {each.name for each in tmp_path.iterdir()} == {"out.jsonl"}


def _start_export(tenant: Tenant, proxy: FaultProxy, directory: Path, then: Fault) -> subprocess.Popen[bytes]:
    """Start an export that gets its first page, and little of the second one unharmed; return in the midst of it."""
    proxy.plan = [*[passed] * 115, *[then] * 1_000]
    process = tenant.start("export", "--output", "out.jsonl", "--url", proxy.base_url, directory=directory)
    poll(lambda: len(proxy.arrived) > 115, "a second page", seconds=60)
    return process


def test_an_export_with_another_query_is_not_resumed(run: Run, tenant: Tenant, client: Client, tmp_path: Path) -> None:
    client.create_session("ada")
    (tmp_path / "out.jsonl.part").write_bytes(b"of another question\n")
    for left in ({"question": {"user_id": "eve"}, "size": 20, "complete": True}, {"nonsense": 1}):
        (tmp_path / "out.jsonl.part.journal").write_text(json.dumps(left))
        assert len(exported(run, tenant)) == 1


def test_sessions_deleted_during_an_export_are_skipped(client: Client, tenant: Tenant, tmp_path: Path) -> None:
    for _ in range(150):
        client.create_session("ada", expiration_minutes=5)
    with FaultProxy(tenant.server.port) as proxy:
        process = _start_export(tenant, proxy, tmp_path, delayed(0.5))
        process.send_signal(signal.SIGSTOP)
        for session in client.iterate_sessions():
            client.delete_session(session.id)
        process.send_signal(signal.SIGCONT)
        proxy.plan = []
        _, output = process.communicate(timeout=60)
    assert process.returncode == 0, output
    found = list(sample_sessions.lines(tmp_path / "out.jsonl"))
    assert 100 <= len(found) < 150
    assert output == f"out.jsonl: {len(found)} sessions\n".encode()


def test_the_vendors_sessions_are_exported_page_by_page_and_imported_with_a_user(run: Run, tenant: Tenant) -> None:
    with VendorServer() as vendor:
        with Client(vendor.base_url, token=TOKEN, organisation="acme") as client:
            for number in range(105):
                client.create_session("ada", initial_messages=[{"role": "user", "content": str(number)}])
        found = exported(run, tenant, "--url", vendor.base_url, "--organisation", "acme", "--token", TOKEN)
        assert len({session["id"] for session in found}) == 105
    assert run("import", "out.jsonl", environment=tenant.environment).returncode == 2
    completed = run("import", "out.jsonl", "--user-id", "ada", environment=tenant.environment)
    assert "105 imported (read as sessionary)" in completed.stdout


def test_an_output_that_cannot_be_written_is_reported_in_one_sentence(run: Run, tenant: Tenant) -> None:
    completed = run("export", "--output", "nowhere/out.jsonl", environment=tenant.environment)
    assert completed.returncode == 1
    assert "No such file or directory" in completed.stderr
    assert "Traceback" not in completed.stderr


def test_an_export_is_recorded_once_with_the_token_it_came_with(run: Run, tenant: Tenant, client: Client) -> None:
    for _ in range(101):
        client.create_session("ada")
    assert len(exported(run, tenant)) == 101

    output = run("audit", "--json", "--organisation", tenant.organisation, "--database", tenant.server.database)
    records = [json.loads(line) for line in output.stdout.splitlines()]

    assert [(record["action"], record["subject"]) for record in records] == [("export_sessions", tenant.organisation)]
    assert records[0]["actor"] in tenant.token
