"""Organisations are served round robin: a flood is refused, others are not and wait for a bounded number of batches."""

import asyncio
from collections.abc import Sequence

import pytest

from sessionary.errors import OverloadedError, SessionaryError
from sessionary.server.store.batching import Batcher, BatcherLimits
from tests.harness.virtual_time import on_virtual_time

Item = tuple[str, int]
Answer = Item | SessionaryError
Echoes = Batcher[Item, Item]

BATCH_MAX = 4


class Echo:
    """Answers each item with itself, one batch at a time, each taking `seconds` or until its gate opens."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.gate = asyncio.Event()
        self.started = asyncio.Event()
        self.batches: list[list[Item]] = []
        self._seconds = seconds

    async def __call__(self, items: Sequence[Item]) -> list[Answer]:
        self.batches.append(list(items))
        self.started.set()
        await self.gate.wait()
        if self._seconds:
            await asyncio.sleep(self._seconds)
        return list(items)

    def batch_number(self, item: Item) -> int:
        """Count the batches before the one that held the item, including the one that ran when the item was put."""
        return next(number for number, batch in enumerate(self.batches) if item in batch)


def batcher_of(
    run: Echo, *, batch_max: int = BATCH_MAX, batch_bytes_max: int = 1_000, waiting_max: int = 100, seconds: float = 30
) -> Echoes:
    return Batcher(run, BatcherLimits(waiting_max, 10_000, batch_max, batch_bytes_max, seconds))


def flood(batcher: Echoes, organisation: str, count: int = 1_000, size: int = 0) -> list[asyncio.Future[Answer]]:
    """Put as many items of one organisation as are taken."""
    taken: list[asyncio.Future[Answer]] = []
    try:
        for number in range(count):
            taken.append(batcher.put((organisation, number), size, organisation))  # noqa: PERF401 - what was taken before it raised counts
    except OverloadedError:
        return taken
    return taken


async def block(run: Echo, batcher: Echoes) -> asyncio.Future[Answer]:
    """Let a first batch run, and stay, so that everything else waits."""
    first = batcher.put(("first", 0), 0, "first")
    await run.started.wait()
    return first


@on_virtual_time
async def test_organisations_are_served_round_robin_and_each_keeps_its_order() -> None:
    run = Echo()
    batcher = batcher_of(run, batch_max=3)
    first = await block(run, batcher)

    results = [
        batcher.put((organisation, number), 0, organisation) for organisation in ("a", "b") for number in range(4)
    ]
    run.gate.set()
    await asyncio.gather(first, *results)

    assert [organisation for batch in run.batches[1:] for organisation, _ in batch] == list("abababab")
    for organisation in ("a", "b"):
        numbers = [number for batch in run.batches for name, number in batch if name == organisation]
        assert numbers == list(range(4))


@on_virtual_time
async def test_a_quiet_organisation_runs_in_the_next_batch_whatever_is_waiting() -> None:
    run = Echo()
    batcher = batcher_of(run)
    first = await block(run, batcher)
    flooding = flood(batcher, "loud")

    quiet = batcher.put(("quiet", 0), 0, "quiet")
    run.gate.set()
    await asyncio.gather(first, quiet, *flooding)

    assert len(flooding) > 10 * BATCH_MAX
    assert run.batch_number(("quiet", 0)) == 1


@on_virtual_time
async def test_a_quiet_organisation_waits_for_at_most_one_batch_of_large_items() -> None:
    run = Echo()
    batcher = batcher_of(run, batch_bytes_max=1_000)
    first = await block(run, batcher)
    flooding = flood(batcher, "loud", size=900)

    quiet = batcher.put(("quiet", 0), 200, "quiet")
    run.gate.set()
    await asyncio.gather(first, quiet, *flooding)

    assert len(flooding) > BATCH_MAX
    assert run.batch_number(("quiet", 0)) == 2


@pytest.mark.parametrize("loud_ones", [1, 2, 10, 40])
@on_virtual_time
async def test_a_quiet_organisation_waits_for_one_item_of_each_other_organisation(loud_ones: int) -> None:
    run = Echo()
    batcher = batcher_of(run, waiting_max=1_000)
    first = await block(run, batcher)
    flooding = [result for number in range(loud_ones) for result in flood(batcher, f"loud-{number}")]

    quiet = batcher.put(("quiet", 0), 0, "quiet")
    run.gate.set()
    await asyncio.gather(first, quiet, *flooding)

    assert len(flooding) > loud_ones
    assert run.batch_number(("quiet", 0)) <= 1 + loud_ones // BATCH_MAX


@on_virtual_time
async def test_a_flood_that_never_ends_never_refuses_or_delays_a_quiet_organisation() -> None:
    run = Echo()
    run.gate.set()
    batcher = batcher_of(run)
    refused = 0

    async def pour() -> None:
        nonlocal refused
        while True:
            flood(batcher, "loud")
            refused += 1
            await asyncio.sleep(0)

    pouring = asyncio.create_task(pour())
    await asyncio.sleep(0)
    for number in range(300):
        ran_before = len(run.batches)
        assert await batcher.put(("quiet", number), 0, "quiet") == ("quiet", number)
        assert run.batch_number(("quiet", number)) - ran_before <= 1
    pouring.cancel()
    await batcher.drain()

    assert refused > 300


@pytest.mark.parametrize("loud_ones", [1, 2, 5, 10])
@on_virtual_time
async def test_floods_leave_room_for_others(loud_ones: int) -> None:
    run = Echo()
    batcher = batcher_of(run)
    first = await block(run, batcher)

    flooding = [result for number in range(loud_ones) for result in flood(batcher, f"loud-{number}")]
    quiet = batcher.put(("quiet", 0), 0, "quiet")

    assert 70 <= len(flooding) < 100
    with pytest.raises(OverloadedError):
        batcher.put(("loud-0", -1), 0, "loud-0")
    run.gate.set()
    assert await quiet == ("quiet", 0)
    await asyncio.gather(first, *flooding)


@on_virtual_time
async def test_a_flood_of_bytes_leaves_bytes_for_others() -> None:
    run = Echo()
    batcher = batcher_of(run)
    first = await block(run, batcher)

    flooding = flood(batcher, "loud", size=500)
    quiet = batcher.put(("quiet", 0), 2_000, "quiet")

    assert len(flooding) == 14
    run.gate.set()
    await asyncio.gather(first, quiet, *flooding)


@on_virtual_time
async def test_what_would_wait_too_long_is_refused_at_once_and_a_quiet_organisation_is_not() -> None:
    run = Echo(seconds=0.05)
    run.gate.set()
    batcher = batcher_of(run, batch_max=1, seconds=3)
    for number in range(8):
        await batcher.put(("loud", number), 0, "loud")

    flooding = flood(batcher, "loud")
    quiet = batcher.put(("quiet", 0), 0, "quiet")

    assert 3 <= len(flooding) <= 9, "a tenth of the time is good for six"
    began = asyncio.get_running_loop().time()
    assert await quiet == ("quiet", 0)
    assert run.batch_number(("quiet", 0)) == 8 + 1
    assert (await asyncio.gather(*flooding))[-1] == ("loud", len(flooding) - 1)
    assert asyncio.get_running_loop().time() - began < 1


@on_virtual_time
async def test_one_that_would_be_late_anyway_is_refused_at_once() -> None:
    run = Echo(seconds=0.1)
    run.gate.set()
    batcher = batcher_of(run, batch_max=1, seconds=2)
    for number in range(8):
        await batcher.put(("loud", number), 0, "loud")
    waiting = [batcher.put((f"quiet-{number}", 0), 0, f"quiet-{number}") for number in range(4)]

    with pytest.raises(OverloadedError):
        waiting += [batcher.put((f"quiet-{number}", 0), 0, f"quiet-{number}") for number in range(4, 40)]

    assert [result for result in await asyncio.gather(*waiting) if isinstance(result, OverloadedError)] == []


@on_virtual_time
async def test_while_a_batch_hangs_new_items_are_refused() -> None:
    run = Echo()
    batcher = batcher_of(run, seconds=1)
    first = await block(run, batcher)
    early = flood(batcher, "loud", BATCH_MAX + 1)
    await asyncio.sleep(0.2)

    with pytest.raises(OverloadedError):
        batcher.put(("loud", -1), 0, "loud")

    run.gate.set()
    await asyncio.gather(first, *early)


@on_virtual_time
async def test_late_items_of_every_organisation_are_refused_and_others_are_not() -> None:
    run = Echo()
    batcher = batcher_of(run, batch_max=1, seconds=2)
    first = await block(run, batcher)
    late = [batcher.put((organisation, 0), 0, organisation) for organisation in ("a", "b", "c")]
    await asyncio.sleep(0.5)
    in_time = [batcher.put((organisation, 0), 0, organisation) for organisation in ("d", "e")]

    refused = await asyncio.gather(*late)
    run.gate.set()

    assert all(isinstance(result, OverloadedError) for result in refused)
    assert await asyncio.gather(*in_time) == [("d", 0), ("e", 0)]
    assert first.done()


@on_virtual_time
async def test_late_items_are_found_repeatedly() -> None:
    run = Echo()
    batcher = batcher_of(run, batch_max=1, seconds=0.4)
    first = await block(run, batcher)
    late: list[asyncio.Future[Answer]] = []
    for number in range(20):
        late.append(batcher.put((f"organisation-{number}", 0), 0, f"organisation-{number}"))
        await asyncio.sleep(0.005)

    async with asyncio.timeout(5):
        refused = await asyncio.gather(*late[:-1])

    assert sum(isinstance(result, OverloadedError) for result in refused) >= len(refused) - 1
    run.gate.set()
    await asyncio.gather(first, late[-1])
