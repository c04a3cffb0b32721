"""Strict schemas: the form that providers enforce. A schema that cannot be rewritten into it is sent as it is.

A provider that keeps to a schema strictly knows a part of JSON Schema only, and refuses a request with anything else.
What an answer may be stays the same, but for constraints that the provider does not know: these are checked here.

See: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, Final, cast

Json = dict[str, Any]

WRAPPED: Final = "answer"
"""Member that holds an answer which is no object: a provider takes only objects."""
MAX_PROPERTIES: Final = 5_000
MAX_LEVELS: Final = 10
MAX_MEMBERS: Final = 1_000
"""Values of all enumerations together."""
MAX_NAME_CHARS: Final = 120_000
"""Characters of all names and values together."""

_KEPT: Final = frozenset(
    (
        *("type", "title", "description", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum"),
        *("exclusiveMinimum", "minItems", "maxItems"),
    )
)
_DROPPED: Final = frozenset(
    (
        *("default", "examples", "discriminator", "deprecated", "readOnly", "writeOnly", "$comment"),
        *("contentEncoding", "contentMediaType", "minLength", "maxLength", "uniqueItems", "propertyNames"),
        *("minProperties", "maxProperties"),
    )
)
"""Of these some say nothing of an answer; the others are checked when it is read."""
_FORMATS: Final = frozenset(["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"])
_TYPE_OF: Final[Mapping[Any, str]] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


class _NotStrictError(Exception):
    """The strict form cannot express a schema."""


def strict_form(schema: Mapping[str, Any]) -> Json | None:
    """Return *schema* in the strict form; `None` where that cannot express it.

    Example:
        >>> strict_form({"type": "object", "properties": {"a": {"type": "integer", "default": 1}}})["required"]
        ['a']
        >>> strict_form({"type": "object", "additionalProperties": {"type": "integer"}})
    """
    try:
        return _Rewriting().root(schema)
    except (_NotStrictError, RecursionError):
        return None


def object_form(schema: Mapping[str, Any]) -> Json:
    """Return *schema* as that of an object: itself, or one whose only member it is.

    Example:
        >>> object_form({"type": "array"})["properties"]
        {'answer': {'type': 'array'}}
    """
    root = _root(schema)
    if not is_wrapped(root):
        return root
    definitions = root.pop("$defs", None)
    made: Json = {"type": "object", "properties": {WRAPPED: root}, "required": [WRAPPED]}
    return {**made, "additionalProperties": False, **({"$defs": definitions} if definitions else {})}


def is_wrapped(schema: Mapping[str, Any]) -> bool:
    """Tell whether *schema* allows what is no object, as a provider sees it."""
    root = _root(schema)
    return root.get("type", "object") != "object" or not root.keys().isdisjoint(("anyOf", "oneOf", "enum"))


def _root(schema: Mapping[str, Any]) -> Json:
    """Return a copy of *schema* that is no reference, as that of a class that refers to itself is."""
    reference, definitions = schema.get("$ref"), schema.get("$defs")
    if not isinstance(reference, str) or not isinstance(definitions, dict):
        return dict(schema)
    target: Any = cast("Json", definitions).get(reference.removeprefix("#/$defs/"), {})
    return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}


class _Rewriting:
    """One schema's way into the strict form, with what is counted on it."""

    def __init__(self) -> None:
        self._properties = 0
        self._members = 0
        self._chars = 0
        self._given: Json = {}
        """The definitions of the schema."""
        self._names: dict[tuple[str, str], str] = {}
        """Names in the strict form, by definition and description: each pair that is referred to is one there."""
        self._taken: set[str] = set()
        self._waiting: list[tuple[str, Json]] = []
        """Definitions that are referred to and still to be rewritten, by those names."""

    def root(self, schema: Mapping[str, Any]) -> Json:
        root = object_form(schema)
        self._given = root.pop("$defs", {})
        made = self._schema(root, 0)
        if made.get("type") != "object":
            raise _NotStrictError
        definitions: Json = {}
        while self._waiting:
            name, definition = self._waiting.pop()
            definitions[name] = self._schema(definition, 1)
        return {**made, "$defs": definitions} if definitions else made

    def _schema(self, schema: Any, level: int) -> Json:
        if not isinstance(schema, dict) or level > MAX_LEVELS:
            raise _NotStrictError
        given = cast("Json", schema)
        if "$ref" in given:
            return self._reference(given)
        if len(given.get("allOf", ())) == 1:
            (only,) = given["allOf"]
            return self._schema({**only, **{key: value for key, value in given.items() if key != "allOf"}}, level)
        made = dict(filter(None, (self._member(key, value, level) for key, value in given.items())))
        if made.get("type") == "object":
            self._close(made, given)
        elif made.get("type") == "array" and "items" not in made:
            raise _NotStrictError
        if "enum" in made or "const" in made:
            self._count_values(made)
        if not made.keys() & {"type", "anyOf"}:
            raise _NotStrictError  # anything at all
        return made

    def _reference(self, given: Json) -> Json:
        """Return a reference alone: nothing may stand beside it, so a description goes to a definition of its own.

        To write what it refers to in its place would take the product of all places on the way to it.
        """
        reference = given["$ref"].removeprefix("#/$defs/")
        beside = {key: value for key, value in given.items() if key not in _DROPPED and key not in ("$ref", "title")}
        target: Any = self._given.get(reference)
        if not isinstance(target, dict) or beside.keys() - {"description"}:
            raise _NotStrictError
        asked = (reference, str(beside.get("description", "")))
        if asked not in self._names:
            self._names[asked] = name = self._free_name(reference)
            self._count(chars=len(name))
            self._waiting.append((name, {**target, **beside}))
        return {"$ref": f"#/$defs/{self._names[asked]}"}

    def _free_name(self, reference: str) -> str:
        """Return the name of the definition itself the first time, then one that no other has."""
        name = reference
        for number in count(len(self._names) + 1):
            if name not in self._taken:
                break
            name = f"{reference}_{number}"
        self._taken.add(name)
        return name

    def _member(self, key: str, value: Any, level: int) -> tuple[str, Any] | None:
        match key:
            case "properties":
                self._count(properties=len(value), chars=sum(map(len, value)))
                return key, {name: self._schema(one, level + 1) for name, one in value.items()}
            case "items":
                return key, self._schema(value, level)
            case "anyOf" | "oneOf":
                return "anyOf", [self._schema(one, level) for one in value]
            case "enum":
                return key, value
            case "pattern":  # no provider looks ahead or behind
                return None if "(?" in value else (key, value)
            case "format":
                return (key, value) if value in _FORMATS else None
            case "required" | "additionalProperties":  # of objects, see `_close`
                return None
            case _ if key in _KEPT:
                return key, value
            case _ if key in _DROPPED:
                return None
            case _:  # such as `prefixItems` or `not`
                raise _NotStrictError

    def _close(self, made: Json, given: Json) -> None:
        """Let an object have its own members, all of them, and no others."""
        others = given.get("additionalProperties", False)
        properties = made.setdefault("properties", {})
        # What may have any members besides is closed; what has none of its own, or says of which form the others
        # are, is a mapping by names that nobody knows yet.
        if isinstance(others, dict) or (others and not properties):
            raise _NotStrictError
        made["required"] = list(properties)
        made["additionalProperties"] = False

    def _count_values(self, made: Json) -> None:
        values: list[Any] = made["enum"] if "enum" in made else [made["const"]]
        self._count(members=len(values), chars=sum(len(value) for value in values if isinstance(value, str)))
        if "type" not in made:
            kinds = list(dict.fromkeys(_TYPE_OF.get(type(value), "") for value in values))
            if "" in kinds:
                raise _NotStrictError
            made["type"] = kinds[0] if len(kinds) == 1 else kinds

    def _count(self, *, properties: int = 0, members: int = 0, chars: int = 0) -> None:
        self._properties += properties
        self._members += members
        self._chars += chars
        if self._properties > MAX_PROPERTIES or self._members > MAX_MEMBERS or self._chars > MAX_NAME_CHARS:
            raise _NotStrictError
