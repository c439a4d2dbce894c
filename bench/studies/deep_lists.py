"""Whether a list costs more in a larger organisation, or on a deeper page."""

from __future__ import annotations

import http.client
import re
from itertools import product
from typing import TYPE_CHECKING

from bench.contenders.base import Load
from bench.contenders.rows import Batch
from bench.contenders.sessionary import Sessionary
from bench.contenders.workspace import ARCHIVE
from bench.workloads.reads import PAGE, Pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.comparing import Stage
    from bench.results import Cell

SIZES = (1_000, 10_000, 100_000)
ATTEMPTS = 10
SECONDS = 0.3
CURSOR = re.compile(r"[?&]cursor=([^&>]+)")


def study_deep_lists(stage: Stage) -> Iterator[list[Cell]]:
    """List the first page, the deepest by cursor and the deepest by offset, in organisations of many sizes."""
    largest = stage.plan.scale.archive_sessions
    sizes = [size for size in SIZES if size < largest]
    for contender in stage.contenders:
        if not isinstance(contender, Sessionary) or contender.processes > 1:
            continue
        stage.progress.say(f"organisations of {', '.join(map(str, sizes))} sessions on {contender.name}")
        contender.load(*(Batch(_organisation(size, largest), size) for size in sizes))
        turns = []
        for kind, size in product(("first", "cursor", "offset"), (*sizes, largest)):
            name = f"page-{kind}@{size}"
            contender.adopt(name, _pages(contender, _organisation(size, largest), size, kind))
            turns.append((contender, Load(name, 1, SECONDS)))
        yield stage.alternate(turns)


def _organisation(size: int, largest: int) -> str:
    return ARCHIVE if size == largest else f"of-{size}"


def _pages(contender: Sessionary, organisation: str, size: int, kind: str) -> Pages:
    dialect = contender.speaking_for(organisation)
    queries: dict[str, dict[str, str]] = {"first": {}, "offset": {"offset": str(size - PAGE)}}
    if kind == "cursor":
        # The page before the last contains the cursor of the last.
        before = dialect.list_page(limit=str(PAGE), offset=str(size - 2 * PAGE))
        queries["cursor"] = {"cursor": _next_cursor(contender.servers[0].address, before)}
    pages = Pages(contender.service())
    pages.expect_pages([dialect.list_page(limit=str(PAGE), **queries[kind])])
    return pages


def _next_cursor(address: tuple[str, int], request: bytes) -> str:
    method, target, _ = request.decode().split(" ", 2)
    headers = dict(line.split(": ", 1) for line in request.decode().split("\r\n")[1:] if ": " in line)
    link, attempts = "", 0
    while not link and attempts < ATTEMPTS:
        # Skipping a million rows that are not in memory yet may take longer than a server allows.
        attempts += 1
        connection = http.client.HTTPConnection(*address)
        connection.request(method, target, headers=headers)
        response = connection.getresponse()
        link = response.getheader("Link", "")
        connection.close()
    found = CURSOR.search(link)
    if found is None:
        raise RuntimeError(f"no cursor in the Link {link!r}")
    return found[1]
