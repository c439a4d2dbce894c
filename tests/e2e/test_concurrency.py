"""Concurrent writers over HTTP: every acknowledged append is stored once, complete and in order."""

import threading

from tests.e2e.api_client import ApiClient, first_token
from tests.harness.server import ServerProcess

WRITERS = 32
APPENDS = 20


def test_concurrent_appends_of_32_writers_are_all_stored_in_order(server: ServerProcess, api: ApiClient) -> None:
    session = api.create()
    token = first_token(server)
    totals: list[int] = []
    failures: list[BaseException] = []

    def write(writer: int) -> None:
        try:
            with ApiClient(server.base_url, token) as own:
                for number in range(APPENDS):
                    messages = [
                        {"role": "user", "content": f"{writer}:{number}"},
                        {"role": "assistant", "content": f"{writer}:{number}", "id": "answer"},
                    ]
                    response = own.update(session, newMessages=messages, tokensUsed=writer).expect(200).json
                    totals.append(response["totalMessages"])
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            failures.append(error)

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()

    assert failures == []
    stored = api.get(session)
    messages = stored["messages"]
    questions, replies = messages[::2], messages[1::2]
    assert [message["content"] for message in questions] == [message["content"] for message in replies]
    assert {message["role"] for message in questions} == {"user"}
    assert {(message["role"], message["id"]) for message in replies} == {("assistant", "answer")}
    for writer in range(WRITERS):
        own = [message["content"] for message in questions if message["content"].startswith(f"{writer}:")]
        assert own == [f"{writer}:{number}" for number in range(APPENDS)]
    assert stored["total_messages"] == len(messages) == 2 * WRITERS * APPENDS
    assert stored["total_tokens"] == APPENDS * sum(range(WRITERS))
    assert sorted(totals) == list(range(2, 2 * WRITERS * APPENDS + 2, 2)), "each response has its own total"
