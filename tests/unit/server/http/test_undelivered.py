"""The memory for lost responses: bounded in number, size and time, and kept apart by organisation."""

import asyncio

import pytest

from sessionary.server.http.responses import Response
from sessionary.server.http.undelivered import REMEMBERED_SECONDS, Change, Delivery, UndeliveredResponses


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def undelivered(clock: Clock) -> UndeliveredResponses:
    return UndeliveredResponses(clock)


def start(undelivered: UndeliveredResponses, organisation: str, request: bytes) -> tuple[Change, Delivery]:
    change, delivery = Change(organisation, ("token",), (request,)), Delivery()
    undelivered.track(change, delivery)
    return change, delivery


def start_and_lose_connection(
    undelivered: UndeliveredResponses, organisation: str, request: bytes
) -> tuple[Change, Delivery]:
    change, delivery = start(undelivered, organisation, request)
    delivery.is_lost = True
    undelivered.remember(change)
    return change, delivery


def lose(undelivered: UndeliveredResponses, organisation: str, request: bytes, response: Response | None) -> None:
    change, delivery = start_and_lose_connection(undelivered, organisation, request)
    undelivered.record_response(change, delivery, response)


async def repeat(undelivered: UndeliveredResponses, organisation: str, request: bytes) -> Response | None:
    return await undelivered.take_earlier_response(*start(undelivered, organisation, request))


def make_response(body: bytes = b"{}") -> Response:
    return Response(200, body, [])


async def test_a_lost_response_is_remembered_for_a_minute(clock: Clock, undelivered: UndeliveredResponses) -> None:
    lose(undelivered, "acme", b"one", make_response())
    lose(undelivered, "acme", b"two", make_response())
    clock.now = REMEMBERED_SECONDS - 0.1
    assert await repeat(undelivered, "acme", b"one") is not None
    clock.now = REMEMBERED_SECONDS
    assert await repeat(undelivered, "acme", b"two") is None
    undelivered.forget_expired()
    assert undelivered.count == 0


async def test_a_full_organisation_forgets_its_own_oldest_change() -> None:
    undelivered = UndeliveredResponses(Clock(), remembered_max=10, per_organisation_max=3)
    lose(undelivered, "quiet", b"kept", make_response())
    for number in range(20):
        lose(undelivered, "loud", b"%d" % number, make_response())
    assert undelivered.count == 4
    assert await repeat(undelivered, "loud", b"16") is None
    assert await repeat(undelivered, "loud", b"17") is not None
    assert await repeat(undelivered, "quiet", b"kept") is not None


async def test_a_full_memory_forgets_the_oldest_change_of_the_largest_organisation() -> None:
    undelivered = UndeliveredResponses(Clock(), remembered_max=4, per_organisation_max=3)
    lose(undelivered, "quiet", b"kept", make_response())
    for organisation in ("a", "b"):
        for number in range(3):
            lose(undelivered, organisation, b"%d" % number, make_response())
    assert undelivered.count == 4
    assert await repeat(undelivered, "quiet", b"kept") is not None


async def test_changes_without_effect_and_long_responses_are_not_remembered(undelivered: UndeliveredResponses) -> None:
    lose(undelivered, "acme", b"refused", None)
    lose(undelivered, "acme", b"long", make_response(b"x" * 5_000))
    assert undelivered.count == 0
    assert await repeat(undelivered, "acme", b"refused") is None


@pytest.mark.parametrize("response", [None, make_response()], ids=["without-effect", "with-response"])
async def test_a_repeat_waits_for_the_first_and_is_applied_if_that_had_no_effect(
    response: Response | None, undelivered: UndeliveredResponses
) -> None:
    first, lost = start_and_lose_connection(undelivered, "acme", b"one")
    waiting = asyncio.create_task(repeat(undelivered, "acme", b"one"))
    await asyncio.sleep(0)
    assert not waiting.done()
    undelivered.record_response(first, lost, response)
    assert (await waiting is None) == (response is None)


async def test_lost_repeats_that_wait_for_each_other_all_end(undelivered: UndeliveredResponses) -> None:
    first, lost = start_and_lose_connection(undelivered, "acme", b"one")
    waiting = []
    for _ in range(3):
        change, delivery = start(undelivered, "acme", b"one")
        delivery.is_lost = True
        waiting.append(asyncio.create_task(take_and_record(undelivered, change, delivery)))
        await asyncio.sleep(0)
    undelivered.record_response(first, lost, None)
    async with asyncio.timeout(30):
        assert [response is None for response in await asyncio.gather(*waiting)] == [True, False, False]


async def take_and_record(undelivered: UndeliveredResponses, change: Change, delivery: Delivery) -> Response | None:
    response = await undelivered.take_earlier_response(change, delivery)
    undelivered.record_response(change, delivery, response or make_response())
    return response
