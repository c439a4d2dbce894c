"""Entity tags: a change can be meant for one version only, and a read can be spared."""

from typing import Any

import pytest

from tests.http.calling import JSON, Answer, Caller, as_json, message, unknown_id


def update_if(caller: Caller, session_id: str, tag: str, **fields: Any) -> Answer:
    return caller.send("PUT", f"{caller.sessions}/{session_id}", as_json(fields), JSON | {"If-Match": tag})


def get_unless(caller: Caller, session_id: str, tag: str, method: str = "GET") -> Answer:
    return caller.send(method, f"{caller.sessions}/{session_id}", headers={"If-None-Match": tag})


def tag_of(answer: Answer) -> str:
    return answer.headers["etag"]


def test_each_change_answers_with_the_tag_that_get_session_has_then(caller: Caller) -> None:
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


def test_update_session_meant_for_the_current_version_is_applied(caller: Caller) -> None:
    session_id = caller.begin()
    tag = tag_of(caller.get(session_id))
    assert update_if(caller, session_id, tag, newMessages=[message()]).status == 200
    assert update_if(caller, session_id, "*", newMessages=[message()]).status == 200


@pytest.mark.parametrize("spelled", ["{tag}", "W/{current}", '"unheard-of"', '"0"', '"99999999999999999999"'])
def test_update_session_meant_for_another_version_is_412_with_the_current_tag(caller: Caller, spelled: str) -> None:
    session_id = caller.begin()
    tag = tag_of(caller.get(session_id))
    current = tag_of(caller.update(session_id, tokensUsed=1))
    refused = update_if(caller, session_id, spelled.format(tag=tag, current=current), newMessages=[message()])
    assert refused.refusal == (412, "PRECONDITION_FAILED")
    assert tag_of(refused) == current
    assert caller.read(session_id)["total_messages"] == 0


def test_extend_session_and_delete_session_take_a_precondition_too(caller: Caller) -> None:
    session_id = caller.begin()
    stale = tag_of(caller.get(session_id))
    current = tag_of(caller.update(session_id, tokensUsed=1))
    path = f"{caller.sessions}/{session_id}"
    assert caller.send("PUT", f"{path}/extend", b"{}", JSON | {"If-Match": stale}).status == 412
    assert caller.send("DELETE", path, headers={"If-Match": stale}).status == 412
    assert caller.send("DELETE", path, headers={"If-Match": current}).status == 200


def test_a_session_that_is_not_there_is_404_whatever_the_precondition(caller: Caller) -> None:
    assert update_if(caller, unknown_id(), '"1"', tokensUsed=1).refusal == (404, "SESSION_NOT_FOUND")


def test_get_session_is_304_for_who_has_the_version(caller: Caller) -> None:
    session_id = caller.begin(initialMessages=[message()])
    tag = tag_of(caller.get(session_id))
    for known in (tag, f"W/{tag}", f'"other", {tag}', f'"with,comma" , {tag}', "*"):
        spared = get_unless(caller, session_id, known)
        assert (spared.status, spared.body, tag_of(spared)) == (304, b"", tag)
        assert get_unless(caller, session_id, known, "HEAD").status == 304
    caller.update(session_id, tokensUsed=1)
    assert get_unless(caller, session_id, tag).json["total_tokens"] == 1


@pytest.mark.parametrize("spelled", ["1", '"1', '"1" "2"', ""])
def test_tags_that_cannot_be_read_are_refused(caller: Caller, spelled: str) -> None:
    session_id = caller.begin()
    assert update_if(caller, session_id, spelled, tokensUsed=1).refusal == (400, "INVALID_HEADER")
    assert get_unless(caller, session_id, spelled).refusal == (400, "INVALID_HEADER")
    assert caller.read(session_id)["total_tokens"] == 0


def test_if_match_takes_one_tag(caller: Caller) -> None:
    session_id = caller.begin()
    assert update_if(caller, session_id, '"1", "2"', tokensUsed=1).refusal == (400, "INVALID_HEADER")
