"""Calls of tools that stand in a text, as ``tool_calls``; and which result belongs to which call."""

import re
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from sessionary.cli.transfer.contents import written
from sessionary.models import JsonObject

_TAGGED: Final = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_NAMES: Final = ("name", "function", "tool_name", "tool", "action")
_ARGUMENTS: Final = ("arguments", "parameters", "args", "input", "action_input", "kwargs")


class Calls:
    """The calls of one conversation: each has an id, and results take the ids of the calls that wait for one."""

    def __init__(self) -> None:
        """Begin without calls."""
        self._waiting: Final[deque[tuple[str, str | None]]] = deque()
        self._made = 0

    def calls_in(self, value: Any) -> list[JsonObject] | None:
        """Read a value as calls; None if it holds none, or something else besides."""
        calls = [self._call(each) for each in _candidates(value)]
        whole = [call for call in calls if call is not None]
        return whole if whole and len(whole) == len(calls) else None

    def tagged_calls_in(self, text: str) -> list[JsonObject] | None:
        """Read what stands between tags in a text as calls."""
        return self.calls_in(text) if "<tool_call>" in text else None

    def wait(self, calls: Any) -> None:
        """Expect results of calls."""
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, dict) and isinstance(call.get("id"), str):
                function = call.get("function")
                name = function.get("name") if isinstance(function, dict) else None
                self._waiting.append((call["id"], name if isinstance(name, str) else None))

    def answered(self, name: Any = None, call_id: Any = None) -> str | None:
        """Name the call that a result belongs to: the one it names, or the oldest that waits."""
        found = next((each for each in self._waiting if each[0] == call_id), None) or next(
            (each for each in self._waiting if name and each[1] == name), None
        )
        if found is None and self._waiting and call_id is None:
            found = self._waiting[0]
        if found is not None:
            self._waiting.remove(found)
            return found[0]
        return None

    def made(self, name: str, arguments: Any, call_id: Any = None) -> JsonObject:
        """Make a call as the Chat Completions API writes one."""
        self._made += 1
        text = arguments if isinstance(arguments, str) else written({} if arguments is None else arguments)
        return {
            "id": call_id if isinstance(call_id, str) and call_id else f"call_{self._made}",
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
        return self.made(name, arguments, value.get("id") or value.get("call_id"))


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
