"""What is remembered of lost answers: few, not for long, and each organisation's apart."""

import asyncio

from sessionary.server.http.responses import Reply
from sessionary.server.http.undelivered import REMEMBERED_SECONDS, Change, Delivery, Undelivered


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def lose(memory: Undelivered, organisation: str, request: bytes, reply: Reply | None) -> Change:
    """Begin a change, lose its connection, and answer it."""
    change, delivery = Change(organisation, ("token",), (request,)), Delivery()
    memory.begin(change, delivery)
    delivery.is_lost = True
    memory.remember(change)
    memory.answer(change, delivery, reply)
    return change


async def repeat(memory: Undelivered, organisation: str, request: bytes) -> Reply | None:
    change, delivery = Change(organisation, ("token",), (request,)), Delivery()
    memory.begin(change, delivery)
    return await memory.earlier_reply(change, delivery)


def answer(text: bytes = b"{}") -> Reply:
    return Reply(200, text, [])


async def test_it_is_kept_for_a_minute() -> None:
    clock = Clock()
    memory = Undelivered(clock)
    lose(memory, "acme", b"one", answer())
    lose(memory, "acme", b"two", answer())
    clock.now = REMEMBERED_SECONDS - 0.1
    assert await repeat(memory, "acme", b"one") is not None
    clock.now = REMEMBERED_SECONDS
    assert await repeat(memory, "acme", b"two") is None
    memory.forget_old()
    assert memory.count == 0


async def test_the_oldest_of_an_organisation_is_forgotten_for_its_newest_and_no_other_ones() -> None:
    memory = Undelivered(Clock(), most=10, most_of_one=3)
    lose(memory, "quiet", b"kept", answer())
    for number in range(20):
        lose(memory, "loud", b"%d" % number, answer())
    assert memory.count == 4
    assert await repeat(memory, "loud", b"16") is None
    assert await repeat(memory, "loud", b"17") is not None
    assert await repeat(memory, "quiet", b"kept") is not None


async def test_where_there_is_no_room_at_all_who_has_most_loses_its_oldest() -> None:
    memory = Undelivered(Clock(), most=4, most_of_one=3)
    lose(memory, "quiet", b"kept", answer())
    for organisation in ("a", "b"):
        for number in range(3):
            lose(memory, organisation, b"%d" % number, answer())
    assert memory.count == 4
    assert await repeat(memory, "quiet", b"kept") is not None


async def test_what_had_no_effect_and_what_is_long_is_not_kept() -> None:
    memory = Undelivered(Clock())
    lose(memory, "acme", b"refused", None)
    lose(memory, "acme", b"long", answer(b"x" * 5_000))
    assert memory.count == 0
    assert await repeat(memory, "acme", b"refused") is None


async def test_a_repeat_waits_until_the_first_is_decided_and_then_is_applied_if_that_had_no_effect() -> None:
    memory = Undelivered(Clock())
    for reply in (None, answer()):
        first, lost = Change("acme", ("token",), (b"one",)), Delivery()
        memory.begin(first, lost)
        lost.is_lost = True
        memory.remember(first)
        waiting = asyncio.create_task(repeat(memory, "acme", b"one"))
        await asyncio.sleep(0)
        assert not waiting.done()
        memory.answer(first, lost, reply)
        given = await waiting
        assert (given is None) == (reply is None)


async def test_lost_repeats_that_wait_for_each_other_all_end() -> None:
    memory = Undelivered(Clock())
    first, lost = Change("acme", ("token",), (b"one",)), Delivery()
    memory.begin(first, lost)
    lost.is_lost = True
    memory.remember(first)
    waiting = []
    for _ in range(3):
        change, delivery = Change("acme", ("token",), (b"one",)), Delivery()
        memory.begin(change, delivery)
        delivery.is_lost = True
        waiting.append(asyncio.create_task(earlier_and_answer(memory, change, delivery)))
        await asyncio.sleep(0)
    memory.answer(first, lost, None)
    async with asyncio.timeout(30):
        assert [reply is None for reply in await asyncio.gather(*waiting)] == [True, False, False]


async def earlier_and_answer(memory: Undelivered, change: Change, delivery: Delivery) -> Reply | None:
    reply = await memory.earlier_reply(change, delivery)
    memory.answer(change, delivery, reply or answer())
    return reply
