"""One bad part costs no conversation: it is mended, kept beside, or set aside, and counted."""

import json
from typing import Any

import msgspec
import pytest

from sessionary import constants
from sessionary.cli.transfer.losttimes import move_times
from sessionary.cli.transfer.reasons import refusal_of
from sessionary.cli.transfer.steps import steps_of, values_at_most
from sessionary.errors import FieldError
from sessionary.server.operations.validation import validation_error
from tests.cli.test_import_formats import NOW, read

encode = msgspec.json.encode
HI = {"role": "user", "content": "Hi"}


def ours(*messages: Any, **members: Any) -> dict[str, Any]:
    """A session of our own export."""
    return {"user_id": "ada", "messages": list(messages), **members}


def test_what_is_sound_is_kept_as_it_is() -> None:
    item = {"type": "reasoning", "content": {"any": 1}}
    messages = [HI, {"role": "tool", "content": [], "created_at": NOW}, item, HI | {"type": "event", "content": None}]
    reading = read(ours(*messages, title=" T ", metadata={"a": [None]}, created_at=NOW, status="completed"))
    assert reading.record.messages == messages
    assert (reading.record.title, reading.record.metadata) == (" T ", {"a": [None]})
    assert (reading.record.created_at, reading.record.status) == (NOW, "completed")
    assert not reading.findings.mended


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
def test_what_json_or_the_server_cannot_hold_is_replaced_wherever_it_stands(
    written: str, kept: Any, place: str
) -> None:
    values = {name: written if name == place else "1" for name in ("message", "metadata", "beside")}
    text = (
        f'{{"user": "ada", "messages": [{{"role": "user", "content": "Hi", "x": {values["message"]}}}],'
        f' "metadata": {{"x": {values["metadata"]}}}, "beside": {values["beside"]}}}'
    )
    record = read(text.encode()).record
    found = {"message": record.messages[0]["x"], "metadata": record.metadata["x"], "beside": record.metadata["beside"]}
    assert found[place] == kept


def test_lone_surrogates_in_title_names_and_keys_are_replaced_and_counted() -> None:
    text = (
        rb'{"user_id": "\ud800", "title": "\udfff", "messages": [{"role": "user", "content": "\ud800", "\ud800": 1}]}'
    )
    reading = read(text)
    assert reading.record.user_id.startswith("\ufffd-")
    assert reading.record.user_id != read(text.replace(b"d800", b"d801")).record.user_id
    assert reading.record.title == "\ufffd"
    assert reading.record.messages == [{"role": "user", "content": "\ufffd", "\ufffd": 1}]
    assert reading.findings.mended == {"half of a character (lone surrogate), replaced by U+FFFD": 4}


def test_bytes_that_are_no_utf_8_are_replaced() -> None:
    reading = read(b'{"user_id": "ada", "messages": [{"role": "user", "content": "a\xffb"}]}')
    assert reading.record.messages == [{"role": "user", "content": "a\ufffdb"}]
    assert reading.findings.mended == {"bytes that are no UTF-8, replaced by U+FFFD": 1}


@pytest.mark.parametrize("space", ["", " "])
def test_of_equal_keys_the_last_counts_and_the_others_are_set_aside(space: str) -> None:
    text = '{"user": "ada", "messages": [], "a": 1, "a": [2], "a": 3}'.replace(":", space + ":")
    reading = read(text.encode())
    assert reading.record.metadata == {"a": 3}
    assert [(each.member, each.value) for each in reading.findings.leftovers] == [("a", 1), ("a", [2])]


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
def test_members_of_the_wrong_kind_are_kept_as_metadata_or_mended(name: str, value: Any, kept: Any) -> None:
    reading = read(ours(HI, **{name: value}))
    assert getattr(reading.record, name) == kept
    assert reading.record.messages == [HI]
    assert reading.findings.mended
    if kept in (None, 0, "active", 2**31 - 1, "a b"):
        assert reading.record.metadata["imported"][name] == value


def test_a_long_name_is_cut_so_that_two_stay_two() -> None:
    first, second = (read(ours(HI, user_id="x" * 300 + end)).record for end in "ab")
    assert len(first.user_id) == len(second.user_id) == constants.NAME_LENGTH_MAX
    assert first.user_id != second.user_id
    assert first.metadata == {"imported": {"user_id": "x" * 300 + "a"}}


@pytest.mark.parametrize("name", ["user_id", "session_group", "model"])
def test_names_that_were_mended_stay_apart_and_are_kept_as_they_were(name: str) -> None:
    given = ["a\7b", "a\1b", "a b", "a b\n", "\x7fa b"]
    readings = [read(ours(HI, **{name: each})) for each in given]
    kept = [getattr(reading.record, name) for reading in readings]
    assert len(set(kept)) == len(given)
    assert kept[2] == "a b"
    for each, reading in zip(given, readings, strict=True):
        mended = each != "a b"
        assert reading.record.metadata == ({"imported": {name: each}} if mended else {})
        kind = f"{name} with control characters, replaced, kept as metadata.imported.{name}"
        assert reading.findings.mended == ({kind: 1} if mended else {})


@pytest.mark.parametrize("beside", [{}, {"content": None}, {"content": None, "refusal": "No."}, {"tool_calls": []}])
@pytest.mark.parametrize(
    "record",
    [
        ours,
        lambda message: {"messages": [message], "user": "ada"},
        lambda message: {"conversations": [message]},
        lambda message: {"chat": {"messages": [message]}},
        lambda message: {"chat_messages": [{"sender": "assistant", **message}]},
        lambda message: {"messages": [{"isCreatedByUser": False, **message}], "conversationId": "c", "exportAt": "x"},
    ],
    ids=["sessionary", "openai", "sharegpt", "openwebui", "claude", "librechat"],
)
def test_a_message_without_content_is_mended(record: Any, beside: dict[str, Any]) -> None:
    reading = read(record({"role": "assistant", **beside}))
    (message,) = reading.record.messages
    assert message["content"] == ""
    assert message.get("refusal") == beside.get("refusal")
    assert reading.findings.mended == {"message without content, kept as empty": 1}
    assert reading.findings.messages_mended == {0}


def test_null_beside_calls_of_tools_is_kept() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    for record in (ours(message), {"messages": [message]}):
        reading = read(record)
        assert reading.record.messages == [message]
        assert not reading.findings.mended


def test_digits_that_no_double_holds_are_lost() -> None:
    text = b'{"user_id": "ada", "messages": [], "metadata": {"x": 0.1234567890123456789}}'
    assert read(text).record.metadata == {"x": 0.12345678901234568}


def test_a_long_title_is_cut_and_kept_whole_beside() -> None:
    record = read(ours(HI, title="x" * 600)).record
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
def test_a_message_may_be_anything(message: Any, kept: Any) -> None:
    reading = read(ours(HI, message, HI))
    assert reading.record.messages == [HI, kept, HI]


def test_nul_stays_in_messages_and_is_replaced_in_metadata() -> None:
    reading = read(ours(HI | {"content": "a\0"}, metadata={"a": ["\0"], "b\0": "\\u0000"}))
    assert reading.record.messages[0]["content"] == "a\0"
    assert reading.record.metadata == {"a": ["\ufffd"], "b\ufffd": "\\u0000"}


@pytest.mark.parametrize("depth", [65, 300, 5_000, 100_000])
@pytest.mark.parametrize("end", ["metadata", "message"])
def test_what_is_nested_too_deeply_is_kept_as_text(depth: int, end: str) -> None:
    deep = "[" * depth + "1" + "]" * depth
    places = {"metadata": "", "message": ""} | {end: f', "x": {deep}'}
    text = (
        f'{{"user_id": "ada", "metadata": {{"y": 1{places["metadata"]}}},'
        f' "messages": [{{"role": "user", "content": "Hi"{places["message"]}}}]}}'
    )
    reading = read(text.encode())
    kept = [each.value for each in reading.findings.leftovers] or [
        (reading.record.metadata if end == "metadata" else reading.record.messages[0])["x"]
    ]
    assert json.dumps(kept[0]).count("[") == depth
    assert reading.record.messages[0]["content"] == "Hi"
    assert reading.findings.mended


@pytest.mark.parametrize("levels", [60, 61])
def test_what_is_nested_as_deeply_as_a_server_takes_stays(levels: int) -> None:
    message = HI | {"x": json.loads("[" * levels + "]" * levels)}
    assert read(ours(message)).record.messages == [message]
    metadata = {"x": json.loads("[" * 62 + "]" * 62)}
    assert read(ours(HI, metadata=metadata)).record.metadata == metadata


@pytest.mark.parametrize("letter", ["x", "ü", "\0", "🙂", "\n"])
def test_a_message_that_is_too_long_is_split_into_parts_that_fit(letter: str) -> None:
    text = letter * 2_500_000
    reading = read(ours(HI, {"role": "user", "content": text, "name": "n"}, HI))
    first, *parts, last = reading.record.messages
    assert (first, last) == (HI, HI)
    assert "".join(part["content"] for part in parts) == text
    assert [part["imported"] for part in parts] == [{"part": n, "of": len(parts)} for n in range(1, len(parts) + 1)]
    assert all(len(encode(part)) <= constants.MESSAGE_BYTES_MAX for part in parts)
    assert parts[0]["name"] == "n"


def test_what_is_no_text_and_too_long_is_set_aside() -> None:
    image = {"type": "image", "data": "z" * 1_500_000}
    reading = read(ours({"role": "user", "content": [image, {"type": "text", "text": "Hi"}], "big": ["y" * 2_000_000]}))
    (message,) = reading.record.messages
    assert message["content"][1] == {"type": "text", "text": "Hi"}
    assert "file of leftovers" in message["content"][0]["data"]
    assert {each.member: each.value for each in reading.findings.leftovers} == {
        "messages.0.content.0.data": image["data"],
        "messages.0.big.0": "y" * 2_000_000,
    }


def test_metadata_that_is_too_long_goes_to_the_leftovers_largest_first() -> None:
    tools = ["x" * 70_000]
    reading = read({"user": "ada", "messages": [HI], "tools": tools, "small": 1, "metadata": {"a": "b"}})
    assert reading.record.metadata == {"a": "b", "small": 1}
    assert [(each.member, each.value) for each in reading.findings.leftovers] == [("metadata.tools", tools)]
    many = {f"k{n}": "x" * 1_000 for n in range(100)}
    reading = read(ours(HI, metadata=many))
    assert len(encode(reading.record.metadata)) <= constants.METADATA_BYTES_MAX
    aside = {each.member.removeprefix("metadata."): each.value for each in reading.findings.leftovers}
    assert reading.record.metadata | aside == many


def test_times_that_a_server_does_not_keep_go_beside() -> None:
    messages = [HI | {"created_at": NOW}, HI | {"created_at": NOW, "metadata": 5}, HI | {"metadata": {"a": 1}}]
    reading = read(ours(*messages, created_at=NOW, metadata={"imported": 7}))
    move_times(reading)
    assert reading.record.created_at is None
    assert reading.record.metadata == {"imported": {"imported": 7, "created_at": NOW}}
    assert reading.record.messages == [
        HI | {"metadata": {"created_at": NOW}},
        HI | {"metadata": 5, "imported": {"created_at": NOW}},
        HI | {"metadata": {"a": 1}},
    ]


def test_a_message_of_more_values_than_a_body_may_hold_is_kept_as_text() -> None:
    parts = [{"a": 1}] * 60_000
    reading = read(ours(HI | {"content": parts, "x": [[]] * 90_000}))
    (message,) = reading.record.messages
    assert json.loads(message["content"]) == parts
    assert json.loads(message["x"]) == [[]] * 90_000
    assert reading.findings.mended == {"message with very many values, kept as text": 1}


def test_messages_of_many_values_go_out_in_requests_that_a_server_takes() -> None:
    large: dict[str, Any] = HI | {"x": [[]] * 49_000}
    small: dict[str, Any] = HI | {"x": [1] * 90}
    for messages in ([large] * 3, [small] * 999, [large, *[small] * 999]):
        record = read(ours(*messages, metadata={"y": [1] * 20_000})).record
        create, *updates = steps_of(record, len(encode(messages)), 60)
        sent = [create.arguments["initial_messages"] or [], *(each.arguments["new_messages"] for each in updates)]
        assert [message for turn in sent for message in turn] == messages
        bodies = [encode([turn, record.metadata if number == 0 else {}]) for number, turn in enumerate(sent)]
        assert max(map(values_at_most, bodies)) < 100_000


@pytest.mark.parametrize("time", [{}, {"created_at": NOW}])
def test_a_message_as_long_as_a_server_takes_stays_whole(time: dict[str, str]) -> None:
    bare = len(encode(HI | {"content": ""}))
    fits = HI | {"content": "x" * (constants.MESSAGE_BYTES_MAX - bare)} | time
    assert read(ours(fits)).record.messages == [fits]
    assert len(read(ours(fits | {"content": fits["content"] + "x"})).record.messages) > 1


def test_a_refusal_says_each_thing_once() -> None:
    faults = [FieldError("/userId", "is too long."), FieldError("/title", "is too long.")]
    assert refusal_of(validation_error(faults[:1])) == "/userId: is too long."
    assert refusal_of(validation_error(faults)) == "/userId: is too long. (/title is too long.)"
