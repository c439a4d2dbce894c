"""What is known of a write that failed; where a server connects; and when it says that it is ready."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sessionary.errors import StoreUnavailableError
from sessionary.server.store.base import Updated
from sessionary.server.store.opening import migrate
from sessionary.server.store.postgres.store import PostgresStore
from tests.conformance.builders import (
    START_TIME,
    CommandBuilder,
    ManualClock,
    contents_of,
    create_session,
    update,
    user,
)
from tests.harness.postgres import PostgresServer
from tests.harness.processes import dies_with_parent, free_port
from tests.harness.proxy import Proxy
from tests.harness.waiting import poll
from tests.unit.server.store.postgres.stores import ask, connected, eventually, opened

WRITE_BATCH = b"\0write_batch\0"
END_OURS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name = 'sessionary' AND datname = current_database()
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def build(clock: ManualClock) -> CommandBuilder:
    return CommandBuilder(clock)


@pytest.mark.parametrize(
    ("sqlstate", "severity"),
    [("08006", "ERROR"), ("08003", "ERROR"), ("40003", "ERROR"), ("57P01", "ERROR"), ("57P01", "FATAL"),
     ("XX000", "ERROR"), ("58030", "ERROR"), ("08P01", "ERROR")],
)  # fmt: skip
async def test_a_write_that_may_have_been_committed_is_never_applied_again(
    postgres_18_database: str, clock: ManualClock, build: CommandBuilder, sqlstate: str, severity: str
) -> None:
    await migrate(postgres_18_database, START_TIME)
    async with Proxy(postgres_18_database) as proxy, opened(proxy.url, clock) as store:
        session = await create_session(store, build.create())
        proxy.answer_at(WRITE_BATCH, sqlstate, severity=severity)
        outcome = await store.apply(update(session, user("once")))
        assert isinstance(outcome, StoreUnavailableError)
        assert not outcome.unchanged
        assert outcome.reason
        assert contents_of(await store.fetch("demo", session.session_id)) == ["once"]
        outcome = await store.apply(update(session, user("again")))
        assert isinstance(outcome, Updated)
        assert outcome.total_messages == 2


async def test_a_server_made_read_only_refuses_writes_for_certain_serves_reads_and_is_not_ready(
    postgres_18_database: str, clock: ManualClock, build: CommandBuilder
) -> None:
    name = postgres_18_database.rpartition("/")[2]
    async with opened(postgres_18_database, clock) as store:
        session = await create_session(store, build.create(user("hello")))
        await store.ready()
        async with connected(postgres_18_database) as other:
            await other.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
            await other.execute(END_OURS)
        outcome = await store.apply(update(session, user("refused")))
        assert isinstance(outcome, StoreUnavailableError)
        assert outcome.unchanged
        assert "read-only" in outcome.reason
        assert contents_of(await store.fetch("demo", session.session_id)) == ["hello"]
        with pytest.raises(StoreUnavailableError) as refused:
            await store.ready()
        assert "read-only" in refused.value.reason
        with pytest.raises(StoreUnavailableError, match="read-only"):
            await PostgresStore.open(postgres_18_database, clock)
        async with connected(postgres_18_database) as other:
            await other.execute("SET default_transaction_read_only = off")
            await other.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')

        async def writes() -> bool:
            return isinstance(await store.apply(update(session, user("again"))), Updated)

        await eventually(writes, "it writes again")
        await store.ready()


@pytest.mark.parametrize(
    ("harm", "reason"),
    [("REVOKE INSERT ON message_blocks FROM server", "INSERT on message_blocks"), ("DROP TABLE keys", "keys"),
     ("ALTER ROLE server SET search_path = nowhere", "does not exist")],
)  # fmt: skip
async def test_what_makes_writes_fail_makes_it_unready_with_the_reason(
    postgres_18_database: str, clock: ManualClock, build: CommandBuilder, harm: str, reason: str
) -> None:
    await migrate(postgres_18_database, START_TIME)
    async with connected(postgres_18_database) as other:
        await other.execute("DROP ROLE IF EXISTS server; CREATE ROLE server LOGIN")
        await other.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO server")
    url = postgres_18_database.replace("postgres@", "server@")
    try:
        async with opened_only(url, clock) as store:
            session = await create_session(store, build.create())
            async with connected(postgres_18_database) as other:
                await other.execute(harm)
                await other.execute(END_OURS)
            outcome = await store.apply(update(session, user("refused")))
            assert isinstance(outcome, StoreUnavailableError)
            assert outcome.unchanged
            assert reason.rpartition(" ")[2] in outcome.reason
            with pytest.raises(StoreUnavailableError) as refused:
                await store.ready()
            assert reason in refused.value.reason
    finally:
        async with connected(postgres_18_database) as other:
            await other.execute("DROP OWNED BY server; DROP ROLE server")


async def test_a_silent_first_host_does_not_use_up_the_time_of_the_second(
    postgres_18_database: str, clock: ManualClock, build: CommandBuilder
) -> None:
    await migrate(postgres_18_database, START_TIME)
    async with Proxy(postgres_18_database) as proxy:
        with proxy.black_hole():
            silent = proxy.url.rpartition("@")[2].partition("/")[0]
            url = postgres_18_database.replace("@", f"@{silent},")
            async with opened_only(url, clock) as store:
                session = await create_session(store, build.create())
                await ask(postgres_18_database, END_OURS)
                outcome = await store.apply(update(session, user("hello")))
                assert isinstance(outcome, Updated)


@pytest.fixture
def pooler(postgres_18: PostgresServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    if not Path("/usr/sbin/pgbouncer").exists():
        pytest.skip("pgbouncer is not installed: apt-get install pgbouncer")
    port = free_port()
    tmp_path.chmod(0o755)
    (tmp_path / "users.txt").write_text('"postgres" ""\n')
    (tmp_path / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={postgres_18.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = any\nauth_file = {tmp_path}/users.txt\nunix_socket_dir =\n"
        f"pool_mode = {request.param}\nuser = {'nobody' if os.geteuid() == 0 else ''}\n".replace("user = \n", "")
        .replace("* = host=127.0.0.1", "* = user=postgres host=127.0.0.1")
    )  # fmt: skip
    process = subprocess.Popen(
        ["/usr/sbin/pgbouncer", "-q", str(tmp_path / "pgbouncer.ini")],
        preexec_fn=dies_with_parent(signal.SIGTERM),  # noqa: PLW1509 - as in the harness
    )
    try:
        poll(lambda: _listens(port), "the pooler listens", seconds=20)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@pytest.mark.parametrize("pooler", ["session"], indirect=True)
async def test_a_pooler_in_session_mode_works(
    postgres_18_database: str, pooler: int, clock: ManualClock, build: CommandBuilder
) -> None:
    url = f"postgresql://postgres@127.0.0.1:{pooler}/{postgres_18_database.rpartition('/')[2]}"
    async with opened(url, clock) as store:
        session = await create_session(store, build.create(user("hello")))
        assert contents_of(await store.fetch("demo", session.session_id)) == ["hello"]
        await store.ready()


@pytest.mark.parametrize("pooler", ["transaction"], indirect=True)
async def test_a_pooler_that_shares_connections_between_transactions_is_refused(
    postgres_18_database: str, pooler: int, clock: ManualClock
) -> None:
    await migrate(postgres_18_database, START_TIME)
    url = f"postgresql://postgres@127.0.0.1:{pooler}/{postgres_18_database.rpartition('/')[2]}"
    with pytest.raises(StoreUnavailableError, match="session mode"):
        await PostgresStore.open(url, clock)


@contextlib.asynccontextmanager
async def opened_only(url: str, clock: ManualClock) -> AsyncIterator[PostgresStore]:
    """Open a store on a database that has been migrated."""
    store = await PostgresStore.open(url, clock, 10.0)
    try:
        yield store
    finally:
        await store.close()
