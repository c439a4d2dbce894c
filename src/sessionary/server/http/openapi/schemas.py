"""Every shape of the wire as the OpenAPI document spells it, read off the structs.

What a struct cannot say of itself (a message's content and its tool calls depend on each other, say) is added here.
"""

from collections.abc import Iterator
from inspect import cleandoc
from typing import Any, Final

import msgspec
from msgspec import Struct

from sessionary.models import (
    PYTHON_END,
    CreatedSession,
    CreateSession,
    DeletedSession,
    ExtendedSession,
    ExtendSession,
    FaultReport,
    Health,
    ListedSession,
    Message,
    Problem,
    Session,
    StoredMessage,
    UpdatedSession,
    UpdateSession,
)

JsonSchema = dict[str, Any]

NAMES: Final[dict[type[Struct], str]] = {
    CreateSession: "CreateAISessionRequest",
    CreatedSession: "CreateAISession201Response",
    UpdateSession: "UpdateAISessionRequest",
    UpdatedSession: "UpdateAISession200Response",
    ExtendSession: "ExtendAISessionRequest",
    ExtendedSession: "ExtendAISession200Response",
    DeletedSession: "DeleteAISession200Response",
    ListedSession: "ListAISessions200ResponseInner",
    Session: "GetAISession200Response",
}
"""What the documented API calls our structs; one that is not here keeps its own name."""
MEMBER_NAMES: Final[dict[tuple[type[Struct], str], str]] = {
    (CreateSession, "initialMessages"): "CreateAISessionRequestInitialMessagesInner",
    (UpdateSession, "newMessages"): "UpdateAISessionRequestNewMessagesInner",
    (Session, "messages"): "StoredMessage",
}
"""What it calls the members of the arrays that our structs keep as plain objects; all of them are messages."""

_KINDS: Final[tuple[type[Struct], ...]] = (*NAMES, Message, StoredMessage, Problem, FaultReport, Health)
_TEMPLATE: Final = "#/components/schemas/{name}"
_NULL: Final = {"type": "null"}
_OBJECTS: Final[JsonSchema] = {"type": "array", "items": {"type": "object"}}
_A_ROLE: Final[JsonSchema] = {"type": "string"}
_ROLE_AND_CONTENT: Final[JsonSchema] = {
    "additionalProperties": True,
    "anyOf": [
        {"required": ["type"], "properties": {"type": {"type": "string", "minLength": 1}}},
        {
            "required": ["role", "content"],
            "properties": {"role": _A_ROLE, "content": {"anyOf": [{"type": "string"}, _OBJECTS]}},
        },
        {
            "required": ["role", "tool_calls"],
            "properties": {
                "role": _A_ROLE,
                "content": {"anyOf": [{"type": ["string", "null"]}, _OBJECTS]},
                "tool_calls": {"type": "array", "minItems": 1},
            },
        },
    ],
}
_OBJECT_OR_EMPTY_ARRAY: Final[JsonSchema] = {"type": ["object", "array", "null"], "maxItems": 0}


def reference(name: str) -> JsonSchema:
    """Refer to a component."""
    return {"$ref": _TEMPLATE.format(name=name)}


def name_of(kind: type[Struct]) -> str:
    """Name the component that describes a struct."""
    return NAMES.get(kind, kind.__name__)


_RULES: Final[dict[type[Struct], JsonSchema]] = {Message: _ROLE_AND_CONTENT, StoredMessage: _ROLE_AND_CONTENT}
_ANYTHING: Final[JsonSchema] = {"type": ["string", "array", "null", "object", "number", "boolean"]}
_MEMBERS: Final[dict[tuple[type[Struct], str], JsonSchema]] = {
    (CreateSession, "metadata"): _OBJECT_OR_EMPTY_ARRAY,
    (UpdateSession, "metadata"): _OBJECT_OR_EMPTY_ARRAY,
    **{(kind, "content"): _ANYTHING for kind in _RULES},
    **{place: {"items": reference(name)} for place, name in MEMBER_NAMES.items()},
}


def schemas() -> dict[str, JsonSchema]:
    """Describe every struct, under its documented name."""
    _, components = msgspec.json.schema_components(_KINDS, ref_template=_TEMPLATE)
    described = {name_of(kind): _object(kind, components[kind.__name__]) for kind in _KINDS}
    aliases = {name: reference(Message.__name__) for name in MEMBER_NAMES.values()}
    return aliases | described


def query_parameters(kind: type[Struct]) -> list[JsonSchema]:
    """Describe a struct's fields as the parameters of a query string, where nothing can be null."""
    _, components = msgspec.json.schema_components((kind,))
    return [
        parameter(name, "query", _spelled(schema, nullable=False), required=False)
        for name, schema in components[kind.__name__]["properties"].items()
    ]


def parameter(name: str, place: str, schema: JsonSchema, *, required: bool) -> JsonSchema:
    """Describe one parameter; what its schema says in words is said of the parameter."""
    description = schema.pop("description")
    return {"name": name, "in": place, "required": required, "description": description, "schema": schema}


def schema_of(kind: Any) -> JsonSchema:
    """Describe a type that is no struct."""
    return _spelled(msgspec.json.schema(kind))


def prose(text: str) -> str:
    """Turn a docstring into the Markdown that OpenAPI asks for."""
    return cleandoc(text).replace("``", "`")


def _object(kind: type[Struct], schema: JsonSchema) -> JsonSchema:
    # What a struct leaves out when it is encoded is never null on the wire.
    never_null = set(schema["properties"]) - set(schema["required"]) if kind.__struct_config__.omit_defaults else set()
    members = {
        name: _spelled(member, nullable=name not in never_null) | _MEMBERS.get((kind, name), {})
        for name, member in schema["properties"].items()
    }
    described = {"type": "object", "description": prose(schema["description"]), "properties": members}
    required = {"required": schema["required"]} if schema["required"] else {}
    return described | required | _RULES.get(kind, {})


def _spelled(schema: JsonSchema, *, nullable: bool = True) -> JsonSchema:
    options = schema.get("anyOf", [])
    if _NULL in options and len(options) == 2:  # noqa: PLR2004 - one type and null
        (option,) = (option for option in options if option != _NULL)
        outer = {key: value for key, value in schema.items() if key != "anyOf" and value is not None}
        only = _spelled(option | outer)
        return _or_null(only) if nullable else only
    return dict(_spelled_members(schema))


def _spelled_members(schema: JsonSchema) -> Iterator[tuple[str, Any]]:
    if "enum" in schema:
        yield "type", "string"
    for key, value in schema.items():
        match key:
            case "anyOf":
                yield key, [_spelled(option) for option in value]
            case "items":
                yield key, _spelled(value)
            case "pattern":
                # In ECMA-262, which JSON Schema reads, `$` is the very end and needs no look-ahead.
                yield key, value.removesuffix(PYTHON_END)
            case "default" if value is None:
                continue  # absent, that is
            case _:
                yield key, value


def _or_null(schema: JsonSchema) -> JsonSchema:
    choice = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | {"type": [schema["type"], "null"]} | choice
