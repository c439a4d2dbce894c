"""Where a session's title and model come from."""

from typing import Any

import pytest

from tests.http.callers import Caller, message

UNUSABLE: list[Any] = ["", "x" * 513, "a\nb", "\x7f", 5, None, True, ["a"], {"a": 1}]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("  Hello \t  world  ", "Hello world"),
        ("First line\nsecond line", "First line"),
        ("\n \r\n\t\n  Third line  \nfourth", "Third line"),
        ("a\u2028b", "a"),
        ("be\x07ll\0", "bell"),
        ("\x07\0\nthe second", "the second"),
        ("nothing\xa0breaks\u3000here", "nothing breaks here"),
        ("💬" * 80, "💬" * 80),
        ("💬" * 81, "💬" * 79 + "…"),
        ("x" * 200, "x" * 79 + "…"),
        ("word " * 15 + "endss", "word " * 15 + "endss"),
        ("word " * 20, "word word word word word word word word word word word word word word word…"),
        ("a " + "x" * 100, "a…"),
        ("", None),
        (" \n\t\x07 ", None),
    ],
)
def test_a_title_is_taken_from_the_first_user_message(caller: Caller, text: str, title: str | None) -> None:
    created = caller.new_session(initialMessages=[message("Not this", "system"), message(text), message("Nor this")])
    assert caller.read(created)["title"] == title
    updated = caller.new_session(initialMessages=[message("Not this", "assistant")])
    assert caller.read(updated)["title"] is None
    caller.update(updated, newMessages=[message("Nor this", "tool"), message(text)])
    assert caller.read(updated)["title"] == title


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ([{"type": "image"}, {"type": "text", "text": "See this"}, {"text": "not this"}], "See this"),
        ([{"text": None}, {"text": 5}, {"text": "a string"}], "a string"),
        ([{"text": ""}, {"text": "not the first"}], None),
        ([{"type": "image"}], None),
        ([], None),
    ],
)
def test_a_title_is_taken_from_the_first_text_part(caller: Caller, content: object, title: str | None) -> None:
    assert caller.read(caller.new_session(initialMessages=[message(content)]))["title"] == title


def test_only_the_first_user_message_gives_a_title(caller: Caller) -> None:
    session_id = caller.new_session(initialMessages=[message([])])
    caller.update(session_id, newMessages=[message("Too late")])
    assert caller.read(session_id)["title"] is None
    caller.update(session_id, title="Given")
    caller.update(session_id, newMessages=[message("Another")])
    assert caller.read(session_id)["title"] == "Given"


def test_a_given_title_and_model_take_precedence(caller: Caller) -> None:
    metadata = {"title": "in metadata", "model": "in metadata", "modelId": "id in metadata"}
    session_id = caller.new_session(title="Given", model="given", metadata=metadata, initialMessages=[message("Said")])
    session = caller.read(session_id)
    assert (session["title"], session["model"], session["metadata"]) == ("Given", "given", metadata)
    caller.update(session_id, title="Later", model="later", metadata=metadata)
    session = caller.read(session_id)
    assert (session["title"], session["model"]) == ("Later", "later")
    assert [listed["model"] for listed in caller.list("?model=later").json] == ["later"]


@pytest.mark.parametrize(
    ("metadata", "model"),
    [
        ({"model": "a", "modelId": "b"}, "a"),
        ({"modelId": "b"}, "b"),
        ({"model": 5, "modelId": "b"}, "b"),
        ({"model": "", "modelId": "b"}, "b"),
        ({"model": "x" * 257, "modelId": "b" * 256}, "b" * 256),
        ({"model": None, "modelId": "\n"}, None),
        ({"Model": "a", "model_id": "b"}, None),
    ],
)
def test_the_model_is_taken_from_metadata_model_or_else_model_id(
    caller: Caller, metadata: dict[str, Any], model: str | None
) -> None:
    assert caller.read(caller.new_session(metadata=metadata))["model"] == model
    session_id = caller.new_session()
    caller.update(session_id, metadata=metadata)
    assert caller.read(session_id)["model"] == model


def test_a_title_from_metadata_is_not_replaced_by_a_message(caller: Caller) -> None:
    session_id = caller.new_session(metadata={"title": "In metadata"}, initialMessages=[message("Said")])
    assert caller.read(session_id)["title"] == "In metadata"
    caller.update(session_id, metadata={"title": "Later"}, newMessages=[message("Said")])
    assert caller.read(session_id)["title"] == "Later"
    caller.update(session_id, metadata={"title": None})
    session = caller.read(session_id)
    assert (session["title"], session["metadata"]) == ("Later", {})


@pytest.mark.parametrize("unusable", UNUSABLE, ids=lambda value: ascii(value)[:20])
def test_an_invalid_title_or_model_in_metadata_is_ignored(caller: Caller, unusable: object) -> None:
    metadata = {"title": unusable, "model": unusable, "modelId": unusable}
    session_id = caller.new_session(metadata=metadata, initialMessages=[message("Said")])
    session = caller.read(session_id)
    assert (session["title"], session["model"]) == ("Said", None)
    assert session["metadata"] == {name: value for name, value in metadata.items() if value is not None}
    assert caller.update(session_id, metadata=metadata).status == 200
    assert caller.read(session_id)["title"] == "Said"


@pytest.mark.parametrize("field", ["title", "model"])
@pytest.mark.parametrize(
    "unusable", [value for value in UNUSABLE if value is not None], ids=lambda value: ascii(value)[:20]
)
def test_an_invalid_title_or_model_is_400(caller: Caller, field: str, unusable: object) -> None:
    assert caller.create(**{field: unusable}).pointers == [f"/{field}"]
    assert caller.update(caller.new_session(), **{field: unusable}).pointers == [f"/{field}"]


@pytest.mark.parametrize(
    ("messages", "title"),
    [
        ([{"type": "event", "content": "not said by a user"}, {"role": "user", "content": "Said"}], "Said"),
        ([{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}], "Hi"),
        ([{"type": "message", "role": "user", "content": [5, None, {"text": 1}, {"text": "Second"}]}], "Second"),
        ([{"type": "message", "role": "user", "content": {"text": "an object is no text"}}], None),
        ([{"type": "message", "role": "user"}, {"role": "user", "content": "too late"}], None),
        ([{"type": "reasoning", "role": None, "content": ["x"]}], None),
    ],
)
def test_a_message_with_a_type_gives_a_title_only_with_the_user_role(
    caller: Caller, messages: list[dict[str, Any]], title: str | None
) -> None:
    assert caller.read(caller.new_session(initialMessages=messages))["title"] == title
    session_id = caller.new_session()
    assert caller.update(session_id, newMessages=messages).status == 200
    assert caller.read(session_id)["title"] == title
