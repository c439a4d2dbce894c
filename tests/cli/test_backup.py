"""`sessionary backup` and `sessionary restore`: whole and verified, or nothing at all."""

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
def place(tmp_path: Path) -> Path:
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

    def lay_over(place: Path) -> None:
        for words in (["--bind", str(place), str(place)], ["-o", "remount,bind,ro", str(place)]):
            done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
            mounted.append(place)

    yield lay_over
    for place in mounted[:1]:
        subprocess.run(["umount", "-l", place], check=True)


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


def test_a_backup_under_load_is_of_one_instant_and_its_owners_only(
    server: ServerProcess, file: Path, place: Path
) -> None:
    token = first_token(server)
    before = os.umask(0)
    try:
        with ApiClient(server.base_url, token) as api:
            sessions = [api.create() for _ in range(2)]
        with load(server, token, sessions, "beside", 3) as writers:
            for number in range(3):
                acknowledged = sum(len(writer.acknowledged) for writer in writers)
                printed = ok(run("backup", file, place / f"{number}.db"))
                assert printed == f"backed up: 2 sessions, 1 tokens to {place / f'{number}.db'}\n"
                wait_for_acknowledged(server, writers, acknowledged + 5)
                assert rows(place / f"{number}.db", "message_blocks") >= acknowledged
    finally:
        os.umask(before)
    assert names_in(place) == {"0.db", "1.db", "2.db"}, "a copy stands alone, and nothing else is left"
    assert {stat.S_IMODE(copy.stat().st_mode) for copy in place.iterdir()} == {0o600}
    assert sum(writer.refused.total() for writer in writers) == 0


def test_a_restored_copy_is_what_was_backed_up(server: ServerProcess, file: Path, place: Path) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        session = api.create("one")
        ok(run("backup", file, place / "copy.db"))
        api.append(session, "two").expect(200)
        assert "is in use by another server" in refused(run("restore", file, place / "copy.db", "--replace"))
        api.append(session, "three").expect(200)
        server.terminate()
        assert "--replace" in wrong(run("restore", file, place / "copy.db"))

        printed = ok(run("restore", file, place / "copy.db", "--replace"))

        aside = file.with_name("sessionary.db.replaced-1")
        assert printed == (f"restored: 1 sessions, 1 tokens to {file}\nWhat was there before is kept as {aside}.\n")
        assert names_in(file.parent) == {file.name, aside.name, f"{file.name}-lock"}
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        server.start()
        api.close()
        assert api.contents(session) == ["one"]
    server.terminate()
    assert (rows(aside, "message_blocks"), rows(file, "message_blocks")) == (3, 1)
    assert rows(place / "copy.db", "message_blocks") == 1


def test_a_copy_is_restored_where_there_is_nothing_and_by_a_killed_servers_log_too(
    server: ServerProcess, file: Path, place: Path, tmp_path: Path
) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        api.create("one")
        ok(run("backup", file, place / "copy.db"))
        api.create("two")
    server.kill9()
    new = tmp_path / "elsewhere.db"
    assert "kept as" not in ok(run("restore", new, place / "copy.db"))
    assert rows(new, "sessions") == 1

    ok(run("restore", file, place / "copy.db", "--replace"))
    assert rows(file, "sessions") == 1
    assert rows(file.with_name(f"{file.name}.replaced-1"), "sessions") == 2, "what stood in the log is kept too"
    ok(run("restore", file, f"{file}.replaced-1", "--replace"))
    assert rows(file, "sessions") == 2


def beside(file: Path) -> list[Path]:
    return [file.with_name(f"{file.name}{ending}") for ending in ("-wal", "-shm", "-journal")]


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_what_lies_beside_the_name_of_a_database_is_never_mixed_with_a_restored_one(
    server: ServerProcess, file: Path, place: Path, ending: str
) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        api.create("one")
        ok(run("backup", file, place / "copy.db"))
        api.create("two")
    left = file.with_name(f"{file.name}{ending}")
    content = left.read_bytes() if left.exists() else b"journal" * 1000
    server.terminate()
    file.unlink()
    left.write_bytes(content)

    assert str(left) in wrong(run("restore", file, place / "copy.db"))
    assert names_in(file.parent) == {left.name, f"{file.name}-lock"}
    told = ok(run("restore", file, place / "copy.db", "--replace"))

    assert not left.exists()
    assert rows(file, "sessions") == 1
    aside = file.with_name(f"{file.name}.replaced-1{ending}")
    if ending == "-shm":
        assert not aside.exists(), "it holds nothing of its own"
    else:
        assert told.endswith(f"\nWhat was there before is kept as {aside}.\n")
        assert aside.read_bytes() == content


@pytest.mark.parametrize("ending", ["-wal", "-shm", "-journal"])
def test_a_backup_is_not_made_where_something_lies_beside_that_would_ruin_it(
    server: ServerProcess, file: Path, place: Path, ending: str
) -> None:
    assert server.running
    left = place / f"copy.db{ending}"
    left.write_bytes(b"left" * 1000)
    assert str(left) in wrong(run("backup", file, place / "copy.db"))
    left.unlink()
    left.symlink_to(place / "nowhere")
    assert str(left) in wrong(run("backup", file, place / "copy.db"))
    assert names_in(place) == {left.name}


@pytest.mark.parametrize("words", [["serve", "--port", "0"], ["migrate"], ["tokens", "list"]], ids=" ".join)
def test_the_log_of_a_database_that_is_not_there_is_left_alone(tmp_path: Path, words: list[str]) -> None:
    log = tmp_path / "store.db-wal"
    log.write_bytes(b"acknowledged" * 1000)
    completed = run_sessionary(*words, "--database", f"sqlite:///{tmp_path}/store.db")
    assert completed.returncode == 1
    assert str(log) in completed.stderr.splitlines()[-1]
    assert log.read_bytes() == b"acknowledged" * 1000
    assert not (tmp_path / "store.db").exists()


def test_a_copy_with_several_names_is_restored_and_stays_as_it_is(
    server: ServerProcess, file: Path, place: Path
) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        api.create("one")
        ok(run("backup", file, place / "copy.db"))
        api.create("two")
    server.kill9()
    (place / "linked.db").hardlink_to(place / "copy.db")
    ok(run("restore", file, place / "linked.db", "--replace"))
    assert rows(file, "sessions") == 1

    # As rsnapshot keeps a database with its log.
    killed = file.with_name(f"{file.name}.replaced-1")
    with contextlib.closing(sqlite3.connect(killed)) as writer:
        writer.executescript("PRAGMA journal_mode = WAL; PRAGMA user_version = 7")
        for name in (killed, *beside(killed)[:1]):
            (place / name.name).write_bytes(name.read_bytes())
            (place / f"linked-{name.name}").hardlink_to(place / name.name)
    before = {name: (place / name).read_bytes() for name in names_in(place)}
    assert before[f"linked-{killed.name}-wal"]
    ok(run("restore", file, place / f"linked-{killed.name}", "--replace"))
    assert rows(file, "sessions") == 2
    assert {name: (place / name).read_bytes() for name in before} == before


def test_a_restore_that_was_killed_names_the_link_that_it_left(server: ServerProcess, file: Path, place: Path) -> None:
    ok(run("backup", file, place / "copy.db"))
    server.terminate()
    aside = file.with_name(f"{file.name}.replaced-1")
    # What it leaves between putting the old one aside and naming the new one.
    aside.hardlink_to(file)
    for told in (
        refused(run("migrate", file)),
        refused(run("restore", file, place / "copy.db", "--replace")),
    ):
        assert f"the hard link {aside}: remove that one or this" in told
        assert "interrupted restore" in told
    aside.unlink()
    server.start()


def test_another_programs_database_is_refused_as_it_is(tmp_path: Path, place: Path) -> None:
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as made:
        made.execute("CREATE TABLE a (b)")
    before = other.read_bytes()
    assert "not one of sessionary" in refused(run("backup", other, place / "copy.db"))
    assert other.read_bytes() == before
    assert names_in(tmp_path) == {"other.db", place.name}


def test_what_may_only_be_read_is_backed_up(
    server: ServerProcess, file: Path, place: Path, read_only: Callable[[Path], None]
) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        api.create("one")
        read_only(file.parent)
        ok(run("backup", file, place / "running.db"))
    server.terminate()
    ok(run("backup", file, place / "stopped.db"))
    assert {rows(place / name, "sessions") for name in ("running.db", "stopped.db")} == {1}
    assert server.running is False


def test_a_lock_file_that_is_a_link_is_named(server: ServerProcess, file: Path, place: Path) -> None:
    server.terminate()
    lock = file.with_name(f"{file.name}-lock")
    lock.unlink()
    lock.symlink_to(place / "nowhere")
    completed = run_sessionary("serve", "--port", "0", "--database", f"sqlite:///{file}")
    assert completed.returncode == 1
    assert f"its lock file {lock}: " in completed.stderr.splitlines()[-1]
    assert names_in(place) == set()


def test_a_damaged_database_is_replaced_and_kept_as_it_is(server: ServerProcess, file: Path, place: Path) -> None:
    ok(run("backup", file, place / "copy.db"))
    server.terminate()
    file.write_bytes(b"damaged" * 1000)
    ok(run("restore", file, place / "copy.db", "--replace"))
    assert rows(file, "sessions") == 0
    assert file.with_name(f"{file.name}.replaced-1").read_bytes() == b"damaged" * 1000
    server.start()


def test_nothing_is_overwritten(server: ServerProcess, file: Path, place: Path) -> None:
    (place / "there.db").write_text("mine")
    (place / "link.db").symlink_to(place / "nowhere")
    for target in (file, place / "there.db", place / "link.db", place):
        assert "already: nothing is overwritten" in wrong(run("backup", file, target))
    assert (place / "there.db").read_text() == "mine"
    assert names_in(place) == {"there.db", "link.db"}
    with ApiClient(server.base_url, first_token(server)) as api:
        api.create("one")


def test_what_is_no_copy_is_refused_and_changes_nothing(server: ServerProcess, file: Path, place: Path) -> None:
    server.terminate()
    before = file.read_bytes()
    (place / "text.db").write_text("no database" * 1000)
    (place / "empty.db").touch()
    with contextlib.closing(sqlite3.connect(place / "other.db")) as other:
        other.execute("CREATE TABLE a (b)")
    ok(run("backup", file, place / "newer.db"))
    with contextlib.closing(sqlite3.connect(place / "newer.db")) as newer:
        newer.execute("INSERT INTO schema_migrations SELECT 9999, '9999_later', 0, 9999")
        newer.commit()
    ok(run("backup", file, place / "cut.db"))
    os.truncate(place / "cut.db", 9_000)
    for copy in ("text.db", "empty.db", "other.db", "newer.db", "cut.db"):
        refused(run("restore", file, place / copy, "--replace"))
    wrong(run("restore", file, place / "absent.db", "--replace"))
    wrong(run("restore", file, file, "--replace"))
    refused(run("restore", file, place, "--replace"))
    assert file.read_bytes() == before
    assert names_in(file.parent) <= {file.name, f"{file.name}-lock"}
    assert "There is no database at" in refused(run("backup", file.with_name("absent.db"), place / "copy.db"))
    assert "There is no folder" in wrong(run("backup", file, place / "absent" / "copy.db"))


def test_a_database_that_another_program_has_open_is_not_replaced(
    server: ServerProcess, file: Path, place: Path
) -> None:
    ok(run("backup", file, place / "copy.db"))
    server.terminate()
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("SELECT count(*) FROM sessions").fetchall()
        assert "has it open" in refused(run("restore", file, place / "copy.db", "--replace")).replace(str(file), "it")
        assert other.execute("SELECT count(*) FROM sessions").fetchall() == [(0,)]
    ok(run("restore", file, place / "copy.db", "--replace"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_backup_that_is_interrupted_leaves_nothing_half(
    server: ServerProcess, file: Path, place: Path, number: signal.Signals
) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        session = api.create()
        for _ in range(15):
            api.append(session, "x" * 1_000_000).expect(200)
    words = [sys.executable, "-m", "sessionary", "backup", str(place / "copy.db"), "--database", f"sqlite:///{file}"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    poll(lambda: process.poll() is not None or names_in(place), "a copy that has begun", pause=0)
    process.send_signal(number)
    code = process.wait(timeout=60)
    assert names_in(place) == ({"copy.db"} if code == 0 else set())


def test_a_backup_to_a_full_disk_says_so_and_leaves_nothing(server: ServerProcess, file: Path, tmp_path: Path) -> None:
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


def test_for_postgresql_its_own_programs_are_named(tmp_path: Path) -> None:
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
def test_a_path_that_is_none_is_explained_and_makes_no_file(tmp_path: Path, database: str, words: list[str]) -> None:
    (tmp_path / "folder").mkdir()
    told = wrong(run_sessionary(*words, "--database", database, directory=tmp_path))
    assert PATHS[database] in told
    assert [place for place in tmp_path.rglob("*") if place.name != "folder"] == []


@pytest.mark.parametrize(("path", "why"), [("folder", "Is a directory"), ("absent/a.db", "No such file or directory")])
@pytest.mark.parametrize("words", [["serve", "--port", "0"], ["migrate"], ["tokens", "list"]], ids=" ".join)
def test_a_path_that_no_file_can_be_at_fails_and_makes_no_file(
    tmp_path: Path, path: str, why: str, words: list[str]
) -> None:
    (tmp_path / "folder").mkdir()
    completed = run_sessionary(*words, "--database", f"sqlite:///{path}", directory=tmp_path)
    assert completed.returncode == 1
    assert why in completed.stderr.splitlines()[-1]
    assert [place for place in tmp_path.rglob("*") if place.name != "folder"] == []
