"""An agent that answers at once with the same 500 bytes: what is measured is the keeping of the conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.adk.agents import BaseAgent
from google.adk.events import Event
from google.genai import types

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from google.adk.agents.invocation_context import InvocationContext

ANSWER = "nothing is lost. " * 29 + "Indeed."


class Echo(BaseAgent):
    """Needs no model."""

    async def _run_async_impl(self, context: InvocationContext) -> AsyncGenerator[Event, None]:
        answer = types.Content(role="model", parts=[types.Part(text=ANSWER)])
        yield Event(author=self.name, invocation_id=context.invocation_id, content=answer)


root_agent = Echo(name="echo")
