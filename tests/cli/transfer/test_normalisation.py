"""Invalid values never reject a conversation: they are changed, kept in imported or excluded, and counted."""

import json
from typing import Any

import msgspec
import pytest

from sessionary import constants
from sessionary.cli.transfer.created_at_fallback import move_timestamps_to_metadata
from sessionary.cli.transfer.errors import rejection_reason
from sessionary.cli.transfer.plan import plan_calls
from sessionary.errors import FieldError
from sessionary.server.http.strict_json import count_values
from sessionary.server.operations.validation import validation_error
from tests.cli.transfer.test_formats import NOW, read

encode = msgspec.json.encode
HI = {"role": "user", "content": "Hi"}


def own_record(*messages: Any, **members: Any) -> dict[str, Any]:
    """A session of our own export."""
    return {"user_id": "ada", "messages": list(messages), **members}


def test_a_valid_record_is_not_changed() -> None:
    item = {"type": "reasoning", "content": {"any": 1}}
    messages = [HI, {"role": "tool", "content": [], "created_at": NOW}, item, HI | {"type": "event", "content": None}]
    parsed = read(own_record(*messages, title=" T ", metadata={"a": [None]}, created_at=NOW, status="completed"))
    assert parsed.session.messages == messages
    assert (parsed.session.title, parsed.session.metadata) == (" T ", {"a": [None]})
    assert (parsed.session.created_at, parsed.session.status) == (NOW, "completed")
    assert not parsed.log.changes


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (r'"\ud800x"', "\ufffdx"),
        (r'"\udc00\ud83d"', "\ufffd\ufffd"),
        (r'"\ud83d\ude42"', "🙂"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e999", "1e999"),
        ("9" * 70, "9" * 70),
        ("18446744073709551616", "18446744073709551616"),
        ("18446744073709551615", 18446744073709551615),
        ("-9223372036854775808", -9223372036854775808),
        (r'{"\ud800": 1}', {"\ufffd": 1}),
    ],
)
@pytest.mark.parametrize("place", ["message", "metadata", "beside"])
def test_values_that_json_or_the_server_cannot_store_are_replaced_everywhere(
    written: str, kept: Any, place: str
) -> None:
    values = {name: written if name == place else "1" for name in ("message", "metadata", "beside")}
    text = (
        f'{{"user": "ada", "messages": [{{"role": "user", "content": "Hi", "x": {values["message"]}}}],'
        f' "metadata": {{"x": {values["metadata"]}}}, "beside": {values["beside"]}}}'
    )
    record = read(text.encode()).session
    found = {"message": record.messages[0]["x"], "metadata": record.metadata["x"], "beside": record.metadata["beside"]}
    assert found[place] == kept


def test_lone_surrogates_in_title_names_and_keys_are_replaced_and_counted() -> None:
    text = (
        rb'{"user_id": "\ud800", "title": "\udfff", "messages": [{"role": "user", "content": "\ud800", "\ud800": 1}]}'
    )
    parsed = read(text)
    assert parsed.session.user_id.startswith("\ufffd-")
    assert parsed.session.user_id != read(text.replace(b"d800", b"d801")).session.user_id
    assert parsed.session.title == "\ufffd"
    assert parsed.session.messages == [{"role": "user", "content": "\ufffd", "\ufffd": 1}]
    assert parsed.log.changes == {"lone surrogate, replaced by U+FFFD": 4}


def test_bytes_that_are_not_utf_8_are_replaced() -> None:
    parsed = read(b'{"user_id": "ada", "messages": [{"role": "user", "content": "a\xffb"}]}')
    assert parsed.session.messages == [{"role": "user", "content": "a\ufffdb"}]
    assert parsed.log.changes == {"bytes that are not UTF-8, replaced by U+FFFD": 1}


@pytest.mark.parametrize("space", ["", " "])
def test_of_duplicate_keys_the_last_is_used_and_the_others_are_excluded(space: str) -> None:
    text = '{"user": "ada", "messages": [], "a": 1, "a": [2], "a": 3}'.replace(":", space + ":")
    parsed = read(text.encode())
    assert parsed.session.metadata == {"a": 3}
    assert [(each.member, each.value) for each in parsed.log.excluded] == [("a", 1), ("a", [2])]


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("user_id", 42, "42"),
        ("session_group", {"a": 1}, None),
        ("session_group", True, None),
        ("session_group", "\n", None),
        ("model", ["m"], None),
        ("title", 5, None),
        ("title", {"a": 1}, None),
        ("title", "a\7b", "a b"),
        ("status", "archived", "active"),
        ("total_tokens", -1, 0),
        ("total_tokens", 2**31, 2**31 - 1),
        ("total_tokens", "many", 0),
        ("created_at", "2255-01-01T00:00:00Z", None),
        ("created_at", "soon", None),
        ("metadata", [1], {"imported": {"metadata": [1]}}),
        ("metadata", "text", {"imported": {"metadata": "text"}}),
    ],
)
def test_fields_of_the_wrong_type_are_kept_as_metadata_or_converted(name: str, value: Any, kept: Any) -> None:
    parsed = read(own_record(HI, **{name: value}))
    assert getattr(parsed.session, name) == kept
    assert parsed.session.messages == [HI]
    assert parsed.log.changes
    if kept in (None, 0, "active", 2**31 - 1, "a b"):
        assert parsed.session.metadata["imported"][name] == value


def test_long_names_stay_distinct_when_shortened() -> None:
    first, second = (read(own_record(HI, user_id="x" * 300 + end)).session for end in "ab")
    assert len(first.user_id) == len(second.user_id) == constants.NAME_LENGTH_MAX
    assert first.user_id != second.user_id
    assert first.metadata == {"imported": {"user_id": "x" * 300 + "a"}}


@pytest.mark.parametrize("name", ["user_id", "session_group", "model"])
def test_changed_names_stay_distinct_and_their_originals_are_kept(name: str) -> None:
    given = ["a\7b", "a\1b", "a b", "a b\n", "\x7fa b"]
    results = [read(own_record(HI, **{name: each})) for each in given]
    kept = [getattr(parsed.session, name) for parsed in results]
    assert len(set(kept)) == len(given)
    assert kept[2] == "a b"
    for each, parsed in zip(given, results, strict=True):
        changes = each != "a b"
        assert parsed.session.metadata == ({"imported": {name: each}} if changes else {})
        kind = f"{name} with control characters, replaced, kept as metadata.imported.{name}"
        assert parsed.log.changes == ({kind: 1} if changes else {})


@pytest.mark.parametrize("beside", [{}, {"content": None}, {"content": None, "refusal": "No."}, {"tool_calls": []}])
@pytest.mark.parametrize(
    "record",
    [
        own_record,
        lambda message: {"messages": [message], "user": "ada"},
        lambda message: {"conversations": [message]},
        lambda message: {"chat": {"messages": [message]}},
        lambda message: {"chat_messages": [{"sender": "assistant", **message}]},
        lambda message: {"messages": [{"isCreatedByUser": False, **message}], "conversationId": "c", "exportAt": "x"},
    ],
    ids=["sessionary", "openai", "sharegpt", "openwebui", "claude", "librechat"],
)
def test_a_message_without_content_gets_empty_content(record: Any, beside: dict[str, Any]) -> None:
    parsed = read(record({"role": "assistant", **beside}))
    (message,) = parsed.session.messages
    assert message["content"] == ""
    assert message.get("refusal") == beside.get("refusal")
    assert parsed.log.changes == {"message without content, stored with empty content": 1}
    assert parsed.log.changed_messages == {0}


def test_null_content_beside_tool_calls_is_kept() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    for record in (own_record(message), {"messages": [message]}):
        parsed = read(record)
        assert parsed.session.messages == [message]
        assert not parsed.log.changes


def test_digits_beyond_double_precision_are_lost() -> None:
    text = b'{"user_id": "ada", "messages": [], "metadata": {"x": 0.1234567890123456789}}'
    assert read(text).session.metadata == {"x": 0.12345678901234568}


def test_a_long_title_is_shortened_and_the_original_kept() -> None:
    record = read(own_record(HI, title="x" * 600)).session
    assert len(record.title or "") == constants.TITLE_LENGTH_MAX
    assert record.metadata == {"imported": {"title": "x" * 600}}


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        (5, {"role": "assistant", "content": "5"}),
        ("text", {"role": "assistant", "content": "text"}),
        (None, {"role": "assistant", "content": "null"}),
        ({"content": "x"}, {"content": "x", "imported": {"role": None}, "role": "assistant"}),
        (
            {"role": "bystander", "content": "x"},
            {"role": "assistant", "content": "x", "imported": {"role": "bystander"}},
        ),
        ({"role": "user", "content": 5}, {"role": "user", "content": "5", "imported": {"content": 5}}),
        ({"role": "user", "tool_calls": 5}, {"role": "user", "imported": {"tool_calls": 5}, "content": ""}),
        (HI | {"created_at": "soon"}, HI | {"imported": {"created_at": "soon"}}),
        (HI | {"created_at": 1700000000}, HI | {"created_at": "2023-11-14T22:13:20.000Z"}),
    ],
)
def test_a_message_may_be_any_json_value(message: Any, kept: Any) -> None:
    parsed = read(own_record(HI, message, HI))
    assert parsed.session.messages == [HI, kept, HI]


def test_nul_is_kept_in_messages_and_replaced_in_metadata() -> None:
    parsed = read(own_record(HI | {"content": "a\0"}, metadata={"a": ["\0"], "b\0": "\\u0000"}))
    assert parsed.session.messages[0]["content"] == "a\0"
    assert parsed.session.metadata == {"a": ["\ufffd"], "b\ufffd": "\\u0000"}


@pytest.mark.parametrize("depth", [65, 300, 5_000, 100_000])
@pytest.mark.parametrize("end", ["metadata", "message"])
def test_values_beyond_the_nesting_limit_become_text(depth: int, end: str) -> None:
    deep = "[" * depth + "1" + "]" * depth
    places = {"metadata": "", "message": ""} | {end: f', "x": {deep}'}
    text = (
        f'{{"user_id": "ada", "metadata": {{"y": 1{places["metadata"]}}},'
        f' "messages": [{{"role": "user", "content": "Hi"{places["message"]}}}]}}'
    )
    parsed = read(text.encode())
    kept = [each.value for each in parsed.log.excluded] or [
        (parsed.session.metadata if end == "metadata" else parsed.session.messages[0])["x"]
    ]
    assert json.dumps(kept[0]).count("[") == depth
    assert parsed.session.messages[0]["content"] == "Hi"
    assert parsed.log.changes


@pytest.mark.parametrize("levels", [60, 61])
def test_values_at_the_nesting_limit_are_kept(levels: int) -> None:
    message = HI | {"x": json.loads("[" * levels + "]" * levels)}
    assert read(own_record(message)).session.messages == [message]
    metadata = {"x": json.loads("[" * 62 + "]" * 62)}
    assert read(own_record(HI, metadata=metadata)).session.metadata == metadata


@pytest.mark.parametrize("letter", ["x", "ü", "\0", "🙂", "\n"])
def test_a_message_that_is_too_long_is_split_into_parts_that_fit(letter: str) -> None:
    text = letter * 2_500_000
    parsed = read(own_record(HI, {"role": "user", "content": text, "name": "n"}, HI))
    first, *parts, last = parsed.session.messages
    assert (first, last) == (HI, HI)
    assert "".join(part["content"] for part in parts) == text
    assert [part["imported"] for part in parts] == [{"part": n, "of": len(parts)} for n in range(1, len(parts) + 1)]
    assert all(len(encode(part)) <= constants.MESSAGE_BYTES_MAX for part in parts)
    assert parts[0]["name"] == "n"


def test_a_long_value_that_is_not_text_is_excluded() -> None:
    image = {"type": "image", "data": "z" * 1_500_000}
    parsed = read(
        own_record({"role": "user", "content": [image, {"type": "text", "text": "Hi"}], "big": ["y" * 2_000_000]})
    )
    (message,) = parsed.session.messages
    assert message["content"][1] == {"type": "text", "text": "Hi"}
    assert "leftovers file" in message["content"][0]["data"]
    assert {each.member: each.value for each in parsed.log.excluded} == {
        "messages.0.content.0.data": image["data"],
        "messages.0.big.0": "y" * 2_000_000,
    }


def test_metadata_that_is_too_long_is_excluded_largest_members_first() -> None:
    tools = ["x" * 70_000]
    parsed = read({"user": "ada", "messages": [HI], "tools": tools, "small": 1, "metadata": {"a": "b"}})
    assert parsed.session.metadata == {"a": "b", "small": 1}
    assert [(each.member, each.value) for each in parsed.log.excluded] == [("metadata.tools", tools)]
    many = {f"k{n}": "x" * 1_000 for n in range(100)}
    parsed = read(own_record(HI, metadata=many))
    assert len(encode(parsed.session.metadata)) <= constants.METADATA_BYTES_MAX
    aside = {each.member.removeprefix("metadata."): each.value for each in parsed.log.excluded}
    assert parsed.session.metadata | aside == many


def test_times_that_a_server_does_not_accept_are_moved_to_metadata() -> None:
    messages = [HI | {"created_at": NOW}, HI | {"created_at": NOW, "metadata": 5}, HI | {"metadata": {"a": 1}}]
    parsed = read(own_record(*messages, created_at=NOW, metadata={"imported": 7}))
    move_timestamps_to_metadata(parsed)
    assert parsed.session.created_at is None
    assert parsed.session.metadata == {"imported": {"imported": 7, "created_at": NOW}}
    assert parsed.session.messages == [
        HI | {"metadata": {"created_at": NOW}},
        HI | {"metadata": 5, "imported": {"created_at": NOW}},
        HI | {"metadata": {"a": 1}},
    ]


def test_a_message_with_too_many_values_becomes_text() -> None:
    parts = [{"a": 1}] * 60_000
    parsed = read(own_record(HI | {"content": parts, "x": [[]] * 90_000}))
    (message,) = parsed.session.messages
    assert json.loads(message["content"]) == parts
    assert json.loads(message["x"]) == [[]] * 90_000
    assert parsed.log.changes == {"message with very many values, kept as text": 1}


def test_messages_with_many_values_are_sent_in_requests_that_a_server_accepts() -> None:
    large: dict[str, Any] = HI | {"x": [[]] * 49_000}
    small: dict[str, Any] = HI | {"x": [1] * 90}
    for messages in ([large] * 3, [small] * 999, [large, *[small] * 999]):
        record = read(own_record(*messages, metadata={"y": [1] * 20_000})).session
        create, *updates = plan_calls(record, len(encode(messages)), 60)
        sent = [create.arguments["initial_messages"] or [], *(each.arguments["new_messages"] for each in updates)]
        assert [message for turn in sent for message in turn] == messages
        bodies = [encode([turn, record.metadata if number == 0 else {}]) for number, turn in enumerate(sent)]
        assert max(map(count_values, bodies)) < 100_000


@pytest.mark.parametrize("time", [{}, {"created_at": NOW}])
def test_a_message_at_the_size_limit_is_not_split(time: dict[str, str]) -> None:
    bare = len(encode(HI | {"content": ""}))
    fits = HI | {"content": "x" * (constants.MESSAGE_BYTES_MAX - bare)} | time
    assert read(own_record(fits)).session.messages == [fits]
    assert len(read(own_record(fits | {"content": fits["content"] + "x"})).session.messages) > 1


def test_a_rejection_reason_has_no_repetition() -> None:
    faults = [FieldError("/userId", "is too long."), FieldError("/title", "is too long.")]
    assert rejection_reason(validation_error(faults[:1])) == "/userId: is too long."
    assert rejection_reason(validation_error(faults)) == "/userId: is too long. (/title is too long.)"
