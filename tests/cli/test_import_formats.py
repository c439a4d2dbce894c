"""Reading each format: nothing of a conversation vanishes, whatever stands in it."""

import json
from typing import Any

import pytest

from sessionary.cli.transfer.reasons import UnreadableError
from sessionary.cli.transfer.record import Reading
from sessionary.cli.transfer.shapes import SHAPES, Wanted, read_record

NOW = "2026-11-28T00:00:00.000Z"


def read(value: Any, format_: str | None = None, **defaults: str) -> Reading:
    """Read one record."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return read_record(text, Wanted({"user_id": "ada"} | defaults, NOW, format_))


def said(reading: Reading) -> list[tuple[Any, Any]]:
    """Who said what."""
    return [(message.get("role"), message.get("content")) for message in reading.record.messages]


def sharegpt(*turns: Any, **members: Any) -> dict[str, Any]:
    """A conversation of training data."""
    return {"conversations": list(turns), **members}


@pytest.mark.parametrize("list_name", ["conversations", "messages", "conversation"])
@pytest.mark.parametrize(("speaker", "text"), [("from", "value"), ("role", "content"), ("from", "content")])
def test_turns_are_read_under_any_of_their_names(list_name: str, speaker: str, text: str) -> None:
    reading = read({list_name: [{speaker: "user", text: "Hi"}, {speaker: "assistant", text: "Yo"}]})
    assert said(reading) == [("user", "Hi"), ("assistant", "Yo")]
    assert not reading.findings.mended


@pytest.mark.parametrize(
    ("speaker", "role"),
    [
        *((word, "user") for word in ("human", "Human", "user", "prompter")),
        *((word, "assistant") for word in ("gpt", "assistant", "chatgpt", "bard", "bing", "ai", "AI", "model", "bot")),
        *((word, "tool") for word in ("tool", "function", "observation", "function_response", "tool-response")),
        *((word, "tool") for word in ("ipython", "tool_result")),
        ("system", "system"),
        ("developer", "developer"),
    ],
)
def test_speakers_are_known_by_many_words(speaker: str, role: str) -> None:
    reading = read(sharegpt({"from": speaker, "value": "x"}))
    assert said(reading) == [(role, "x")]
    assert not reading.findings.mended


@pytest.mark.parametrize("speaker", ["critic", "Alice", "", 5, ["x"], {"name": "y"}])
def test_an_unknown_speaker_costs_no_conversation(speaker: Any) -> None:
    reading = read(sharegpt({"from": "human", "value": "Hi"}, {"from": speaker, "value": "x"}))
    assert said(reading) == [("user", "Hi"), ("assistant", "x")]
    assert reading.record.messages[1]["imported"]["from"] == speaker
    assert reading.findings.mended == {"unknown speaker, kept as assistant": 1}
    assert reading.findings.messages_mended == {1}


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (None, ""),
        ("", ""),
        (5, "5"),
        (True, "true"),
        (["a", "b"], [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        ([{"type": "x"}, 1], [{"type": "x"}, {"type": "imported", "value": 1}]),
        ({"text": "a", "k": 1}, "a"),
        ({"k": 1}, '{"k":1}'),
    ],
)
def test_what_is_said_may_be_anything(value: Any, content: Any) -> None:
    reading = read(sharegpt({"from": "human", "value": "Hi"}, {"from": "gpt", "value": value}))
    assert said(reading)[1] == ("assistant", content)
    raw = reading.record.messages[1].get("imported", {}).get("content", content)
    assert raw == value or value is None or isinstance(value, list)


@pytest.mark.parametrize(
    ("turn", "kept"), [("text", ("assistant", "text")), (7, ("assistant", "7")), ({}, ("assistant", ""))]
)
def test_a_turn_may_be_anything(turn: Any, kept: Any) -> None:
    reading = read(sharegpt({"from": "human", "value": "Hi"}, None, turn))
    assert said(reading) == [("user", "Hi"), kept]
    assert reading.findings.left_out == {"turn that is null": 1}
    assert reading.findings.mended


@pytest.mark.parametrize("speaker", ["function_call", "tool_call", "tool_calls"])
@pytest.mark.parametrize("inside", ['{"name": "f", "arguments": {"a": 1}}', '[{"name": "f", "parameters": {"a": 1}}]'])
def test_calls_of_tools_and_their_results_are_linked(speaker: str, inside: str) -> None:
    reading = read(
        sharegpt(
            {"from": "human", "value": "Hi"},
            {"from": speaker, "value": inside},
            {"from": "observation", "value": "42"},
            {"from": "gpt", "value": "Done"},
            tools="[]",
            system="Be kind.",
        )
    )
    _, _, call, result, _ = reading.record.messages
    assert call["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]
    assert (call["content"], result["tool_call_id"]) == (inside, "call_1")
    assert [role for role, _ in said(reading)] == ["system", "user", "assistant", "tool", "assistant"]
    assert reading.record.metadata == {"tools": "[]"}


def test_a_call_that_cannot_be_read_stays_text() -> None:
    reading = read(sharegpt({"from": "function_call", "value": "find(42)"}))
    assert reading.record.messages == [
        {"role": "assistant", "content": "find(42)", "imported": {"from": "function_call"}}
    ]
    assert reading.findings.mended == {"call of a tool that cannot be read, kept as text": 1}


def test_members_beside_a_turn_are_kept_also_where_they_clash() -> None:
    turn = {"from": "human", "value": "x", "image": "a.png", "content": "y", "weight": 0, "imported": 3}
    (message,) = read(sharegpt(turn)).record.messages
    assert message == {"role": "user", "content": "y", "value": "x", "image": "a.png", "weight": 0, "imported": 3}
    (message,) = read(sharegpt(turn | {"from": "observation"})).record.messages
    assert message["imported"] == {"imported": 3, "from": "observation"}


def test_openais_first_function_calls_become_tool_calls() -> None:
    called = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}, "weight": 0}
    reading = read(
        {"messages": [called, {"role": "function", "name": "f", "content": "1"}], "parallel_tool_calls": False}
    )
    call, result = reading.record.messages
    assert call["tool_calls"][0]["id"] == result["tool_call_id"]
    assert (call["function_call"], call["weight"]) == (called["function_call"], 0)
    assert reading.record.metadata == {"parallel_tool_calls": False}


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {
            "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
            "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}],
        },
        {
            "input": {"messages": [{"role": "user", "content": "q"}], "tools": []},
            "preferred_output": [{"role": "assistant", "content": "a"}],
            "non_preferred_output": [{"role": "assistant", "content": "b"}],
        },
    ],
)
def test_of_two_answers_the_preferred_one_is_said_and_the_other_kept(value: Any) -> None:
    reading = read(value)
    assert said(reading) == [("user", "q"), ("assistant", "a")]
    assert '"b"' in json.dumps(reading.record.metadata["imported"])


def test_a_question_with_its_input_and_what_came_before_is_a_conversation() -> None:
    reading = read({"instruction": "i", "input": "n", "output": "o", "history": [["a", "b"]], "system": "s"})
    assert said(reading) == [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "i\n\nn"), ("assistant", "o")]


def node(parent: str | None, role: Any, *parts: Any, **members: Any) -> dict[str, Any]:
    """A node of ChatGPT's export."""
    content = {"content_type": "text", "parts": list(parts)}
    message = {"id": "i", "author": {"role": role}, "content": content, "metadata": {}} | members
    return {"message": message, "parent": parent, "children": []}


def tree(current: Any, **mapping: Any) -> dict[str, Any]:
    """A conversation of ChatGPT's export."""
    return {"title": "T", "mapping": mapping, "current_node": current}


@pytest.mark.parametrize("times", [(1, 2, 3, 4), (None, None, None, None)])
def test_a_branch_whose_parent_is_gone_is_joined_to_what_came_before(times: Any) -> None:
    a, b, c, d = times
    reading = read(
        tree(
            "d",
            a=node(None, "user", "A", create_time=a),
            b=node("a", "assistant", "B", create_time=b),
            c=node("GONE", "user", "C", create_time=c),
            d=node("c", "assistant", "D", create_time=d),
        )
    )
    assert [text for _, text in said(reading)] == ["A", "B", "C", "D"]
    assert reading.findings.mended == {"message whose parent is missing, joined to what came before": 1}


@pytest.mark.parametrize("current", ["nowhere", 5, "b", None])
def test_a_current_node_that_is_missing_costs_nothing(current: Any) -> None:
    reading = read(tree(current, a=node(None, "user", "A"), b=node("a", "assistant", "B"), bad=5))
    assert [text for _, text in said(reading)] == ["A", "B"]
    assert reading.findings.left_out == {"node that is no object": 1}


def test_a_tree_that_goes_in_a_circle_is_cut() -> None:
    reading = read(tree("b", a=node("b", "user", "A"), b=node("a", "assistant", "B")))
    assert [text for _, text in said(reading)] == ["A", "B"]
    assert reading.findings.mended == {"tree of messages that goes in a circle, cut": 1}


def test_what_is_not_shown_is_counted_by_kind() -> None:
    hidden = {"is_visually_hidden_from_conversation": True}
    reading = read(
        tree(
            "e",
            a=node(None, "system", "hidden", metadata=hidden),
            b=node("a", "user", "settings", content={"content_type": "user_editable_context"}),
            c=node("b", "assistant", "hm", content={"content_type": "thoughts", "thoughts": []}),
            d=node("c", "assistant", ""),
            e=node("d", "user", "Hi"),
            other=node("d", "user", "edited"),
        )
    )
    assert said(reading) == [("user", "Hi")]
    assert reading.findings.left_out == {
        "hidden message": 1,
        "settings of the user": 1,
        "what the model thought": 1,
        "empty message": 1,
        "message on another branch": 1,
    }


@pytest.mark.parametrize("role", ["critic", "function", "unheard of", None, 5])
def test_chatgpt_roles_that_are_none_of_ours_are_kept(role: Any) -> None:
    reading = read(tree("a", a=node(None, role, "A")))
    assert said(reading) == [("tool" if role == "function" else "assistant", "A")]
    assert reading.record.messages[0]["imported"]["author"] == {"role": role}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ({"content_type": "tether_quote", "url": "https://example.org", "text": "q", "title": "t"}, "q"),
        ({"content_type": "tether_browsing_display", "result": "r", "summary": None}, "r"),
        ({"content_type": "unheard_of", "text": "x", "more": [1]}, "x"),
        ({"content_type": "unheard_of", "inside": {"text": "x"}}, "x"),
        ({"content_type": "unheard_of", "number": 5}, ""),
        ({"content_type": "code", "language": "python", "text": "p()"}, "p()"),
        ({"text": "x"}, "x"),
        ("x", "x"),
        (["x"], "x"),
        (5, ""),
    ],
)
def test_any_content_is_kept_with_what_stands_beside_its_text(content: Any, text: str) -> None:
    reading = read(tree("a", a=node(None, "assistant", content=content)))
    (message,) = reading.record.messages
    assert message["content"] == text
    rest = {name: value for name, value in content.items() if value != text} if isinstance(content, dict) else {}
    assert rest.items() <= message.get("imported", {}).get("content", {}).items()


def test_what_stands_beside_a_message_of_chatgpt_is_kept() -> None:
    metadata = {"model_slug": "gpt-4o", "attachments": [{"name": "a.pdf"}]}
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    reading = read(
        tree(
            "b",
            a=node(None, "assistant", "x", recipient="canmore.create_textdoc", metadata=metadata, weight=0),
            b=node("a", "user", "see", picture, None, 5),
        )
    )
    first, second = reading.record.messages
    assert (first["recipient"], first["metadata"], first["weight"]) == ("canmore.create_textdoc", metadata, 0)
    assert second["content"] == [
        {"type": "text", "text": "see"},
        {"type": "image_asset_pointer", **picture},
        {"type": "imported", "value": 5},
    ]


@pytest.mark.parametrize(
    ("time", "read_as"),
    [
        (1700000000.5, "2023-11-14T22:13:20.500Z"),
        ("2023-11-14T23:13:20.5+01:00", "2023-11-14T22:13:20.500Z"),
        (1700000000500, "2023-11-14T22:13:20.500Z"),
        (None, None),
        (-5, None),
        ("yesterday", None),
        (9e9, None),
        ([], None),
    ],
)
def test_times_are_read_in_any_form_and_kept_raw_where_they_are_none(time: Any, read_as: str | None) -> None:
    reading = read(tree("a", a=node(None, "user", "A", create_time=time)) | {"create_time": time})
    (message,) = reading.record.messages
    assert (reading.record.created_at, message.get("created_at")) == (read_as, read_as)
    if read_as is None and time is not None:
        assert message["imported"]["created_at"] in (time, "2255-03-14T16:00:00.000Z")
        assert reading.findings.mended


def test_claudes_export_is_read() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "Hello"},
        {"type": "tool_use", "input": {}},
    ]
    attachment = {"file_name": "a.txt", "extracted_content": "body"}
    value = {
        "uuid": "c",
        "name": "N",
        "created_at": "2024-05-01T10:00:00.123456Z",
        "account": {"uuid": "acc"},
        "chat_messages": [
            {"uuid": "m1", "sender": "human", "text": "Hi", "content": [{"type": "text", "text": "Hi"}]}
            | {"attachments": [attachment], "created_at": "2024-05-01T10:00:00Z"},
            {
                "uuid": "m2",
                "sender": "assistant",
                "text": "Hello",
                "content": blocks,
                "files": [{"file_name": "p.png"}],
            },
            {"uuid": "m3", "sender": "unheard of", "text": "x"},
        ],
    }
    reading = read(value)
    assert reading.format == "Claude data export"
    assert said(reading) == [("user", "Hi"), ("assistant", blocks), ("assistant", "x")]
    first, second, _ = reading.record.messages
    assert (first["attachments"], second["files"]) == ([attachment], [{"file_name": "p.png"}])
    assert (reading.record.title, reading.record.created_at) == ("N", "2024-05-01T10:00:00.123Z")
    assert reading.record.user_id == "ada"
    assert read_record(json.dumps(value).encode(), Wanted({}, NOW)).record.user_id == "acc"


def test_open_webuis_export_is_read() -> None:
    messages = {
        "1": {"id": "1", "parentId": None, "role": "user", "content": "q", "timestamp": 1700000000},
        "2": {"id": "2", "parentId": "1", "role": "assistant", "content": "a1"},
        "3": {"id": "3", "parentId": "1", "role": "assistant", "content": "a2", "model": "m", "files": [1]},
    }
    chat = {"models": ["m"], "history": {"messages": messages, "currentId": "3"}, "messages": [], "params": {"t": 1}}
    reading = read({"id": "c", "user_id": "eve", "title": "T", "created_at": 1700000000, "chat": chat})
    assert reading.format == "Open WebUI export"
    assert (reading.record.user_id, reading.record.model, reading.record.title) == ("eve", "m", "T")
    assert said(reading) == [("user", "q"), ("assistant", "a2")]
    assert reading.record.messages[1]["files"] == [1]
    assert reading.findings.left_out == {"message on another branch": 1}
    assert reading.record.metadata["imported"] == {"params": {"t": 1}}


def test_messages_of_open_webui_that_are_not_in_the_history_are_kept_behind_it() -> None:
    history = {
        "a": {"id": "a", "parentId": None, "role": "user", "content": "q"},
        "b": {"id": "b", "parentId": "a", "role": "assistant", "content": "other"},
        "c": {"id": "c", "parentId": "a", "role": "assistant", "content": "shown"},
    }
    listed = [history["a"], history["b"], {"id": "d", "role": "assistant", "content": "only here"}]
    listed += [{"role": "user", "content": "q"}, {"role": "user", "content": "no id"}, "text"]
    for messages in (history, list(history.values())):
        chat = {"history": {"messages": messages, "currentId": "c"}, "messages": listed}
        reading = read({"chat": chat})
        assert [text for _, text in said(reading)] == ["q", "shown", "only here", "no id", "text"]
        assert reading.findings.left_out == {"message on another branch": 1}
        assert reading.findings.mended["message that is not in the history, kept behind it"] == 3


@pytest.mark.parametrize("is_tree", [True, False])
def test_librechats_export_is_read(is_tree: bool) -> None:  # noqa: FBT001 - drawn
    question = {"messageId": "1", "parentMessageId": None, "sender": "User", "isCreatedByUser": True, "text": "q"}
    parts = [{"type": "text", "text": {"value": "a"}}, {"type": "tool_call", "tool_call": {"name": "f", "output": "o"}}]
    answer = {"messageId": "2", "parentMessageId": "1", "sender": "GPT", "isCreatedByUser": False, "content": parts}
    messages = [question | {"children": [answer]}] if is_tree else [question, answer]
    reading = read({"conversationId": "c", "title": "T", "options": {"model": "gpt"}, "messages": messages})
    assert reading.format == "LibreChat export"
    assert said(reading) == [("user", "q"), ("assistant", [{"type": "text", "text": "a"}, parts[1]])]
    assert (reading.record.title, reading.record.model) == ("T", "gpt")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.word)
def test_a_chosen_format_that_does_not_fit_says_what_it_needs(shape: Any) -> None:
    with pytest.raises(UnreadableError, match=f"no conversation of the format {shape.word}, which needs"):
        read({"nothing": 1}, shape.word)


def test_what_may_be_of_several_formats_is_told() -> None:
    value = {"messages": [{"role": "user", "content": "q"}], "mapping": {}, "conversations": []}
    reading = read(value)
    assert said(reading) == [("user", "q")]
    assert "--format chooses" in next(iter(reading.findings.mended))
    assert said(read(value, "chatgpt")) == []
