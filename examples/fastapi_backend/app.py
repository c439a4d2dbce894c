"""A chat back end: a web API in FastAPI, conversations in sessionary, replies from any OpenAI-compatible model.

Start a server (see the README) and run it with:

    pip install -r examples/fastapi_backend/requirements.txt
    export SESSIONARY_URL=http://127.0.0.1:8080 SESSIONARY_ORGANISATION=demo SESSIONARY_TOKEN=sny_...
    export OPENAI_BASE_URL=http://127.0.0.1:11434/v1 OPENAI_MODEL=llama3.2
    uvicorn --app-dir examples/fastapi_backend --port 8000 app:app

    curl -X POST http://127.0.0.1:8000/chats -H 'X-User-Id: ada'
    curl -X POST http://127.0.0.1:8000/chats/ID/messages -H 'X-User-Id: ada' \
      -H 'Content-Type: application/json' -d '{"text": "Hello"}'

The back end itself stores nothing: run as many copies as you like. The header X-User-Id stands for your own login.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx2
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from sessionary import AsyncClient, Session, SessionaryError

UserId = Annotated[str, Header(alias="X-User-Id", min_length=1, max_length=128)]
DAY = 24 * 60
"""Minutes of a day: the longest that a session lives unless it is extended."""


class NewMessage(BaseModel):
    """What a user types."""

    text: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open one client for sessions and one for the model, for all requests."""
    key = os.environ.get("OPENAI_API_KEY", "none")
    async with (
        AsyncClient() as app.state.sessions,
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=120) as app.state.model,
    ):
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/chats", status_code=201)
async def create_chat(user_id: UserId) -> dict[str, str]:
    """Start a conversation that expires a day from now unless something is said in it."""
    created = await app.state.sessions.create_session(user_id=user_id, expiration_minutes=DAY)
    return {"id": created.session_id}


@app.get("/chats")
async def list_chats(user_id: UserId) -> list[dict[str, Any]]:
    """List a user's conversations, the newest first."""
    chats = app.state.sessions.iterate_sessions(user_id=user_id)
    return [{"id": chat.id, "title": chat.title, "messages": chat.total_messages} async for chat in chats]


@app.get("/chats/{chat_id}")
async def get_chat(chat_id: str, user_id: UserId) -> list[dict[str, Any]]:
    """Return the messages of a conversation."""
    return (await owned_session(chat_id, user_id)).messages


@app.post("/chats/{chat_id}/messages")
async def send_message(chat_id: str, message: NewMessage, user_id: UserId) -> dict[str, str]:
    """Store the user's message, get the model's reply, store it and return it."""
    await owned_session(chat_id, user_id)
    async with app.state.sessions.session(session_id=chat_id) as chat:
        await chat.say("user", message.text)
        response = await app.state.model.post(
            os.environ["OPENAI_BASE_URL"] + "/chat/completions",
            json={"model": os.environ.get("OPENAI_MODEL", "llama3.2"), "messages": chat.messages},
        )
        completion = response.raise_for_status().json()
        reply = completion["choices"][0]["message"]["content"]
        await chat.say("assistant", reply, tokens_used=completion["usage"]["total_tokens"])
        await chat.extend(DAY)
    return {"reply": reply}


async def owned_session(chat_id: str, user_id: str) -> Session:
    """Return a session of this user; another user's is a 404. The server separates organisations, not users."""
    session: Session = await app.state.sessions.get_session(chat_id)
    if session.user_id != user_id:
        raise HTTPException(404)
    return session


@app.exception_handler(SessionaryError)
async def error_response(request: Request, error: SessionaryError) -> JSONResponse:  # noqa: ARG001 - FastAPI passes it
    """Pass on "not found" and "try again later"; any other error is ours."""
    status = error.status if error.status in {404, 429, 503} else 500
    return JSONResponse({"error": error.code if status == error.status else "INTERNAL"}, status_code=status)
