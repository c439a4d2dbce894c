"""An agent for `adk api_server`."""

from . import agent as agent
