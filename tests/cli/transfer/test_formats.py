"""Parsing each format: no part of a conversation is lost, whatever its values are."""

import json
from typing import Any

import pytest

from sessionary.cli.transfer.errors import RecordError
from sessionary.cli.transfer.formats.registry import FORMATS, ReadOptions, parse_record
from sessionary.cli.transfer.session_draft import ParsedRecord

NOW = "2026-11-28T00:00:00.000Z"


def read(value: Any, format_: str | None = None, **defaults: str) -> ParsedRecord:
    """Read one record."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return parse_record(text, ReadOptions({"user_id": "ada"} | defaults, NOW, format_))


def contents(parsed: ParsedRecord) -> list[tuple[Any, Any]]:
    """The role and content of each message."""
    return [(message.get("role"), message.get("content")) for message in parsed.session.messages]


def sharegpt(*turns: Any, **members: Any) -> dict[str, Any]:
    """A conversation of training data."""
    return {"conversations": list(turns), **members}


@pytest.mark.parametrize("list_name", ["conversations", "messages", "conversation"])
@pytest.mark.parametrize(("speaker", "text"), [("from", "value"), ("role", "content"), ("from", "content")])
def test_turns_are_read_under_any_of_their_names(list_name: str, speaker: str, text: str) -> None:
    parsed = read({list_name: [{speaker: "user", text: "Hi"}, {speaker: "assistant", text: "Yo"}]})
    assert contents(parsed) == [("user", "Hi"), ("assistant", "Yo")]
    assert not parsed.log.changes


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
def test_many_speaker_names_are_recognised(speaker: str, role: str) -> None:
    parsed = read(sharegpt({"from": speaker, "value": "x"}))
    assert contents(parsed) == [(role, "x")]
    assert not parsed.log.changes


@pytest.mark.parametrize("speaker", ["critic", "Alice", "", 5, ["x"], {"name": "y"}])
def test_an_unknown_speaker_becomes_the_assistant(speaker: Any) -> None:
    parsed = read(sharegpt({"from": "human", "value": "Hi"}, {"from": speaker, "value": "x"}))
    assert contents(parsed) == [("user", "Hi"), ("assistant", "x")]
    assert parsed.session.messages[1]["imported"]["from"] == speaker
    assert parsed.log.changes == {"unknown speaker, stored as assistant": 1}
    assert parsed.log.changed_messages == {1}


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
def test_content_may_be_any_json_value(value: Any, content: Any) -> None:
    parsed = read(sharegpt({"from": "human", "value": "Hi"}, {"from": "gpt", "value": value}))
    assert contents(parsed)[1] == ("assistant", content)
    raw = parsed.session.messages[1].get("imported", {}).get("content", content)
    assert raw == value or value is None or isinstance(value, list)


@pytest.mark.parametrize(
    ("turn", "kept"), [("text", ("assistant", "text")), (7, ("assistant", "7")), ({}, ("assistant", ""))]
)
def test_a_turn_may_be_any_json_value(turn: Any, kept: Any) -> None:
    parsed = read(sharegpt({"from": "human", "value": "Hi"}, None, turn))
    assert contents(parsed) == [("user", "Hi"), kept]
    assert parsed.log.omitted == {"turn that is null": 1}
    assert parsed.log.changes


@pytest.mark.parametrize("speaker", ["function_call", "tool_call", "tool_calls"])
@pytest.mark.parametrize("inside", ['{"name": "f", "arguments": {"a": 1}}', '[{"name": "f", "parameters": {"a": 1}}]'])
def test_calls_of_tools_and_their_results_are_linked(speaker: str, inside: str) -> None:
    parsed = read(
        sharegpt(
            {"from": "human", "value": "Hi"},
            {"from": speaker, "value": inside},
            {"from": "observation", "value": "42"},
            {"from": "gpt", "value": "Done"},
            tools="[]",
            system="Be kind.",
        )
    )
    _, _, call, result, _ = parsed.session.messages
    assert call["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    ]
    assert (call["content"], result["tool_call_id"]) == (inside, "call_1")
    assert [role for role, _ in contents(parsed)] == ["system", "user", "assistant", "tool", "assistant"]
    assert parsed.session.metadata == {"tools": "[]"}


def test_a_tool_call_that_cannot_be_parsed_stays_text() -> None:
    parsed = read(sharegpt({"from": "function_call", "value": "find(42)"}))
    assert parsed.session.messages == [
        {"role": "assistant", "content": "find(42)", "imported": {"from": "function_call"}}
    ]
    assert parsed.log.changes == {"tool call that cannot be parsed, kept as text": 1}


def test_members_of_a_turn_are_kept_also_if_names_clash() -> None:
    turn = {"from": "human", "value": "x", "image": "a.png", "content": "y", "weight": 0, "imported": 3}
    (message,) = read(sharegpt(turn)).session.messages
    assert message == {"role": "user", "content": "y", "value": "x", "image": "a.png", "weight": 0, "imported": 3}
    (message,) = read(sharegpt(turn | {"from": "observation"})).session.messages
    assert message["imported"] == {"imported": 3, "from": "observation"}


def test_openais_first_function_calls_become_tool_calls() -> None:
    called = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}, "weight": 0}
    parsed = read(
        {"messages": [called, {"role": "function", "name": "f", "content": "1"}], "parallel_tool_calls": False}
    )
    call, result = parsed.session.messages
    assert call["tool_calls"][0]["id"] == result["tool_call_id"]
    assert (call["function_call"], call["weight"]) == (called["function_call"], 0)
    assert parsed.session.metadata == {"parallel_tool_calls": False}


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
def test_the_preferred_answer_is_imported_and_the_other_kept_as_metadata(value: Any) -> None:
    parsed = read(value)
    assert contents(parsed) == [("user", "q"), ("assistant", "a")]
    assert '"b"' in json.dumps(parsed.session.metadata["imported"])


def test_a_question_with_input_and_history_is_a_conversation() -> None:
    parsed = read({"instruction": "i", "input": "n", "output": "o", "history": [["a", "b"]], "system": "s"})
    assert contents(parsed) == [
        ("system", "s"),
        ("user", "a"),
        ("assistant", "b"),
        ("user", "i\n\nn"),
        ("assistant", "o"),
    ]


def node(parent: str | None, role: Any, *parts: Any, **members: Any) -> dict[str, Any]:
    """A node of ChatGPT's export."""
    content = {"content_type": "text", "parts": list(parts)}
    message = {"id": "i", "author": {"role": role}, "content": content, "metadata": {}} | members
    return {"message": message, "parent": parent, "children": []}


def tree(current: Any, **mapping: Any) -> dict[str, Any]:
    """A conversation of ChatGPT's export."""
    return {"title": "T", "mapping": mapping, "current_node": current}


@pytest.mark.parametrize("times", [(1, 2, 3, 4), (None, None, None, None)])
def test_a_branch_whose_parent_is_missing_is_joined_to_earlier_messages(times: Any) -> None:
    a, b, c, d = times
    parsed = read(
        tree(
            "d",
            a=node(None, "user", "A", create_time=a),
            b=node("a", "assistant", "B", create_time=b),
            c=node("GONE", "user", "C", create_time=c),
            d=node("c", "assistant", "D", create_time=d),
        )
    )
    assert [text for _, text in contents(parsed)] == ["A", "B", "C", "D"]
    assert parsed.log.changes == {"message whose parent is missing, joined to earlier messages": 1}


@pytest.mark.parametrize("current", ["nowhere", 5, "b", None])
def test_a_missing_current_node_loses_no_messages(current: Any) -> None:
    parsed = read(tree(current, a=node(None, "user", "A"), b=node("a", "assistant", "B"), bad=5))
    assert [text for _, text in contents(parsed)] == ["A", "B"]
    assert parsed.log.omitted == {"node that is not an object": 1}


def test_a_cycle_in_a_tree_is_cut() -> None:
    parsed = read(tree("b", a=node("b", "user", "A"), b=node("a", "assistant", "B")))
    assert [text for _, text in contents(parsed)] == ["A", "B"]
    assert parsed.log.changes == {"cycle in the tree of messages, cut": 1}


def test_omitted_messages_are_counted_by_kind() -> None:
    hidden = {"is_visually_hidden_from_conversation": True}
    parsed = read(
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
    assert contents(parsed) == [("user", "Hi")]
    assert parsed.log.omitted == {
        "hidden message": 1,
        "user settings": 1,
        "reasoning of the model": 1,
        "empty message": 1,
        "message on another branch": 1,
    }


@pytest.mark.parametrize("role", ["critic", "function", "unheard of", None, 5])
def test_unknown_chatgpt_roles_are_kept_in_imported(role: Any) -> None:
    parsed = read(tree("a", a=node(None, role, "A")))
    assert contents(parsed) == [("tool" if role == "function" else "assistant", "A")]
    assert parsed.session.messages[0]["imported"]["author"] == {"role": role}


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
def test_any_content_is_kept_with_the_members_beside_its_text(content: Any, text: str) -> None:
    parsed = read(tree("a", a=node(None, "assistant", content=content)))
    (message,) = parsed.session.messages
    assert message["content"] == text
    rest = {name: value for name, value in content.items() if value != text} if isinstance(content, dict) else {}
    assert rest.items() <= message.get("imported", {}).get("content", {}).items()


def test_other_members_of_a_chatgpt_message_are_kept() -> None:
    metadata = {"model_slug": "gpt-4o", "attachments": [{"name": "a.pdf"}]}
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
    parsed = read(
        tree(
            "b",
            a=node(None, "assistant", "x", recipient="canmore.create_textdoc", metadata=metadata, weight=0),
            b=node("a", "user", "see", picture, None, 5),
        )
    )
    first, second = parsed.session.messages
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
def test_times_are_parsed_in_many_formats_and_invalid_ones_kept(time: Any, read_as: str | None) -> None:
    parsed = read(tree("a", a=node(None, "user", "A", create_time=time)) | {"create_time": time})
    (message,) = parsed.session.messages
    assert (parsed.session.created_at, message.get("created_at")) == (read_as, read_as)
    if read_as is None and time is not None:
        assert message["imported"]["created_at"] in (time, "2255-03-14T16:00:00.000Z")
        assert parsed.log.changes


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
    parsed = read(value)
    assert parsed.format == "Claude data export"
    assert contents(parsed) == [("user", "Hi"), ("assistant", blocks), ("assistant", "x")]
    first, second, _ = parsed.session.messages
    assert (first["attachments"], second["files"]) == ([attachment], [{"file_name": "p.png"}])
    assert (parsed.session.title, parsed.session.created_at) == ("N", "2024-05-01T10:00:00.123Z")
    assert parsed.session.user_id == "ada"
    assert parse_record(json.dumps(value).encode(), ReadOptions({}, NOW)).session.user_id == "acc"


def test_open_webuis_export_is_read() -> None:
    messages = {
        "1": {"id": "1", "parentId": None, "role": "user", "content": "q", "timestamp": 1700000000},
        "2": {"id": "2", "parentId": "1", "role": "assistant", "content": "a1"},
        "3": {"id": "3", "parentId": "1", "role": "assistant", "content": "a2", "model": "m", "files": [1]},
    }
    chat = {"models": ["m"], "history": {"messages": messages, "currentId": "3"}, "messages": [], "params": {"t": 1}}
    parsed = read({"id": "c", "user_id": "eve", "title": "T", "created_at": 1700000000, "chat": chat})
    assert parsed.format == "Open WebUI export"
    assert (parsed.session.user_id, parsed.session.model, parsed.session.title) == ("eve", "m", "T")
    assert contents(parsed) == [("user", "q"), ("assistant", "a2")]
    assert parsed.session.messages[1]["files"] == [1]
    assert parsed.log.omitted == {"message on another branch": 1}
    assert parsed.session.metadata["imported"] == {"params": {"t": 1}}


def test_open_webui_messages_outside_the_history_are_appended() -> None:
    history = {
        "a": {"id": "a", "parentId": None, "role": "user", "content": "q"},
        "b": {"id": "b", "parentId": "a", "role": "assistant", "content": "other"},
        "c": {"id": "c", "parentId": "a", "role": "assistant", "content": "shown"},
    }
    listed = [history["a"], history["b"], {"id": "d", "role": "assistant", "content": "only here"}]
    listed += [{"role": "user", "content": "q"}, {"role": "user", "content": "no id"}, "text"]
    for messages in (history, list(history.values())):
        chat = {"history": {"messages": messages, "currentId": "c"}, "messages": listed}
        parsed = read({"chat": chat})
        assert [text for _, text in contents(parsed)] == ["q", "shown", "only here", "no id", "text"]
        assert parsed.log.omitted == {"message on another branch": 1}
        assert parsed.log.changes["message that is not in the history, appended after it"] == 3


@pytest.mark.parametrize("is_tree", [True, False])
def test_librechats_export_is_read(is_tree: bool) -> None:  # noqa: FBT001 - drawn
    question = {"messageId": "1", "parentMessageId": None, "sender": "User", "isCreatedByUser": True, "text": "q"}
    parts = [{"type": "text", "text": {"value": "a"}}, {"type": "tool_call", "tool_call": {"name": "f", "output": "o"}}]
    answer = {"messageId": "2", "parentMessageId": "1", "sender": "GPT", "isCreatedByUser": False, "content": parts}
    messages = [question | {"children": [answer]}] if is_tree else [question, answer]
    parsed = read({"conversationId": "c", "title": "T", "options": {"model": "gpt"}, "messages": messages})
    assert parsed.format == "LibreChat export"
    assert contents(parsed) == [("user", "q"), ("assistant", [{"type": "text", "text": "a"}, parts[1]])]
    assert (parsed.session.title, parsed.session.model) == ("T", "gpt")


@pytest.mark.parametrize("format_", FORMATS, ids=lambda format_: format_.option)
def test_a_record_that_is_not_in_the_chosen_format_is_rejected_with_the_requirement(format_: Any) -> None:
    with pytest.raises(RecordError, match=f"not a conversation in the format {format_.option}, which needs"):
        read({"nothing": 1}, format_.option)


def test_an_ambiguous_format_is_reported() -> None:
    value = {"messages": [{"role": "user", "content": "q"}], "mapping": {}, "conversations": []}
    parsed = read(value)
    assert contents(parsed) == [("user", "q")]
    assert "use --format" in next(iter(parsed.log.changes))
    assert contents(read(value, "chatgpt")) == []
