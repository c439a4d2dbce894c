"""Parses tool calls in texts into ``tool_calls``, and matches results with their calls."""

import re
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from sessionary.cli.transfer.content import to_json
from sessionary.models import JsonObject

_TAGGED: Final = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_NAMES: Final = ("name", "function", "tool_name", "tool", "action")
_ARGUMENTS: Final = ("arguments", "parameters", "args", "input", "action_input", "kwargs")


class ToolCallTracker:
    """Tracks the calls of one conversation, gives them ids, and matches results with calls without a result."""

    def __init__(self) -> None:
        """Start without calls."""
        self._waiting: Final[deque[tuple[str, str | None]]] = deque()
        self._count = 0

    def parse_calls(self, value: Any) -> list[JsonObject] | None:
        """Parse a value as calls; None unless it consists of calls only."""
        calls = [self._call(candidate) for candidate in _candidates(value)]
        valid = [call for call in calls if call is not None]
        return valid if valid and len(valid) == len(calls) else None

    def expect_results(self, calls: Any) -> None:
        """Add calls that wait for their results."""
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict) and isinstance(call.get("id"), str):
                function = call.get("function")
                name = function.get("name") if isinstance(function, dict) else None
                self._waiting.append((call["id"], name if isinstance(name, str) else None))

    def match_result(self, name: Any = None, call_id: Any = None) -> str | None:
        """Return the id of a result's call: the one it names, or the oldest without a result."""
        found = next((candidate for candidate in self._waiting if candidate[0] == call_id), None) or next(
            (candidate for candidate in self._waiting if name and candidate[1] == name), None
        )
        if found is None and self._waiting and call_id is None:
            found = self._waiting[0]
        if found is not None:
            self._waiting.remove(found)
            return found[0]
        return None

    def make_call(self, name: str, arguments: Any, call_id: Any = None) -> JsonObject:
        """Build a call in the format of the Chat Completions API."""
        self._count += 1
        text = arguments if isinstance(arguments, str) else to_json({} if arguments is None else arguments)
        return {
            "id": call_id if isinstance(call_id, str) and call_id else f"call_{self._count}",
            "type": "function",
            "function": {"name": name, "arguments": text},
        }

    def _call(self, value: Any) -> JsonObject | None:
        if not isinstance(value, dict):
            return None
        inner = value.get("function")
        if isinstance(inner, dict):
            call = self._call(inner)
            if call is not None and isinstance(value.get("id"), str):
                call["id"] = value["id"]
            return call
        name = next((value[key] for key in _NAMES if isinstance(value.get(key), str) and value[key]), None)
        if name is None:
            return None
        arguments = next((value[key] for key in _ARGUMENTS if key in value), None)
        return self.make_call(name, arguments, value.get("id") or value.get("call_id"))


def _candidates(value: Any) -> Iterator[Any]:
    if isinstance(value, str):
        texts = _TAGGED.findall(value) if "<tool_call>" in value else [value]
        for text in texts:
            yield from _candidates(_decoded(text.strip()))
    elif isinstance(value, list):
        yield from value
    else:
        yield value


def _decoded(text: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return value if isinstance(value, dict | list) else None
