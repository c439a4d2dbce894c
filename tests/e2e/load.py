"""Load for a server that may crash: writers that remember which appends were acknowledged, and check them later."""

import contextlib
import http.client
import threading
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.e2e.api_client import ApiClient, user_messages
from tests.harness.processes import tail
from tests.harness.server import ServerProcess
from tests.harness.waiting import poll

# An append is two messages, so that a partial append is detected.
_PAIR = 2
# Longer than a page of every database, so that an append that is torn at a page is detected.
_PADDING = "." * 3_000


class Writer:
    """Appends numbered pairs of messages to sessions, one after another, over its own connection."""

    def __init__(self, name: str, api: ApiClient, sessions: Sequence[str]) -> None:
        self.name = name
        self.acknowledged: list[str] = []
        self.sent: list[str] = []
        self.refused: Counter[int] = Counter()
        self._caller = api
        self._sessions = sessions
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the response to the last append, if there is one."""
        self._stopped.set()
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()
        self._caller.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            append = f"{self.name}:{len(self.sent)}"
            session = self._sessions[len(self.sent) % len(self._sessions)]
            self.sent.append(append)
            try:
                response = self._caller.update(
                    session, newMessages=user_messages(f"{append}:asked", f"{append}:answered{_PADDING}"), tokensUsed=1
                )
            except (OSError, http.client.HTTPException):
                return
            if response.status == 200:
                self.acknowledged.append(append)
            else:
                self.refused[response.status] += 1


@contextlib.contextmanager
def load(server: ServerProcess, token: str, sessions: Sequence[str], name: str, writers: int) -> Iterator[list[Writer]]:
    """Write over several connections at once until the block ends, each to the sessions in a different order."""
    places = [[*sessions[number % len(sessions) :], *sessions[: number % len(sessions)]] for number in range(writers)]
    running = [
        Writer(f"{name}.{number}", ApiClient(server.base_url, token), places[number]) for number in range(writers)
    ]
    for writer in running:
        writer.start()
    try:
        yield running
    finally:
        for writer in running:
            writer.stop()


def wait_for_acknowledged(server: ServerProcess, writers: Sequence[Writer], count: int, seconds: float = 20) -> None:
    """Wait until the writers together have this many acknowledged appends."""
    try:
        poll(
            lambda: sum(len(writer.acknowledged) for writer in writers) >= count,
            f"{count} acknowledged appends",
            seconds=seconds,
            pause=0.002,
        )
    except AssertionError as error:
        raise AssertionError(f"{error}\n{tail(server.log)}") from error


def assert_all_there(api: ApiClient, sessions: Sequence[str], writers: Sequence[Writer]) -> None:
    """Check that each acknowledged append is stored once, complete and in the order of its writer, and nothing else."""
    stored = [append for session in sessions for append in _appends_in(api.get(session))]
    counted = Counter(stored)
    assert [append for append, times in counted.items() if times > 1] == [], "no append is stored twice"
    acknowledged = {append for writer in writers for append in writer.acknowledged}
    assert sorted(acknowledged - counted.keys()) == [], "no acknowledged append is missing"
    sent = {append for writer in writers for append in writer.sent}
    assert sorted(counted.keys() - sent) == [], "nothing is stored that was not sent"


def _appends_in(session: dict[str, object]) -> list[str]:
    messages = session["messages"]
    assert isinstance(messages, list)
    assert len(messages) == session["total_messages"]
    assert session["total_tokens"] == len(messages) // _PAIR, "the totals match the messages"
    contents = [message["content"] for message in messages]
    appends = []
    for question, reply in zip(contents[::_PAIR], contents[1::_PAIR], strict=True):
        append = question.removesuffix(":asked")
        assert reply == f"{append}:answered{_PADDING}", "no append is torn"
        appends.append(append)
    _assert_order_of_each_writer(appends)
    return appends


def _assert_order_of_each_writer(appends: Sequence[str]) -> None:
    by_writer: dict[str, list[int]] = {}
    for append in appends:
        name, _, number = append.rpartition(":")
        by_writer.setdefault(name, []).append(int(number))
    for numbers in by_writer.values():
        assert numbers == sorted(numbers)
