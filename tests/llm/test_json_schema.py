"""JSON schemas: what is checked is what `jsonschema`, the reference, says too."""

from __future__ import annotations

import jsonschema
import pytest

from otelier.llm._json_schema import problems_of

VALUES = [
    None, True, False, 0, 1, 1.0, 1.5, -3, 10**30, "", "a", "abc", "é", [], [1], [1, 1.0], [1, True], [1, "a"],
    [[1], [1]], {}, {"a": 1}, {"a": "x", "b": 2}, {"a": {"a": {"a": None}}}, {"b": []}, {"x1": 3}, {"x1": "s"},
    {"a": True, "c": 1}, [{"a": 1}, {"a": 1.0}], {"next": {"next": {"next": 1}}}, {"next": {"next": {}}},
]  # fmt: skip
SCHEMAS = [
    {},
    *({"type": kind} for kind in ("object", "array", "string", "number", "integer", "boolean", "null")),
    {"type": ["string", "null"]},
    {"enum": [1, "a", None, [1]]},
    {"enum": [True, {"a": 1}]},
    {"const": 1},
    {"const": False},
    {"const": {"a": 1}},
    {"minimum": 1},
    {"maximum": 1},
    {"exclusiveMinimum": 1},
    {"exclusiveMaximum": 1},
    {"multipleOf": 3},
    {"multipleOf": 0.5},
    {"minLength": 1, "maxLength": 2},
    {"pattern": "^a"},
    {"minItems": 1, "maxItems": 1},
    {"uniqueItems": True},
    {"uniqueItems": False},
    {"minProperties": 1, "maxProperties": 1},
    {"required": ["a", "b"]},
    {"properties": {"a": {"type": "integer"}}},
    {"properties": {"a": {"type": "integer"}}, "additionalProperties": False},
    {"properties": {"a": {}}, "additionalProperties": {"type": "integer"}},
    {"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
    {"items": {"type": "integer"}},
    {"items": False},
    {"prefixItems": [{"type": "integer"}], "items": {"type": "string"}},
    {"allOf": [{"type": "object"}, {"required": ["a"]}]},
    {"anyOf": [{"type": "string"}, {"type": "array"}]},
    {"oneOf": [{"type": "number"}, {"minimum": 1}]},
    {"not": {"type": "object"}},
    {"$ref": "#/$defs/word", "$defs": {"word": {"type": "string"}}},
    {"$ref": "#/$defs/a~1b", "minLength": 1, "$defs": {"a/b": {"type": "string"}}},
    {"type": "object", "properties": {"next": {"$ref": "#"}}},
    {"properties": {"a": False}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_agrees_with_the_reference(schema):
    """Every keyword that is known takes and refuses what the reference does."""
    judge = jsonschema.Draft202012Validator(schema)
    for value in VALUES:
        assert (problems_of(value, schema) == []) == judge.is_valid(value), value


@pytest.mark.parametrize(
    ("value", "schema", "told"),
    [
        (1, {"type": ["string", "null"]}, "the answer: this must be of type string or null"),
        ({"a": [{"b": 1}]}, {"properties": {"a": {"items": {"required": ["c"]}}}}, "a[0]: 'c' is missing"),
        ({"a": 1}, {"additionalProperties": False}, "a: this name is not allowed"),
        ("c", {"enum": ["a", "b"]}, "the answer: this must be one of 'a', 'b'"),
        ("c", {"anyOf": [{"type": "null"}]}, "the answer: this fits none of the forms that are allowed"),
        (7, {"maximum": 5}, "the answer: this must be at most 5"),
        ("", {"minLength": 2}, "the answer: this needs 2 characters or more"),
    ],
)
def test_problems_name_the_place_and_what_is_allowed(value, schema, told):
    """A problem is a line that a model can mend its answer by."""
    assert problems_of(value, schema) == [told]


@pytest.mark.parametrize(
    "schema",
    [
        {"format": "email"},
        {"pattern": "(?<name>x)["},
        {"type": "text"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/missing"},
        {"properties": {"a": None}, "items": 7},
    ],
    ids=str,
)
def test_what_is_not_known_passes(schema):
    """A keyword or form that is not known refuses nothing."""
    assert problems_of("a", schema) == []


def test_endless_schemas_end():
    """A schema that refers to itself for ever, and a value nested without end, are problems and no hang."""
    assert problems_of(1, {"$ref": "#"}) == ["the answer: this is nested too deeply"]
    deep = []
    for _ in range(500):
        deep = [deep]
    (problem,) = problems_of(deep, {"items": {"$ref": "#"}})
    assert problem.endswith("this is nested too deeply")


def test_numbers_beyond_floats():
    """Numbers that no float can hold are compared as they are; the reference fails here."""
    assert problems_of(10**400, {"multipleOf": 0.5}) == []
    assert problems_of(10**400, {"multipleOf": 0.3}) == ["the answer: this must be a multiple of 0.3"]
    assert problems_of(0.3, {"multipleOf": 0.1}) == []
