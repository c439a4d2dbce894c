"""`sessionary backup` and `sessionary restore`: complete and verified, or nothing."""

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.api_client import ApiClient, first_token
from tests.e2e.load import load, wait_for_acknowledged
from tests.harness.server import ServerProcess, run_sessionary
from tests.harness.waiting import poll


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "sessionary.db"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where copies go."""
    (tmp_path / "copies").mkdir()
    return tmp_path / "copies"


@pytest.fixture
def server(file: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(f"sqlite:///{file}", directory=tmp_path) as running:
        yield running


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    """Make a folder read-only for new programs, also for root."""
    mounted: list[Path] = []

    def lay_over(folder: Path) -> None:
        for words in (["--bind", str(folder), str(folder)], ["-o", "remount,bind,ro", str(folder)]):
            done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
            mounted.append(folder)

    yield lay_over
    for folder in mounted[:1]:
        subprocess.run(["umount", "-l", folder], check=True)


def run(command: str, file: Path, *words: object, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    return run_sessionary(command, *map(str, words), "--database", f"sqlite:///{file}", seconds=seconds)


def ok(completed: subprocess.CompletedProcess[str]) -> str:
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def wrong(completed: subprocess.CompletedProcess[str]) -> str:
    """Expect that the command was called wrongly: another path or flag is what is needed."""
    return refused(completed, code=2)


def refused(completed: subprocess.CompletedProcess[str], *, code: int = 1) -> str:
    assert completed.returncode == code, completed
    assert completed.stdout == ""
    assert completed.stderr.startswith("sessionary: ")
    assert len(completed.stderr.splitlines()) == 1
    return completed.stderr


def rows(file: Path, table: str) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def names_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def test_a_backup_under_load_is_one_snapshot_and_readable_by_its_owner_only(
    server: ServerProcess, file: Path, folder: Path
) -> None:
    token = first_token(server)
    before = os.umask(0)
    try:
        with ApiClient(server.base_url, token) as api:
            sessions = [api.create() for _ in range(2)]
        with load(server, token, sessions, "beside", 3) as writers:
            for number in range(3):
                acknowledged = sum(len(writer.acknowledged) for writer in writers)
                printed = ok(run("backup", file, folder / f"{number}.db"))
                assert printed == f"backed up: 2 sessions, 1 tokens to {folder / f'{number}.db'}\n"
                wait_for_acknowledged(server, writers, acknowledged + 5)
                assert rows(folder / f"{number}.db", "message_blocks") >= acknowledged
    finally:
        os.umask(before)
    assert names_in(folder) == {"0.db", "1.db", "2.db"}, "a copy stands alone, and nothing else is left"
    assert {stat.S_IMODE(copy.stat().st_mode) for copy in folder.iterdir()} == {0o600}
    assert sum(writer.refused.total() for writer in writers) == 0


def test_a_restored_copy_equals_the_backup(server: ServerProcess, file: Path, folder: Path) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        session = api.create("one")
        ok(run("backup", file, folder / "copy.db"))
        api.append(session, "two").expect(200)
        assert "is in use by another server" in refused(run("restore", file, folder / "copy.db", "--replace"))
        api.append(session, "three").expect(200)
        server.terminate()
        assert "--replace" in wrong(run("restore", file, folder / "copy.db"))

        printed = ok(run("restore", file, folder / "copy.db", "--replace"))

        aside = file.with_name("sessionary.db.replaced-1")
        assert printed == (f"restored: 1 sessions, 1 tokens to {file}\nThe previous database is kept as {aside}.\n")
        assert names_in(file.parent) == {file.name, aside.name, f"{file.name}-lock"}
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        server.start()
        api.close()
        assert api.contents(session) == ["one"]
    server.terminate()
    assert (rows(aside, "message_blocks"), rows(file, "message_blocks")) == (3, 1)
    assert rows(folder / "copy.db", "message_blocks") == 1


def test_a_copy_is_restored_without_a_database_and_beside_the_log_of_a_killed_server(
    server: ServerProcess, file: Path, folder: Path, tmp_path: Path
) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        api.create("one")
        ok(run("backup", file, folder / "copy.db"))
        api.create("two")
    server.kill9()
    new = tmp_path / "elsewhere.db"
    assert "kept as" not in ok(run("restore", new, folder / "copy.db"))
    assert rows(new, "sessions") == 1

    ok(run("restore", file, folder / "copy.db", "--replace"))
    assert rows(file, "sessions") == 1
    assert rows(file.with_name(f"{file.name}.replaced-1"), "sessions") == 2, "what stood in the log is kept too"
    ok(run("restore", file, f"{file}.replaced-1", "--replace"))
    assert rows(file, "sessions") == 2


def beside(file: Path) -> list[Path]:
    return [file.with_name(f"{file.name}{ending}") for ending in ("-wal", "-shm", "-journal")]


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_files_of_an_old_database_are_never_mixed_with_a_restored_one(
    server: ServerProcess, file: Path, folder: Path, ending: str
) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        api.create("one")
        ok(run("backup", file, folder / "copy.db"))
        api.create("two")
    left = file.with_name(f"{file.name}{ending}")
    content = left.read_bytes() if left.exists() else b"journal" * 1000
    server.terminate()
    file.unlink()
    left.write_bytes(content)

    assert str(left) in wrong(run("restore", file, folder / "copy.db"))
    assert names_in(file.parent) == {left.name, f"{file.name}-lock"}
    output = ok(run("restore", file, folder / "copy.db", "--replace"))

    assert not left.exists()
    assert rows(file, "sessions") == 1
    aside = file.with_name(f"{file.name}.replaced-1{ending}")
    if ending == "-shm":
        assert not aside.exists(), "it holds nothing of its own"
    else:
        assert output.endswith(f"\nThe previous database is kept as {aside}.\n")
        assert aside.read_bytes() == content


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_a_backup_is_refused_if_a_file_beside_the_target_would_corrupt_it(
    server: ServerProcess, file: Path, folder: Path, ending: str
) -> None:
    assert server.running
    left = folder / f"copy.db{ending}"
    left.write_bytes(b"left" * 1000)
    assert str(left) in wrong(run("backup", file, folder / "copy.db"))
    left.unlink()
    left.symlink_to(folder / "nowhere")
    assert str(left) in wrong(run("backup", file, folder / "copy.db"))
    assert names_in(folder) == {left.name}


@pytest.mark.parametrize("words", [["serve", "--port", "0"], ["migrate"], ["tokens", "list"]], ids=" ".join)
def test_the_log_of_a_missing_database_is_not_changed(tmp_path: Path, words: list[str]) -> None:
    log = tmp_path / "store.db-wal"
    log.write_bytes(b"acknowledged" * 1000)
    completed = run_sessionary(*words, "--database", f"sqlite:///{tmp_path}/store.db")
    assert completed.returncode == 1
    assert str(log) in completed.stderr.splitlines()[-1]
    assert log.read_bytes() == b"acknowledged" * 1000
    assert not (tmp_path / "store.db").exists()


def test_a_copy_with_several_hard_links_is_restored_and_not_changed(
    server: ServerProcess, file: Path, folder: Path
) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        api.create("one")
        ok(run("backup", file, folder / "copy.db"))
        api.create("two")
    server.kill9()
    (folder / "linked.db").hardlink_to(folder / "copy.db")
    ok(run("restore", file, folder / "linked.db", "--replace"))
    assert rows(file, "sessions") == 1

    # As rsnapshot keeps a database with its log.
    killed = file.with_name(f"{file.name}.replaced-1")
    with contextlib.closing(sqlite3.connect(killed)) as writer:
        writer.executescript("PRAGMA journal_mode = WAL; PRAGMA user_version = 7")
        for name in (killed, *beside(killed)[:1]):
            (folder / name.name).write_bytes(name.read_bytes())
            (folder / f"linked-{name.name}").hardlink_to(folder / name.name)
    before = {name: (folder / name).read_bytes() for name in names_in(folder)}
    assert before[f"linked-{killed.name}-wal"]
    ok(run("restore", file, folder / f"linked-{killed.name}", "--replace"))
    assert rows(file, "sessions") == 2
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_a_restore_that_was_killed_names_the_link_that_it_left(server: ServerProcess, file: Path, folder: Path) -> None:
    ok(run("backup", file, folder / "copy.db"))
    server.terminate()
    aside = file.with_name(f"{file.name}.replaced-1")
    # What it leaves between putting the old one aside and naming the new one.
    aside.hardlink_to(file)
    for output in (
        refused(run("migrate", file)),
        refused(run("restore", file, folder / "copy.db", "--replace")),
    ):
        assert f"the hard link {aside}: remove that one or this" in output
        assert "interrupted restore" in output
    aside.unlink()
    server.start()


def test_another_programs_database_is_refused_and_not_changed(tmp_path: Path, folder: Path) -> None:
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as made:
        made.execute("CREATE TABLE a (b)")
    before = other.read_bytes()
    assert "not one of sessionary" in refused(run("backup", other, folder / "copy.db"))
    assert other.read_bytes() == before
    assert names_in(tmp_path) == {"other.db", folder.name}


def test_a_read_only_database_is_backed_up(
    server: ServerProcess, file: Path, folder: Path, read_only: Callable[[Path], None]
) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        api.create("one")
        read_only(file.parent)
        ok(run("backup", file, folder / "running.db"))
    server.terminate()
    ok(run("backup", file, folder / "stopped.db"))
    assert {rows(folder / name, "sessions") for name in ("running.db", "stopped.db")} == {1}
    assert server.running is False


def test_a_lock_file_that_is_a_link_is_named(server: ServerProcess, file: Path, folder: Path) -> None:
    server.terminate()
    lock = file.with_name(f"{file.name}-lock")
    lock.unlink()
    lock.symlink_to(folder / "nowhere")
    completed = run_sessionary("serve", "--port", "0", "--database", f"sqlite:///{file}")
    assert completed.returncode == 1
    assert f"its lock file {lock}: " in completed.stderr.splitlines()[-1]
    assert names_in(folder) == set()


def test_a_damaged_database_is_replaced_and_kept_unchanged(server: ServerProcess, file: Path, folder: Path) -> None:
    ok(run("backup", file, folder / "copy.db"))
    server.terminate()
    file.write_bytes(b"damaged" * 1000)
    ok(run("restore", file, folder / "copy.db", "--replace"))
    assert rows(file, "sessions") == 0
    assert file.with_name(f"{file.name}.replaced-1").read_bytes() == b"damaged" * 1000
    server.start()


def test_nothing_is_overwritten(server: ServerProcess, file: Path, folder: Path) -> None:
    (folder / "there.db").write_text("mine")
    (folder / "link.db").symlink_to(folder / "nowhere")
    for target in (file, folder / "there.db", folder / "link.db", folder):
        assert "already: nothing is overwritten" in wrong(run("backup", file, target))
    assert (folder / "there.db").read_text() == "mine"
    assert names_in(folder) == {"there.db", "link.db"}
    with ApiClient(server.base_url, first_token(server)) as api:
        api.create("one")


def test_a_file_that_is_not_a_copy_is_refused_and_changes_nothing(
    server: ServerProcess, file: Path, folder: Path
) -> None:
    server.terminate()
    before = file.read_bytes()
    (folder / "text.db").write_text("no database" * 1000)
    (folder / "empty.db").touch()
    with contextlib.closing(sqlite3.connect(folder / "other.db")) as other:
        other.execute("CREATE TABLE a (b)")
    ok(run("backup", file, folder / "newer.db"))
    with contextlib.closing(sqlite3.connect(folder / "newer.db")) as newer:
        newer.execute("INSERT INTO schema_migrations SELECT 9999, '9999_later', 0, 9999")
        newer.commit()
    ok(run("backup", file, folder / "cut.db"))
    os.truncate(folder / "cut.db", 9_000)
    for copy in ("text.db", "empty.db", "other.db", "newer.db", "cut.db"):
        refused(run("restore", file, folder / copy, "--replace"))
    wrong(run("restore", file, folder / "absent.db", "--replace"))
    wrong(run("restore", file, file, "--replace"))
    refused(run("restore", file, folder, "--replace"))
    assert file.read_bytes() == before
    assert names_in(file.parent) <= {file.name, f"{file.name}-lock"}
    assert "There is no database at" in refused(run("backup", file.with_name("absent.db"), folder / "copy.db"))
    assert "There is no folder" in wrong(run("backup", file, folder / "absent" / "copy.db"))


def test_a_database_that_another_program_has_open_is_not_replaced(
    server: ServerProcess, file: Path, folder: Path
) -> None:
    ok(run("backup", file, folder / "copy.db"))
    server.terminate()
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("SELECT count(*) FROM sessions").fetchall()
        assert "has it open" in refused(run("restore", file, folder / "copy.db", "--replace")).replace(str(file), "it")
        assert other.execute("SELECT count(*) FROM sessions").fetchall() == [(0,)]
    ok(run("restore", file, folder / "copy.db", "--replace"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_backup_leaves_no_partial_file(
    server: ServerProcess, file: Path, folder: Path, number: signal.Signals
) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        session = api.create()
        for _ in range(15):
            api.append(session, "x" * 1_000_000).expect(200)
    words = [sys.executable, "-m", "sessionary", "backup", str(folder / "copy.db"), "--database", f"sqlite:///{file}"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    poll(lambda: process.poll() is not None or names_in(folder), "a copy that has begun", pause=0)
    process.send_signal(number)
    code = process.wait(timeout=60)
    assert names_in(folder) == ({"copy.db"} if code == 0 else set())


def test_a_backup_to_a_full_disk_fails_and_leaves_no_file(server: ServerProcess, file: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounting.returncode:
        pytest.skip("a file system can only be mounted by root, where the container lets it")
    try:
        with ApiClient(server.base_url, first_token(server)) as api:
            api.create(*["x" * 500_000] * 4)
        assert refused(run("backup", file, disk / "copy.db")) == "sessionary: The disk is full.\n"
        assert names_in(disk) == set()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_for_postgresql_the_error_names_its_own_programs(tmp_path: Path) -> None:
    for command, instead in (("backup", "pg_dump"), ("restore", "pg_restore")):
        completed = run_sessionary(command, f"{tmp_path}/x", "--database", "postgresql://ada@127.0.0.1/x")
        assert completed.returncode == 2
        assert instead in completed.stderr


PATHS = {
    "sqlite:///:memory:": "is none that lasts",
    "sqlite:///file::memory:": "is none that lasts",
    "sqlite:///file:a.db": "is none that lasts",
    "sqlite:///file:a?mode=memory": "has parameters",
    "sqlite:///a.db?mode=ro": "has parameters",
    "sqlite:///a.db#b": "has parameters",
    "sqlite:///": "names no file",
    "sqlite:////": "names no file",
    "sqlite:///.": "names no file",
    "sqlite:///a/..": "names no file",
    "sqlite:///folder/": "names no file",
    "sqlite:///a.db%0A": "a character that does not print",
    "sqlite:///a%00.db": "a character that does not print",
    "sqlite:///%20a.db": "a space at an end",
    "sqlite://:memory:": "must be sqlite:///path",
    "sqlite:": "must be sqlite:///path",
}


@pytest.mark.parametrize("database", PATHS)
@pytest.mark.parametrize("words", [["serve", "--port", "0"], ["migrate"], ["tokens", "list"]], ids=" ".join)
def test_an_invalid_path_is_explained_and_creates_no_file(tmp_path: Path, database: str, words: list[str]) -> None:
    (tmp_path / "folder").mkdir()
    output = wrong(run_sessionary(*words, "--database", database, directory=tmp_path))
    assert PATHS[database] in output
    assert [folder for folder in tmp_path.rglob("*") if folder.name != "folder"] == []


@pytest.mark.parametrize(("path", "why"), [("folder", "Is a directory"), ("absent/a.db", "No such file or directory")])
@pytest.mark.parametrize("words", [["serve", "--port", "0"], ["migrate"], ["tokens", "list"]], ids=" ".join)
def test_an_impossible_path_fails_and_creates_no_file(tmp_path: Path, path: str, why: str, words: list[str]) -> None:
    (tmp_path / "folder").mkdir()
    completed = run_sessionary(*words, "--database", f"sqlite:///{path}", directory=tmp_path)
    assert completed.returncode == 1
    assert why in completed.stderr.splitlines()[-1]
    assert [folder for folder in tmp_path.rglob("*") if folder.name != "folder"] == []
