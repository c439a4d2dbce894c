"""The database file of a server: its locks, other programs that use it, and a second server."""

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.api_client import ApiClient, first_token
from tests.e2e.database import count_rows
from tests.e2e.load import assert_all_there, load, wait_for_acknowledged
from tests.harness.server import ServerProcess, run_sessionary
from tests.harness.waiting import poll

APPENDS = 5
ROUNDS = 4


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessionary.db"


@pytest.fixture
def server(file: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    file.parent.mkdir()
    with ServerProcess(f"sqlite:///{file}", directory=tmp_path) as running:
        yield running


def locks_of(pid: int, file: Path) -> set[str]:
    """Return which of the database's files a process has POSIX locks on, according to the kernel."""
    names = {str(place.stat().st_ino): place.name for place in file.parent.iterdir()}
    held = re.findall(rf"POSIX +ADVISORY +\w+ {pid} \w+:\w+:(\d+) ", Path("/proc/locks").read_text())
    return {names[inode] for inode in held if inode in names}


PYTHON = "import contextlib, sqlite3, sys\nwith contextlib.closing(sqlite3.connect(sys.argv[1])) as file:\n    "
BESIDE: dict[str, list[str]] = {
    "Python opens and closes it": [
        sys.executable,
        "-c",
        f"{PYTHON}file.execute('SELECT count(*) FROM message_blocks')",
        "FILE",
    ],
    "Python writes to it": [sys.executable, "-c", f"{PYTHON}file.execute('PRAGMA application_id = 7')", "FILE"],
    "VACUUM INTO": [sys.executable, "-c", f"{PYTHON}file.execute('VACUUM INTO ?', [sys.argv[2]])", "FILE", "COPY"],
    "VACUUM": ["sqlite3", "FILE", ".timeout 20000", "VACUUM"],
    "the backup API": [sys.executable, "-c", f"{PYTHON}file.backup(sqlite3.connect(sys.argv[2]))", "FILE", "COPY"],
    "the shell reads": ["sqlite3", "FILE", "SELECT count(*) FROM message_blocks"],
    "the shell's .backup": ["sqlite3", "FILE", ".backup COPY"],
    "the shell's .dump": ["sqlite3", "FILE", ".dump"],
    "the shell's checkpoint": ["sqlite3", "FILE", "PRAGMA wal_checkpoint(PASSIVE)"],
    "tokens list": [sys.executable, "-m", "sessionary", "tokens", "list", "--database", "sqlite:///FILE"],
    "tokens create": [
        *(sys.executable, "-m", "sessionary", "tokens", "create", "--database", "sqlite:///FILE"),
        *("--organisation", "other"),
    ],
    "audit": [sys.executable, "-m", "sessionary", "audit", "--database", "sqlite:///FILE"],
    "migrate": [sys.executable, "-m", "sessionary", "migrate", "--database", "sqlite:///FILE"],
    "migrate --check": [sys.executable, "-m", "sessionary", "migrate", "--check", "--database", "sqlite:///FILE"],
}


def run_beside(words: Sequence[str], file: Path, copy: Path) -> None:
    output = [word.replace("FILE", str(file)).replace("COPY", str(copy)) for word in words]
    completed = subprocess.run(output, capture_output=True, text=True, timeout=60, check=False)
    assert completed.returncode == 0, completed.stderr


@pytest.fixture
def needs_shell(request: pytest.FixtureRequest) -> None:
    """Skip the test if it needs SQLite's shell and that is not installed."""
    if request.getfixturevalue("words")[0] == "sqlite3":
        try:
            subprocess.run(["sqlite3", "-version"], capture_output=True, check=True)
        except FileNotFoundError:
            pytest.skip("SQLite's shell is not installed: apt-get install sqlite3")


@pytest.mark.usefixtures("needs_shell")
@pytest.mark.parametrize("words", BESIDE.values(), ids=BESIDE)
def test_no_acknowledged_write_is_lost_when_other_programs_use_the_file(
    server: ServerProcess, file: Path, tmp_path: Path, words: list[str]
) -> None:
    token = first_token(server)
    with ApiClient(server.base_url, token) as api:
        sessions = [api.create() for _ in range(2)]
        with load(server, token, sessions, "beside", 3) as writers:
            for number in range(ROUNDS):
                run_beside(words, file, tmp_path / f"copy-{number}")
                wait_for_acknowledged(server, writers, sum(len(writer.acknowledged) for writer in writers) + 5)
        # Once more without writers: the last program to close the file would delete its log.
        run_beside(words, file, tmp_path / "copy-last")
        quiet = api.create()
        for number in range(APPENDS):
            api.append(quiet, f"{number}").expect(200)
        assert locks_of(server.pid, file) >= {file.name, f"{file.name}-shm"}
        server.kill9()

        server.start()
        api.close()
        assert api.contents(quiet) == [f"{number}" for number in range(APPENDS)]
        assert_all_there(api, sessions, writers)
    server.terminate()
    with contextlib.closing(sqlite3.connect(file)) as left:
        assert left.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_server_holds_its_locks_from_start_to_stop(server: ServerProcess, file: Path) -> None:
    expected = {file.name, f"{file.name}-shm"}
    assert locks_of(server.pid, file) == expected
    with ApiClient(server.base_url, first_token(server)) as api:
        session = api.create()
        for _ in range(APPENDS):
            api.append(session, "x" * 200_000).expect(200)
            api.get(session)
            api.call("GET", "/health/ready").expect(200)
            assert locks_of(server.pid, file) == expected
        api.call("DELETE", f"{api.path}/{session}").expect(200)
    assert locks_of(server.pid, file) == expected


@pytest.mark.usefixtures("needs_strace")
def test_a_running_server_neither_opens_nor_closes_the_database_files(tmp_path: Path) -> None:
    calls = ("open", "openat", "openat2", "creat", "close", "close_range", "dup", "dup2", "dup3")
    file = tmp_path / "sessionary.db"
    with ServerProcess(f"sqlite:///{file}", "--sweep-seconds", "0.2", directory=tmp_path, trace=calls) as server:
        token = first_token(server)
        with ApiClient(server.base_url, token) as api:
            started = len(server.trace_lines())
            session = api.create("one")
            api.append(session, "x" * 300_000).expect(200)
            api.get(session)
            api.call("GET", f"{api.path}?limit=5&status=active").expect(200)
            api.call("GET", "/health/ready").expect(200)
            api.append(session, "two").expect(200)
            api.call("DELETE", f"{api.path}/{session}").expect(200)
            api.call("GET", "/health/ready").expect(200)
        ended = len(server.trace_lines())
        server.terminate()
        lines = server.trace_lines()
    touched = re.compile(rf"{re.escape(str(file))}(-wal|-shm)?[\">]")
    assert [line for line in lines[started:ended] if touched.search(line)] == []
    opened = [line for line in lines if re.match(r"\d+ +[\d.]+ open", line) and touched.search(line)]
    assert opened, "the trace is complete"
    assert [line for line in opened if "O_NOFOLLOW" not in line] == [], "SQLite opens all of its files like this"


def last_line(completed: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that a command printed; a server logs its start before."""
    return completed.stderr.splitlines(keepends=True)[-1]


def refusal(file: Path, pid: int) -> str:
    host = re.escape(os.uname().nodename)
    return (
        rf"sessionary: The database file {re.escape(str(file))} is in use by another server \(process {pid} on {host}\): "
        r"stop that server first, or use another file\.\n"
    )


def other_names(file: Path, tmp_path: Path) -> dict[str, str]:
    """Return other paths of the same file."""
    (tmp_path / "link.db").symlink_to(file)
    (tmp_path / "folder").symlink_to(file.parent)
    return {
        "the same": f"sqlite:///{file}",
        "relative": "sqlite:///data/sessionary.db",
        "through ..": f"sqlite:///{file.parent}/../data/sessionary.db",
        "a link to the file": f"sqlite:///{tmp_path}/link.db",
        "a link to the folder": "sqlite:///folder/sessionary.db",
        "encoded": f"sqlite:///{file.parent}/sessionary%2Edb",
    }


def test_a_second_server_on_the_file_is_refused_under_any_path(
    server: ServerProcess, file: Path, tmp_path: Path
) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        session = api.create("one")
        for name, database in other_names(file, tmp_path).items():
            completed = run_sessionary("serve", "--port", "0", "--database", database, directory=tmp_path)
            assert completed.returncode == 1, name
            assert re.fullmatch(refusal(file, server.pid), last_line(completed)), (name, completed.stderr)
            assert completed.stdout == "", name
        api.append(session, "two").expect(200)
        assert api.contents(session) == ["one", "two"]
    assert locks_of(server.pid, file) == {file.name, f"{file.name}-shm"}


def test_a_second_server_is_refused_though_the_lock_file_was_removed(server: ServerProcess, file: Path) -> None:
    with ApiClient(server.base_url, first_token(server)) as api:
        session = api.create("one")
        for _ in range(2):
            file.with_name(f"{file.name}-lock").unlink(missing_ok=True)
            # Without the check it would run until it is stopped.
            completed = run_sessionary("serve", "--port", "0", "--database", f"sqlite:///{file}", seconds=30)
            assert completed.returncode == 1
            assert "is in use by another server (unknown process)" in completed.stderr.splitlines()[-1]
        api.append(session, "two").expect(200)
        assert locks_of(server.pid, file) == {file.name, f"{file.name}-shm"}
    server.restart()


def test_a_killed_server_leaves_no_lock_behind(server: ServerProcess, file: Path) -> None:
    for _ in range(3):
        server.kill9()
        server.start()
        completed = run_sessionary("serve", "--port", "0", "--database", f"sqlite:///{file}")
        assert re.fullmatch(refusal(file, server.pid), last_line(completed)), completed.stderr


def test_of_several_servers_that_start_at_once_on_one_file_one_starts(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/sessionary.db"
    servers = [
        subprocess.Popen(
            [sys.executable, "-m", "sessionary", "serve", "--port", "0", "--database", database],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    refused: list[str] = []

    def wait(process: subprocess.Popen[str]) -> None:
        _, output = process.communicate()
        if process.returncode == 1:
            refused.append(output)

    waiting = [threading.Thread(target=wait, args=(process,)) for process in servers]
    for thread in waiting:
        thread.start()
    try:
        poll(lambda: len(refused) == 3, "three that are refused", seconds=30)
        assert sum(process.poll() is None for process in servers) == 1
    finally:
        for process in servers:
            process.terminate()
        for thread in waiting:
            thread.join(20)
    assert all("is in use by another server (" in output for output in refused), refused
    assert sorted(process.returncode for process in servers) == [0, 1, 1, 1]
    assert count_rows(database, "tokens") == 0, "the first one is only made on a terminal"


def test_a_file_with_a_hard_link_is_refused(server: ServerProcess, file: Path, tmp_path: Path) -> None:
    server.terminate()
    (tmp_path / "hard.db").hardlink_to(file)
    for name in (file, tmp_path / "hard.db"):
        for words in (["serve", "--port", "0"], ["tokens", "list"], ["migrate"]):
            completed = run_sessionary(*words, "--database", f"sqlite:///{name}")
            assert completed.returncode == 1
            assert last_line(completed) == (
                f"sessionary: The database file {name} cannot be used: "
                "It has another name, a hard link: remove that one or this.\n"
            )
    (tmp_path / "hard.db").unlink()
    server.start()
