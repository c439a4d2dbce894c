"""Sample sessions of every kind, as lines of an export."""

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_SERVER_TIMES = ("updated_at", "expires_at")
_TEXTS = [
    "Hello",
    "How do I reset my password?",
    "Γειά,\nεδώ",
    "你好 🙂",
    "NUL \0 inside",
    "",
    "<b>&amp;</b>\u2028\u200b",
    "x" * 2_000,
]
_VALUES: list[Any] = [
    "text",
    1,
    -(2**63),
    2**64 - 1,
    1.5,
    1e300,
    True,
    None,
    [],
    {},
    [1, {"a": None}],
    {"z": {"y": "🙂"}},
]


def session(number: int) -> dict[str, Any]:
    """Generate a session; the same number gives the same session."""
    chance = random.Random(number)  # noqa: S311 - for variety, not for secrets
    messages = [_message(chance) for _ in range(chance.randrange(8))]
    return {
        "id": f"session-{number}",
        "title": chance.choice([f"Title {number}", "Ünïcode “title”"]),
        "model": chance.choice([None, "gpt-4o", "claude"]),
        "messages": messages,
        # All times are distinct, so the order is that of the file, newest first.
        "created_at": f"2026-01-{31 - number // 86_400 % 30:02d}T{(86_399 - number % 86_400) // 3600:02d}:"
        f"{(86_399 - number % 86_400) // 60 % 60:02d}:{(86_399 - number % 86_400) % 60:02d}.123Z",
        "user_id": f"user-{number % 100}",
        "session_group": chance.choice([None, "web", "группа"]),
        "status": chance.choice(["active", "active", "completed"]),
        "metadata": {
            f"key {n}": chance.choice([v for v in _VALUES if v is not None]) for n in range(chance.randrange(4))
        },
        "total_tokens": chance.choice([0, 0, 42, 2_147_483_647]),
    }


def _message(chance: random.Random) -> dict[str, Any]:
    text = chance.choice(_TEXTS)
    extras = {name: chance.choice(_VALUES) for name in chance.sample(["id", "name", "metadata", "ключ"], 2)}
    match chance.randrange(6):
        case 0:
            call = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}
            return {"role": "assistant", "content": None, "tool_calls": [call]}
        case 1:
            return {
                "role": "user",
                "content": [{"type": "text", "text": text}, {"type": "image_url", "x": 1.5}],
                **extras,
            }
        case 2:
            return {"role": "tool", "content": text, "tool_call_id": "call_1", **extras}
        case _:
            return {"role": chance.choice(["user", "assistant", "system", "developer"]), "content": text, **extras}


def write(path: Path, sessions: Iterable[dict[str, Any]]) -> Path:
    """Write one session per line."""
    with path.open("w", encoding="utf-8") as file:
        for each in sessions:
            file.write(json.dumps(each, ensure_ascii=False) + "\n")
    return path


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read one session per line."""
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def preserved_json(session: dict[str, Any]) -> bytes:
    """Encode what an import must preserve exactly: everything except id, the server's times and counts."""
    kept = {name: value for name, value in session.items() if name not in {"id", "total_messages", *_SERVER_TIMES}}
    kept["messages"] = [
        {name: value for name, value in message.items() if name != "created_at"} for message in session["messages"]
    ]
    # Session members are sorted; members of metadata and messages keep their order.
    return json.dumps(dict(sorted(kept.items())), ensure_ascii=False).encode()


def count_sessions(sessions: Iterable[dict[str, Any]]) -> Counter[bytes]:
    """Count equal sessions, using little memory."""
    return Counter(hashlib.blake2b(preserved_json(each), digest_size=12).digest() for each in sessions)


def without_server_fields(session: dict[str, Any]) -> dict[str, Any]:
    """What an export and an import must preserve: everything except the id and the server's times."""
    return {name: value for name, value in session.items() if name not in {"id", *_SERVER_TIMES}}
