"""Every study by its name, in the order of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.studies.conversations import study_long_conversations
from bench.studies.deep_lists import study_deep_lists
from bench.studies.footprint import study_disk, study_memory
from bench.studies.races import study_races
from bench.studies.starting import study_starting
from bench.studies.sweeping import study_sweeping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.comparing import Stage
    from bench.results import Cell, Finding

STUDIES: dict[str, Callable[[Stage], Iterator[Finding | list[Cell]]]] = {
    "race": study_races,
    "conversations": study_long_conversations,
    "pages": study_deep_lists,
    "disk": study_disk,
    "starting": study_starting,
    "sweeping": study_sweeping,
    "memory": study_memory,
}
