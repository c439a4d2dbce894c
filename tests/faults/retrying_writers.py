"""Writers that repeat each request with its idempotency key until it is acknowledged."""

import contextlib
import http.client
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Self

from tests.e2e.api_client import ApiClient, Response, user_messages
from tests.faults.soak import log_figures
from tests.harness.processes import tail
from tests.harness.server import ServerProcess
from tests.harness.waiting import Deadline, poll

# One of this many requests creates a session instead of appending messages.
_CREATES_EVERY = 6
_SESSIONS = 3
_SECONDS_MAX = 60
_PAUSE = 0.01
# Longer than a page of every database, so that an append that is torn at a page is detected.
_PADDING = "." * 3_000
# After one of these statuses the same request may be repeated.
_PASSING = frozenset({409, 503})


class Writer:
    """Sends numbered requests one after another, to one server until it fails and then to the next."""

    def __init__(self, name: str, apis: Sequence[ApiClient], sessions: Sequence[str]) -> None:
        self.name = name
        self.acknowledged = 0
        self.repeated = 0
        self.replayed = 0
        self.unexpected: list[str] = []
        self._apis = apis
        self._turn = 0
        self._sessions = sessions
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def request_stop(self) -> None:
        """Send no new request after the current one."""
        self._stopped.set()

    def wait(self) -> None:
        """Wait until the last request is answered."""
        self._thread.join(timeout=_SECONDS_MAX + 10)
        assert not self._thread.is_alive()
        for api in self._apis:
            api.close()

    def appended_to(self, session: str) -> list[int]:
        """Return the numbers of the answered requests that appended to a session, in order."""
        return [n for n in range(self.acknowledged) if not _creates(n) and self._session_for(n) == session]

    def created_users(self) -> list[str]:
        """Return the users for whom the answered requests created sessions."""
        return [f"{self.name}:{n}" for n in range(self.acknowledged) if _creates(n)]

    def _session_for(self, number: int) -> str:
        return self._sessions[number % len(self._sessions)]

    def _run(self) -> None:
        while not self._stopped.is_set() and not self.unexpected:
            self._send_until_answered(self.acknowledged)
            self.acknowledged += 1

    def _send_until_answered(self, number: int) -> None:
        deadline = Deadline(_SECONDS_MAX)
        while not deadline.passed:
            with contextlib.suppress(OSError, http.client.HTTPException):
                response = self._request(self._apis[self._turn % len(self._apis)], number)
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
        append = f"{self.name}:{number}"
        key = {"Idempotency-Key": f'"{append}"'}
        messages = user_messages(f"{append}:asked", f"{append}:answered{_PADDING}")
        if _creates(number):
            return api.call("POST", api.path, {"userId": append, "initialMessages": messages}, key)
        body = {"newMessages": messages, "tokensUsed": 1}
        return api.call("PUT", f"{api.path}/{self._session_for(number)}", body, key)


class Load:
    """Several concurrent writers in a new organisation; use it with `with`.

    At the end of the block every request has been answered.
    """

    def __init__(self, servers: Sequence[ServerProcess], token: str, organisation: str, writers: int = 6) -> None:
        self.organisation = organisation
        self._servers = servers
        self._token = token
        with self._api(servers[0]) as api:
            self.sessions = [api.create() for _ in range(_SESSIONS)]
        self.writers = [self._writer(number) for number in range(writers)]

    def __enter__(self) -> Self:
        for writer in self.writers:
            writer.start()
        return self

    def __exit__(self, *_: object) -> None:
        for writer in self.writers:
            writer.request_stop()
        for writer in self.writers:
            writer.wait()

    @property
    def acknowledged(self) -> int:
        """The number of requests that succeeded."""
        return sum(writer.acknowledged for writer in self.writers)

    def wait_for_more(self, count: int, seconds: float = 30) -> None:
        """Wait until ``count`` more requests have been acknowledged."""
        wanted = self.acknowledged + count

        def enough() -> bool:
            assert not self._unexpected(), self._unexpected()[:3]
            return self.acknowledged >= wanted

        try:
            poll(enough, f"{count} acknowledged requests", seconds=seconds, pause=0.002)
        except AssertionError as error:
            raise AssertionError("\n".join([f"{error}", *(tail(server.log) for server in self._servers)])) from error

    def assert_exactly_once(self, server: ServerProcess) -> None:
        """Check that every request had exactly one effect, and that the appends of each writer are complete and in order."""
        assert self._unexpected() == []
        with self._api(server) as api:
            stored = {session: _appends_in(api.get(session)) for session in self.sessions}
            created_users = Counter(user for user in _users(api) if ":" in user)
        for writer in self.writers:
            for session in self.sessions:
                # Equal lists: no append is lost, doubled, out of order or unexpected.
                assert stored[session].get(writer.name, []) == writer.appended_to(session), writer.name
        assert created_users == Counter(user for writer in self.writers for user in writer.created_users())

    def _unexpected(self) -> list[str]:
        return [wrong for writer in self.writers for wrong in writer.unexpected]

    def _api(self, server: ServerProcess) -> ApiClient:
        return ApiClient(server.base_url, self._token, organisation=self.organisation)

    def _writer(self, number: int) -> Writer:
        first, start = number % len(self._servers), number % len(self.sessions)
        apis = [self._api(server) for server in (*self._servers[first:], *self._servers[:first])]
        return Writer(f"{number}", apis, [*self.sessions[start:], *self.sessions[:start]])


def note_loads(loads: Sequence[Load], **figures: object) -> None:
    """Log the figures of the writers, after their results were checked."""
    writers = [writer for load in loads for writer in load.writers]
    log_figures(
        acknowledged=sum(writer.acknowledged for writer in writers),
        repeated=sum(writer.repeated for writer in writers),
        replayed=sum(writer.replayed for writer in writers),
        **{"lost, doubled or out of order": 0},
        **figures,
    )


def _creates(number: int) -> bool:
    return number % _CREATES_EVERY == 0


def _appends_in(session: dict[str, Any]) -> dict[str, list[int]]:
    messages = [message["content"] for message in session["messages"]]
    assert len(messages) == session["total_messages"] == 2 * session["total_tokens"], "the totals match the messages"
    appends: dict[str, list[int]] = {}
    for question, reply in zip(messages[::2], messages[1::2], strict=True):
        append = question.removesuffix(":asked")
        assert reply == f"{append}:answered{_PADDING}", "no append is torn"
        name, _, number = append.rpartition(":")
        appends.setdefault(name, []).append(int(number))
    return appends


def _users(api: ApiClient) -> Iterator[str]:
    """Yield the users of all sessions, page by page; offsets are safe because nobody writes meanwhile."""
    offset = 0
    while page := api.call("GET", f"{api.path}?limit=100&offset={offset}").expect(200).json:
        for session in page:
            yield session["user_id"]
        offset += len(page)
