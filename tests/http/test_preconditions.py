"""Entity tags: `If-Match` and `If-None-Match` of changes and reads."""

from typing import Any

import pytest

from tests.http.callers import JSON, Caller, Response, as_json, message, unknown_id


def update_if(caller: Caller, session_id: str, tag: str, **fields: Any) -> Response:
    return caller.send("PUT", f"{caller.sessions}/{session_id}", as_json(fields), JSON | {"If-Match": tag})


def get_unless(caller: Caller, session_id: str, tag: str, method: str = "GET") -> Response:
    return caller.send(method, f"{caller.sessions}/{session_id}", headers={"If-None-Match": tag})


def tag_of(response: Response) -> str:
    return response.headers["etag"]


def test_each_change_returns_the_etag_that_get_session_returns_afterwards(caller: Caller) -> None:
    created = caller.create()
    session_id = created.json["sessionId"]
    tags = [tag_of(created)]
    assert tag_of(caller.get(session_id)) == tags[-1]
    for change in ({"tokensUsed": 1}, None, {}):
        changed = caller.extend(session_id) if change is None else caller.update(session_id, **change)
        tags.append(tag_of(changed))
        assert tag_of(caller.get(session_id)) == tags[-1]
    assert tags[2] == tags[3], "an update that sets nothing leaves the tag"
    assert len(set(tags)) == 3


def test_update_session_with_if_match_on_the_current_version_is_applied(caller: Caller) -> None:
    session_id = caller.new_session()
    tag = tag_of(caller.get(session_id))
    assert update_if(caller, session_id, tag, newMessages=[message()]).status == 200
    assert update_if(caller, session_id, "*", newMessages=[message()]).status == 200


@pytest.mark.parametrize(
    ("sent", "explanation"),
    [
        ("{old}", "has changed"),
        ('{old}, W/"7"', "has changed"),
        ("W/{current}", "without W/"),
        ("W/{old}", "without W/"),
        ('W/{current}, "other"', "without W/"),
        ('W/{current}, "77"', "without W/"),
        ("{old}, W/{current}", "without W/"),
        ('"unheard-of"', "never sends"),
        ('"2-gzip"', "never sends"),
        ('"0"', "never sends"),
        ('""', "never sends"),
        ('"99999999999999999999"', "never sends"),
    ],
)
def test_if_match_on_another_version_is_412_with_the_current_etag_and_an_explanation(
    caller: Caller, sent: str, explanation: str
) -> None:
    session_id = caller.new_session()
    old = tag_of(caller.get(session_id))
    current = tag_of(caller.update(session_id, tokensUsed=1))
    refused = update_if(caller, session_id, sent.format(old=old, current=current), newMessages=[message()])
    assert refused.error == (412, "PRECONDITION_FAILED")
    assert explanation in refused.problem["detail"]
    assert tag_of(refused) == current
    assert caller.read(session_id)["total_messages"] == 0


@pytest.mark.parametrize(
    "sent", ['"77", {current}', "{current},,{current} ,", ', W/"1" , {current}', " * ", '"a,b",{current}']
)
def test_a_list_of_tags_matches_if_one_of_them_does(caller: Caller, sent: str) -> None:
    session_id = caller.new_session()
    current = tag_of(caller.update(session_id, tokensUsed=1))
    given = sent.format(current=current)
    assert update_if(caller, session_id, given, tokensUsed=1).status == 200
    path = f"{caller.sessions}/{session_id}"
    assert caller.send("DELETE", path, headers={"If-Match": '"1", "2", "3"'}).status == 200


@pytest.mark.parametrize("sent", ["*", "{current}", "W/{current}", '"77", W/{current}'])
def test_a_change_with_if_none_match_on_the_current_version_is_412(caller: Caller, sent: str) -> None:
    session_id = caller.new_session()
    current = tag_of(caller.update(session_id, tokensUsed=1))
    path, unless = f"{caller.sessions}/{session_id}", {"If-None-Match": sent.format(current=current)}
    for refused in (
        caller.send("PUT", path, as_json({"tokensUsed": 1}), JSON | unless),
        caller.send("PUT", path, b"{}", JSON | unless),
        caller.send("PUT", f"{path}/extend", None, unless),
        caller.send("DELETE", path, headers=unless),
    ):
        assert refused.error == (412, "PRECONDITION_FAILED")
        assert "rules out" in refused.problem["detail"]
        assert tag_of(refused) == current
    assert caller.read(session_id)["total_tokens"] == 1
    missing = f"{caller.sessions}/{unknown_id()}"
    assert caller.send("PUT", missing, b"{}", JSON | unless).error == (404, "SESSION_NOT_FOUND")


def test_a_change_with_if_none_match_on_another_version_is_applied(caller: Caller) -> None:
    session_id = caller.new_session()
    path = f"{caller.sessions}/{session_id}"
    stale = {"If-None-Match": '"77", W/"78", "x"'}
    assert caller.send("PUT", path, as_json({"tokensUsed": 1}), JSON | stale).status == 200
    assert caller.send("PUT", f"{path}/extend", None, stale).status == 200
    assert caller.send("DELETE", path, headers=stale).status == 200


def test_if_match_is_checked_before_if_none_match(caller: Caller) -> None:
    session_id = caller.new_session()
    path = f"{caller.sessions}/{session_id}"
    both = {"If-Match": '"77"', "If-None-Match": "*"}
    assert "has changed" in caller.send("PUT", path, b"{}", JSON | both).problem["detail"]
    assert caller.send("GET", path, headers=both).error == (412, "PRECONDITION_FAILED")


def test_get_session_supports_if_match(caller: Caller) -> None:
    session_id = caller.new_session()
    path, tag = f"{caller.sessions}/{session_id}", tag_of(caller.get(session_id))
    assert caller.send("GET", path, headers={"If-Match": f'"77", {tag}'}).status == 200
    assert caller.send("GET", path, headers={"If-Match": "*"}).status == 200
    assert caller.send("HEAD", path, headers={"If-Match": '"77"'}).status == 412
    refused = caller.send("GET", path, headers={"If-Match": f"W/{tag}"})
    assert (refused.error, tag_of(refused)) == ((412, "PRECONDITION_FAILED"), tag)
    assert "without W/" in refused.problem["detail"]


def test_a_list_has_no_etag_to_match(caller: Caller) -> None:
    body = b'{"userId":"a"}'
    for condition in ({"If-Match": '"1"'}, {"If-None-Match": "*"}):
        refused = caller.send("POST", caller.sessions, body, JSON | condition)
        assert refused.error == (412, "PRECONDITION_FAILED")
        assert "etag" not in refused.headers
    assert caller.send("GET", caller.sessions, headers={"If-Match": '"1"'}).status == 412
    assert caller.send("GET", caller.sessions, headers={"If-None-Match": "*"}).status == 304
    assert caller.list().json == []
    for condition in ({"If-Match": "*"}, {"If-None-Match": '"1"'}):
        assert caller.send("POST", caller.sessions, body, JSON | condition).status == 201
        assert caller.send("GET", caller.sessions, headers=condition).status == 200


def test_preconditions_on_dates_are_ignored(caller: Caller) -> None:
    session_id = caller.new_session()
    path, old = f"{caller.sessions}/{session_id}", "Sat, 01 Jan 2000 00:00:00 GMT"
    dated = {"If-Modified-Since": "Sat, 01 Jan 2050 00:00:00 GMT", "If-Unmodified-Since": old, "If-Range": old}
    assert caller.send("GET", path, headers=dated).status == 200
    assert caller.send("PUT", path, b"{}", JSON | dated).status == 200
    assert "last-modified" not in caller.get(session_id).headers


def test_extend_session_and_delete_session_support_preconditions(caller: Caller) -> None:
    session_id = caller.new_session()
    stale = tag_of(caller.get(session_id))
    current = tag_of(caller.update(session_id, tokensUsed=1))
    path = f"{caller.sessions}/{session_id}"
    assert caller.send("PUT", f"{path}/extend", b"{}", JSON | {"If-Match": stale}).status == 412
    assert caller.send("DELETE", path, headers={"If-Match": stale}).status == 412
    assert caller.send("DELETE", path, headers={"If-Match": current}).status == 200


def test_an_unknown_session_is_404_whatever_the_precondition(caller: Caller) -> None:
    assert update_if(caller, unknown_id(), '"1"', tokensUsed=1).error == (404, "SESSION_NOT_FOUND")


def test_get_session_is_304_if_the_caller_has_the_version(caller: Caller) -> None:
    session_id = caller.new_session(initialMessages=[message()])
    tag = tag_of(caller.get(session_id))
    for known in (tag, f"W/{tag}", f'"other", {tag}', f'"with,comma" , {tag}', "*"):
        spared = get_unless(caller, session_id, known)
        assert (spared.status, spared.body, tag_of(spared)) == (304, b"", tag)
        assert get_unless(caller, session_id, known, "HEAD").status == 304
    caller.update(session_id, tokensUsed=1)
    assert get_unless(caller, session_id, tag).json["total_tokens"] == 1


@pytest.mark.parametrize("sent", ["1", '"1', '"1" "2"', "", ",", ", ,", '*, "1"', 'w/"1"', 'W/ "1"', '"a b"'])
def test_invalid_tags_are_refused(caller: Caller, sent: str) -> None:
    session_id = caller.new_session()
    path = f"{caller.sessions}/{session_id}"
    assert update_if(caller, session_id, sent, tokensUsed=1).error == (400, "INVALID_HEADER")
    assert caller.send("GET", path, headers={"If-Match": sent}).error == (400, "INVALID_HEADER")
    assert get_unless(caller, session_id, sent).error == (400, "INVALID_HEADER")
    refused = caller.send("PUT", path, b'{"tokensUsed":1}', JSON | {"If-None-Match": sent})
    assert refused.error == (400, "INVALID_HEADER")
    assert caller.read(session_id)["total_tokens"] == 0


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("between", [" , ", ", ", "\t,\t ", ' , "a" '])
def test_a_long_invalid_list_is_400_at_once(caller: Caller, header: str, between: str) -> None:
    sent = '"a"' + between * (16_000 // len(between)) + "x"
    assert caller.send("DELETE", f"{caller.sessions}/{unknown_id()}", headers={header: sent}).status == 400


@pytest.mark.parametrize("tags", [', , "a" , ,"2",,', ',"a"', '"a",', '"a" \t,\t\t, W/"b"'])
def test_empty_members_of_a_list_are_skipped(caller: Caller, tags: str) -> None:
    assert caller.send("DELETE", f"{caller.sessions}/{unknown_id()}", headers={"If-Match": tags}).status == 404
