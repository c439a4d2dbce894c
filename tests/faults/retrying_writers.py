"""Writers that take no for an answer from nobody: each request is repeated under its key until it is answered."""

import contextlib
import http.client
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Self

from tests.e2e.api_client import ApiClient, Response, user_messages
from tests.faults.soak import note
from tests.harness.processes import tail
from tests.harness.server import ServerProcess
from tests.harness.waiting import Deadline, poll

# Every so many requests one begins a session instead of appending a turn.
_CREATES_EVERY = 6
_SESSIONS = 3
_SECONDS_MAX = 60
_PAUSE = 0.01
# Long enough to reach over a page of every database: a turn torn there is seen.
_PADDING = "." * 3_000
# Of a refusal with one of these the same request may be repeated.
_PASSING = frozenset({409, 503})


class Writer:
    """Makes numbered requests one after another, at one server until it fails and then at the next."""

    def __init__(self, name: str, callers: Sequence[ApiClient], sessions: Sequence[str]) -> None:
        self.name = name
        self.acknowledged = 0
        self.repeated = 0
        self.replayed = 0
        self.unexpected: list[str] = []
        self._callers = callers
        self._turn = 0
        self._sessions = sessions
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def tell_to_stop(self) -> None:
        """Let the request under way be answered, and make no other."""
        self._stopped.set()

    def wait(self) -> None:
        """Return when the last request is answered."""
        self._thread.join(timeout=_SECONDS_MAX + 10)
        assert not self._thread.is_alive()
        for api in self._callers:
            api.close()

    def appended_to(self, session: str) -> list[int]:
        """Tell which of the requests answered so far appended to a session, in their order."""
        return [n for n in range(self.acknowledged) if not _creates(n) and self._place_of(n) == session]

    def begun(self) -> list[str]:
        """Tell for whom the requests answered so far began sessions."""
        return [f"{self.name}:{n}" for n in range(self.acknowledged) if _creates(n)]

    def _place_of(self, number: int) -> str:
        return self._sessions[number % len(self._sessions)]

    def _run(self) -> None:
        while not self._stopped.is_set() and not self.unexpected:
            self._insist(self.acknowledged)
            self.acknowledged += 1

    def _insist(self, number: int) -> None:
        deadline = Deadline(_SECONDS_MAX)
        while not deadline.passed:
            with contextlib.suppress(OSError, http.client.HTTPException):
                response = self._request(self._callers[self._turn % len(self._callers)], number)
                if response.status in {200, 201}:
                    self.replayed += response.headers["Idempotent-Replayed"] == "true"
                    return
                if response.status not in _PASSING:
                    self.unexpected.append(f"{self.name}:{number}: {response.status} {response.body[:200]!r}")
                    return
            self.repeated += 1
            self._turn += 1
            self._stopped.wait(_PAUSE)
        self.unexpected.append(f"{self.name}:{number}: no answer in {_SECONDS_MAX} s")

    def _request(self, api: ApiClient, number: int) -> Response:
        turn = f"{self.name}:{number}"
        key = {"Idempotency-Key": f'"{turn}"'}
        messages = user_messages(f"{turn}:asked", f"{turn}:answered{_PADDING}")
        if _creates(number):
            return api.call("POST", api.path, {"userId": turn, "initialMessages": messages}, key)
        body = {"newMessages": messages, "tokensUsed": 1}
        return api.call("PUT", f"{api.path}/{self._place_of(number)}", body, key)


class Load:
    """Writers over several connections at once, in an organisation of their own; use it with `with`.

    At the end of the block every request has been answered.
    """

    def __init__(self, servers: Sequence[ServerProcess], token: str, organisation: str, writers: int = 6) -> None:
        self.organisation = organisation
        self._servers = servers
        self._token = token
        with self._caller(servers[0]) as api:
            self.sessions = [api.create() for _ in range(_SESSIONS)]
        self.writers = [self._writer(number) for number in range(writers)]

    def __enter__(self) -> Self:
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self.writers:
            writer.tell_to_stop()
        for writer in self.writers:
            writer.wait()

    @property
    def acknowledged(self) -> int:
        """How many requests were answered with success."""
        return sum(writer.acknowledged for writer in self.writers)

    def wait_for_more(self, count: int, seconds: float = 30) -> None:
        """Return when so many requests more have been acknowledged."""
        wanted = self.acknowledged + count

        def enough() -> bool:
            assert not self._unexpected(), self._unexpected()[:3]
            return self.acknowledged >= wanted

        try:
            poll(enough, f"{count} acknowledged requests", seconds=seconds, pause=0.002)
        except AssertionError as error:
            raise AssertionError("\n".join([f"{error}", *(tail(server.log) for server in self._servers)])) from error

    def assert_exactly_once(self, server: ServerProcess) -> None:
        """Check that every request had one effect, whole, and each writer's turns stand in their order, gap-free."""
        assert self._unexpected() == []
        with self._caller(server) as api:
            stored = {session: _turns_in(api.get(session)) for session in self.sessions}
            begun = Counter(user for user in _users(api) if ":" in user)
        for writer in self.writers:
            for session in self.sessions:
                # Equal lists: none is lost, none doubled, none out of order and none from nowhere.
                assert stored[session].get(writer.name, []) == writer.appended_to(session), writer.name
        assert begun == Counter(user for writer in self.writers for user in writer.begun())

    def _unexpected(self) -> list[str]:
        return [wrong for writer in self.writers for wrong in writer.unexpected]

    def _caller(self, server: ServerProcess) -> ApiClient:
        return ApiClient(server.base_url, self._token, organisation=self.organisation)

    def _writer(self, number: int) -> Writer:
        first, place = number % len(self._servers), number % len(self.sessions)
        callers = [self._caller(server) for server in (*self._servers[first:], *self._servers[:first])]
        return Writer(f"{number}", callers, [*self.sessions[place:], *self.sessions[:place]])


def note_loads(loads: Sequence[Load], **figures: object) -> None:
    """Write down how much the writers did and suffered, once it was checked."""
    writers = [writer for load in loads for writer in load.writers]
    note(
        acknowledged=sum(writer.acknowledged for writer in writers),
        repeated=sum(writer.repeated for writer in writers),
        replayed=sum(writer.replayed for writer in writers),
        **{"lost, doubled or out of order": 0},
        **figures,
    )


def _creates(number: int) -> bool:
    return number % _CREATES_EVERY == 0


def _turns_in(session: dict[str, Any]) -> dict[str, list[int]]:
    messages = [message["content"] for message in session["messages"]]
    assert len(messages) == session["total_messages"] == 2 * session["total_tokens"], (
        "the totals are those of the turns"
    )
    turns: dict[str, list[int]] = {}
    for asked, answered in zip(messages[::2], messages[1::2], strict=True):
        turn = asked.removesuffix(":asked")
        assert answered == f"{turn}:answered{_PADDING}", "no turn is torn"
        name, _, number = turn.rpartition(":")
        turns.setdefault(name, []).append(int(number))
    return turns


def _users(api: ApiClient) -> Iterator[str]:
    """Whose sessions are listed, page by page, by the offset: nobody writes meanwhile."""
    offset = 0
    while page := api.call("GET", f"{api.path}?limit=100&offset={offset}").expect(200).json:
        for session in page:
            yield session["user_id"]
        offset += len(page)
