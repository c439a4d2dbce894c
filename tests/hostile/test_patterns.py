"""Every regular expression takes linear time in the length of its input, which callers, files and settings choose."""

import importlib
import pkgutil
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import sessionary
from sessionary.cli.transfer import json_brackets
from sessionary.cli.transfer.json_brackets import BracketTracker, is_complete_object
from sessionary.constants import HEADERS_BYTES_MAX
from sessionary.models import NO_CONTROLS
from sessionary.server.http.idempotency import KEY_PATTERN
from sessionary.server.http.preconditions import ETAGS_PATTERN

EXCEPTIONS = {
    "sessionary.cli.transfer.json_brackets._STRINGS.sub": "called only where each string is closed",
    "sessionary.cli.transfer.json_brackets._TOKENS.finditer": "called no further than to the first unclosed quote",
}
CPU_SECONDS_MAX = 2
"""Far more than linear work on these inputs takes on any machine, and far less than quadratic work."""

BEFORE = ["", '"a"', "application/json", "a/"]
UNITS = [
    *(" ", "\t", "\n", ",", ", ", " ,", " , ", '"', '""', "\\", '\\"', '"a",', '"a" ,\t', 'W/"', 'W/"a",', '"\\'),
    *(";", "; ", ";a=", "; charset=", "a", "a/", "/", "+json", "=", "%", "%2", ":", "://:", "@", "0", "-0", "~", "é"),
    *("--a=", "\\a", "a_", "}", "} ", "{", '"a":1,', "sny_", ".a", "[0]", " - at `$", "<tool_call>", "password=", "\0"),
]
AFTER = ["\0", " {"]
TEXTS = [
    before + unit * (HEADERS_BYTES_MAX // len(unit)) + after for before in BEFORE for unit in UNITS for after in AFTER
]


def patterns() -> Iterator[tuple[str, re.Pattern[Any], str]]:
    """Yield each compiled pattern of each module, with the methods that the module calls on it."""
    for module in pkgutil.walk_packages(sessionary.__path__, "sessionary."):
        if module.name == "sessionary.__main__":
            continue
        loaded = importlib.import_module(module.name)
        source = Path(str(loaded.__file__)).read_text(encoding="utf-8")
        for name, pattern in vars(loaded).items():
            if isinstance(pattern, re.Pattern):
                uses = re.findall(rf"\b{name}\.(fullmatch|match|search|sub|findall|finditer|split)\b", source)
                for use in sorted(set(uses) or {"fullmatch"}):
                    if f"{module.name}.{name}.{use}" in EXCEPTIONS:
                        continue
                    yield f"{module.name}.{name}.{use}", pattern, use
    for name, form in (("KEY_PATTERN", KEY_PATTERN), ("ETAGS_PATTERN", ETAGS_PATTERN), ("NO_CONTROLS", NO_CONTROLS)):
        yield name, re.compile(form), "search" if name == "NO_CONTROLS" else "fullmatch"


@contextmanager
def bounded_work(what: str) -> Iterator[None]:
    """Fail if the block takes more CPU time than linear work would."""

    def stop(*_: object) -> None:
        raise AssertionError(what)

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS_MAX)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def call_of(pattern: re.Pattern[Any], use: str) -> Callable[[Any], object]:
    if use == "sub":
        return lambda text: pattern.sub(text[:0], text)
    if use == "finditer":
        return lambda text: sum(1 for _ in pattern.finditer(text))
    method: Callable[[Any], object] = getattr(pattern, use)
    return method


@pytest.mark.parametrize(("pattern", "use"), [pytest.param(found, use, id=name) for name, found, use in patterns()])
def test_a_pattern_takes_linear_time(pattern: re.Pattern[Any], use: str) -> None:
    run = call_of(pattern, use)
    for text in TEXTS:
        with bounded_work(ascii((text[:40], text[-4:]))):
            run(text.encode("latin-1") if isinstance(pattern.pattern, bytes) else text)


def test_an_outline_takes_linear_time() -> None:
    for text in TEXTS:
        line = b"{" + text.encode() + b"}"
        with bounded_work(ascii((text[:40], text[-4:]))):
            is_complete_object(line)
            BracketTracker().add_line(line)


def test_every_exception_is_needed() -> None:
    named = {f"sessionary.cli.transfer.json_brackets.{name}" for name in vars(json_brackets)}
    assert {name.rpartition(".")[0] for name in EXCEPTIONS} <= named
