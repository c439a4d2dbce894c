"""The database file of a running server is removed or replaced: no write is acknowledged that would be lost."""

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.api_client import ApiClient, first_token, user_messages
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll

GONE = "The database file was removed, moved or replaced."

Harm = Callable[[Path], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The database file, in its own folder."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "sessionary.db"


@pytest.fixture
def server(file: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """A server whose database URL is a symbolic link to the file."""
    (tmp_path / "link.db").symlink_to(file)
    with ServerProcess(f"sqlite:///{tmp_path}/link.db", "--sweep-seconds", "3600", directory=tmp_path) as running:
        yield running


@pytest.fixture
def api(server: ServerProcess) -> Iterator[ApiClient]:
    with ApiClient(server.base_url, first_token(server)) as connected:
        yield connected


def another(file: Path) -> Path:
    """Create another database file that no server uses."""
    other = file.parent.parent / "other.db"
    with contextlib.closing(sqlite3.connect(file)) as source, contextlib.closing(sqlite3.connect(other)) as copy:
        source.backup(copy)
    return other


def move_away(place: Path) -> None:
    place.rename(place.with_name(f"{place.name}.aside"))


def replace(file: Path) -> None:
    other = another(file)
    move_away(file)
    other.rename(file)


def relink(file: Path) -> None:
    link = file.parent.parent / "link.db"
    other = another(file)
    move_away(link)
    link.symlink_to(other)


def move_back(file: Path) -> None:
    for place in (file, log_of(file), index_of(file), file.parent, file.parent.parent / "link.db"):
        aside = place.with_name(f"{place.name}.aside")
        if aside.is_symlink() or aside.exists():
            aside.rename(place)


def log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def index_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-shm")


HARMS: dict[str, Harm] = {
    "moved": move_away,
    "replaced": replace,
    "its folder moved": lambda file: move_away(file.parent),
    "the link leads elsewhere": relink,
    "the link is gone": lambda file: move_away(file.parent.parent / "link.db"),
    "its log moved": lambda file: move_away(log_of(file)),
}


def assert_refused(api: ApiClient, session: str) -> None:
    for method, path, body in (
        ("PUT", f"{api.path}/{session}", {"newMessages": user_messages("lost")}),
        ("PUT", f"{api.path}/{session}/extend", None),
        ("POST", api.path, {"userId": "ada", "initialMessages": user_messages(*["x" * 700_000] * 2)}),
        ("POST", api.path, {"userId": "ada"}),
        ("DELETE", f"{api.path}/{session}", None),
    ):
        refused = api.call(method, path, body).expect(503)
        assert (refused.json["code"], refused.json["detail"]) == ("STORE_UNAVAILABLE", GONE)
    assert api.call("GET", "/health/ready").expect(503).json["detail"] == GONE
    api.call("GET", "/health/live").expect(200)


def errors_in(server: ServerProcess) -> list[str]:
    return [line for line in server.log_lines() if '"error"' in line and "sessionary.server.store" in line]


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_without_its_file_a_server_refuses_writes_until_the_file_is_back(
    server: ServerProcess, api: ApiClient, file: Path, harm: Harm
) -> None:
    session = api.create("one")
    harm(file)

    for _ in range(3):
        assert_refused(api, session)
        assert api.contents(session) == ["one"], "reads go on"
    assert len(errors_in(server)) == 1, errors_in(server)
    assert str(file.parent.parent) in errors_in(server)[0], "the log names the folder"

    move_back(file)
    api.call("GET", "/health/ready").expect(200)
    api.append(session, "two").expect(200)
    assert api.contents(session) == ["one", "two"]
    server.kill9()
    server.start()
    api.close()
    assert api.contents(session) == ["one", "two"]


REMOVALS: dict[str, Harm] = {
    "the file": Path.unlink,
    "the folder": lambda file: shutil.rmtree(file.parent),
    "the log": lambda file: log_of(file).unlink(),
}


@pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS)
def test_a_removed_file_is_never_written_to(server: ServerProcess, api: ApiClient, file: Path, remove: Harm) -> None:
    session = api.create("one")
    remove(file)
    assert_refused(api, session)
    assert len(errors_in(server)) == 1


def test_readiness_reports_a_removed_index_of_the_log(server: ServerProcess, api: ApiClient, file: Path) -> None:
    session = api.create("one")
    index_of(file).unlink()
    assert api.call("GET", "/health/ready").expect(503).json["detail"] == GONE
    assert_refused(api, session)
    assert len(errors_in(server)) == 1


def test_after_the_log_was_removed_the_file_has_all_acknowledged_writes(
    server: ServerProcess, api: ApiClient, file: Path
) -> None:
    with contextlib.closing(sqlite3.connect(file)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sessions").fetchall()  # a reader that blocks checkpoints
        session = api.create("one", "two")
        log_of(file).unlink()
        assert_refused(api, session)
    poll(lambda: b"two" in raw(file), "the log's content in the file")
    server.kill9()
    server.start()
    api.close()
    assert api.contents(session) == ["one", "two"]


def raw(file: Path) -> bytes:
    return file.read_bytes()


def test_a_replacing_file_does_not_get_the_log_of_the_replaced_one(
    server: ServerProcess, api: ApiClient, file: Path
) -> None:
    session = api.create("one")
    replace(file)
    api.append(session, "lost").expect(503)
    # The log is copied into the file that it was written for.
    poll(lambda: log_of(file).stat().st_size == 0, "a log that is emptied")
    server.kill9()
    for place, contents in ((file, ["one"]), (file.with_name(f"{file.name}.aside"), ["one"])):
        with contextlib.closing(sqlite3.connect(place)) as left:
            assert left.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert left.execute("SELECT count(*) FROM message_blocks").fetchall() == [(len(contents),)]


def wait_until_settled(server: ServerProcess, file: Path) -> None:
    """Wait until the log has been copied into the file and the store has checked the file."""
    seen: list[tuple[int, int]] = []

    def is_settled() -> bool:
        found = file.stat()
        seen.append((found.st_mtime_ns, found.st_size))
        return len(seen) > 10 and len(set(seen[-10:])) == 1

    assert server.running
    poll(is_settled, "a file that rests", pause=0.1)


def test_a_file_that_another_program_overwrote_is_not_written_to(
    server: ServerProcess, api: ApiClient, file: Path
) -> None:
    session = api.create("one")
    wait_until_settled(server, file)
    older = another(file)
    api.append(session, "two").expect(200)
    wait_until_settled(server, file)
    shutil.copyfile(older, file)

    for _ in range(2):
        for method, path, body in (
            ("PUT", f"{api.path}/{session}", {"newMessages": user_messages("lost")}),
            ("POST", api.path, {"userId": "ada"}),
        ):
            assert api.call(method, path, body).expect(503).json["detail"] == GONE
        for path in ("/health/ready", api.path, f"{api.path}?offset=100000", f"{api.path}/{session}"):
            assert api.call("GET", path).expect(503).json["detail"] == GONE
    assert len(errors_in(server)) == 1
    poll(lambda: log_of(file).stat().st_size == 0, "a log that is emptied")
    assert file.read_bytes() == older.read_bytes(), "what was put there is left as it is"
    server.restart()
    api.close()
    assert api.contents(session) == ["one"], "and taken as it is by the next start"
    api.append(session, "three").expect(200)


def test_a_file_that_others_write_through_sqlite_or_touch_is_still_used(
    server: ServerProcess, api: ApiClient, file: Path
) -> None:
    session = api.create("one")
    for number in range(4):
        wait_until_settled(server, file)
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute(f"PRAGMA user_version = {number}")
            other.execute("PRAGMA wal_checkpoint(PASSIVE)" if number % 2 else "VACUUM")
        if number > 1:
            file.touch()
        api.append(session, "more").expect(200)
        api.call("GET", "/health/ready").expect(200)
    wait_until_settled(server, file)
    file.touch()
    api.append(session, "more").expect(200)
    assert errors_in(server) == []
