"""The schemas of the OpenAPI document, generated from the structs.

What a struct cannot express is added here: for example that a message's content depends on its tool calls.
"""

from collections.abc import Iterator
from inspect import cleandoc
from typing import Any, Final

import msgspec
from msgspec import Struct

from sessionary.errors import FieldError
from sessionary.models import (
    PYTHON_END,
    CreatedSession,
    CreateSession,
    DeletedSession,
    ExtendedSession,
    ExtendSession,
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
"""The names of our structs in the official API; a struct that is not here has its own name."""
MESSAGE_NAMES: Final[dict[tuple[type[Struct], str], str]] = {
    (CreateSession, "initialMessages"): "CreateAISessionRequestInitialMessagesInner",
    (UpdateSession, "newMessages"): "UpdateAISessionRequestNewMessagesInner",
    (Session, "messages"): "StoredMessage",
}
"""The official names of the items of arrays that our structs declare as plain objects; all of them are messages."""

_STRUCTS: Final[tuple[type[Struct], ...]] = (*NAMES, Message, StoredMessage, Problem, FieldError, Health)
_TEMPLATE: Final = "#/components/schemas/{name}"
_NULL: Final = {"type": "null"}
_OBJECTS: Final[JsonSchema] = {"type": "array", "items": {"type": "object"}}
_STRING: Final[JsonSchema] = {"type": "string"}
_ROLE_AND_CONTENT: Final[JsonSchema] = {
    "additionalProperties": True,
    "anyOf": [
        {"required": ["type"], "properties": {"type": {"type": "string", "minLength": 1}}},
        {
            "required": ["role", "content"],
            "properties": {"role": _STRING, "content": {"anyOf": [{"type": "string"}, _OBJECTS]}},
        },
        {
            "required": ["role", "tool_calls"],
            "properties": {
                "role": _STRING,
                "content": {"anyOf": [{"type": ["string", "null"]}, _OBJECTS]},
                "tool_calls": {"type": "array", "minItems": 1},
            },
        },
    ],
}
_OBJECT_OR_EMPTY_ARRAY: Final[JsonSchema] = {"type": ["object", "array", "null"], "maxItems": 0}


def reference(name: str) -> JsonSchema:
    """Return a reference to a component."""
    return {"$ref": _TEMPLATE.format(name=name)}


def component_name(struct: type[Struct]) -> str:
    """Return the name of the component that describes a struct."""
    return NAMES.get(struct, struct.__name__)


_ADDITIONS: Final[dict[type[Struct], JsonSchema]] = {Message: _ROLE_AND_CONTENT, StoredMessage: _ROLE_AND_CONTENT}
_ANYTHING: Final[JsonSchema] = {"type": ["string", "array", "null", "object", "number", "boolean"]}
_MEMBER_ADDITIONS: Final[dict[tuple[type[Struct], str], JsonSchema]] = {
    (CreateSession, "metadata"): _OBJECT_OR_EMPTY_ARRAY,
    (UpdateSession, "metadata"): _OBJECT_OR_EMPTY_ARRAY,
    **{(struct, "content"): _ANYTHING for struct in _ADDITIONS},
    **{member: {"items": reference(name)} for member, name in MESSAGE_NAMES.items()},
}


def schemas() -> dict[str, JsonSchema]:
    """Return the schema of every struct, by its component name."""
    _, components = msgspec.json.schema_components(_STRUCTS, ref_template=_TEMPLATE)
    described = {component_name(struct): _object_schema(struct, components[struct.__name__]) for struct in _STRUCTS}
    aliases = {name: reference(Message.__name__) for name in MESSAGE_NAMES.values()}
    return aliases | described


def query_parameters(struct: type[Struct]) -> list[JsonSchema]:
    """Describe a struct's fields as query parameters, which cannot be null."""
    _, components = msgspec.json.schema_components((struct,))
    return [
        describe_parameter(name, "query", _convert(schema, nullable=False), required=False)
        for name, schema in components[struct.__name__]["properties"].items()
    ]


def describe_parameter(name: str, location: str, schema: JsonSchema, *, required: bool) -> JsonSchema:
    """Describe one parameter; the description moves from its schema to the parameter."""
    description = schema.pop("description")
    return {"name": name, "in": location, "required": required, "description": description, "schema": schema}


def schema_of(type_: Any) -> JsonSchema:
    """Return the schema of a type that is not a struct."""
    return _convert(msgspec.json.schema(type_))


def to_markdown(text: str) -> str:
    """Convert a docstring to the Markdown that OpenAPI expects."""
    return cleandoc(text).replace("``", "`")


def _object_schema(struct: type[Struct], schema: JsonSchema) -> JsonSchema:
    # A member that is omitted when it has its default is never null.
    omitted = set(schema["properties"]) - set(schema["required"]) if struct.__struct_config__.omit_defaults else set()
    members = {
        name: _convert(member, nullable=name not in omitted) | _MEMBER_ADDITIONS.get((struct, name), {})
        for name, member in schema["properties"].items()
    }
    described = {"type": "object", "description": to_markdown(schema["description"]), "properties": members}
    required = {"required": schema["required"]} if schema["required"] else {}
    return described | required | _ADDITIONS.get(struct, {})


def _convert(schema: JsonSchema, *, nullable: bool = True) -> JsonSchema:
    """Convert a schema of msgspec to the form of our document."""
    options = schema.get("anyOf", [])
    if _NULL in options and len(options) == 2:  # noqa: PLR2004 - one type and null
        (option,) = (option for option in options if option != _NULL)
        outer = {key: value for key, value in schema.items() if key != "anyOf" and value is not None}
        converted = _convert(option | outer)
        return _or_null(converted) if nullable else converted
    return dict(_convert_members(schema))


def _convert_members(schema: JsonSchema) -> Iterator[tuple[str, Any]]:
    if "enum" in schema:
        yield "type", "string"
    for key, value in schema.items():
        match key:
            case "anyOf":
                yield key, [_convert(option) for option in value]
            case "items":
                yield key, _convert(value)
            case "pattern":
                # In ECMA-262, which JSON Schema uses, `$` matches only the very end and needs no look-ahead.
                yield key, value.removesuffix(PYTHON_END)
            case "default" if value is None:
                continue  # a default of null means absent
            case _:
                yield key, value


def _or_null(schema: JsonSchema) -> JsonSchema:
    enum = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | {"type": [schema["type"], "null"]} | enum
