"""JSON schemas: what `jsonschema` finds, told in words that quote no value; what cannot be known passes."""

from __future__ import annotations

import contextlib

import jsonschema
import pytest

from otelier.llm import _schemas


def problems_of(value, schema):
    """What does not fit, as the model is told."""
    return _schemas.lines_of(_schemas.schema_problems(value, schema))


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
    {"patternProperties": {"^x": False}},
    {"prefixItems": [False]},
    {"prefixItems": [True], "items": False},
    {"propertyNames": {"maxLength": 1}},
    {"contains": {"type": "integer"}},
    {"contains": {"type": "integer"}, "minContains": 2, "maxContains": 2},
    {"dependentRequired": {"a": ["b"]}},
    {"dependentSchemas": {"a": {"required": ["b"]}}},
    {"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"type": "object"}},
    {"properties": {"a": True}, "unevaluatedProperties": False},
    {"prefixItems": [True], "unevaluatedItems": False},
    {"$ref": "#word", "$defs": {"word": {"$anchor": "word", "type": "string"}}},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_agrees_with_the_reference(schema):
    """Every keyword takes and refuses what draft 2020-12 does, and each refusal has words of its own."""
    judge = jsonschema.Draft202012Validator(schema)
    for value in VALUES:
        problems = problems_of(value, schema)
        assert (problems == []) == judge.is_valid(value), value
        assert "does not fit" not in "".join(problems)


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
        ({"a": {"b": 1}}, {"properties": {"a": {"properties": {"b": False}}}}, "a: something here is not allowed"),
        ([1, 2], {"prefixItems": [{}], "items": False}, "the answer: this must have at most 1 items"),
        (
            {"a": {"bc": 1}},
            {"properties": {"a": {"propertyNames": {"maxLength": 1}}}},
            "a.bc: this name is not allowed",
        ),
        (
            {"x": 1, "b": 1},
            {"patternProperties": {"x": {}}, "additionalProperties": False},
            "b: this name is not allowed",
        ),
        (
            {"propertyNames": 7},
            {"properties": {"propertyNames": {"type": "string"}}},
            "propertyNames: this must be of type string",
        ),
        ({"a": 1}, {"dependentRequired": {"a": ["b"]}}, "the answer: 'b' is missing"),
        ([[{}]], {"items": {"contains": {"type": "null"}}}, "[0]: one item must be of a certain form, and none is"),
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


@pytest.mark.parametrize(
    "schema",
    [
        {"minimum": "3", "multipleOf": 0},
        {"required": 7, "properties": [], "additionalProperties": False, "patternProperties": {"(": {}}},
        {"type": 7, "enum": None, "anyOf": None, "oneOf": [7], "not": 7},
        {"properties": {"a": {"$id": 7, "$ref": 7}}, "$defs": 7},
        {"$id": 7},
        {"$ref": "#name"},
        {"$ref": "http://["},
    ],
    ids=str,
)
@pytest.mark.parametrize("value", [1, "a", [1], {"a": 1}], ids=str)
def test_what_is_no_schema_passes(schema, value):
    """A keyword whose value makes no sense refuses nothing, and is no error."""
    assert problems_of(value, schema) == []


def test_the_rest_of_a_schema_holds():
    """What is not known takes nothing away from what is."""
    schema = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "properties": {"a": {"pattern": r"^\p{Lu}", "type": "string"}, "b": {"$ref": "#/$defs/none", "minimum": 3}},
        "required": 7,
    }
    assert problems_of({"a": 1, "b": 1}, schema) == [
        "a: this must be of type string",
        "b: this must be at least 3",
    ]
    nested = {**schema, "items": {"$ref": "#"}, "type": ["array", "integer"]}
    assert problems_of([1.0, ["x"]], nested) == ["[1][0]: this must be of type array or integer"]


def test_problems_are_in_the_order_of_their_places():
    """The whole comes before its parts, and no problem comes twice."""
    schema = {"additionalProperties": {"type": "null"}, "required": ["y", "z"], "allOf": [{"required": ["z"]}]}
    assert problems_of({"b": 1, "a": 1}, schema) == [
        "the answer: 'y' is missing",
        "the answer: 'z' is missing",
        "a: this must be of type null",
        "b: this must be of type null",
    ]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_no_value_is_quoted(schema):
    """Names that a model gives are told, what it says there is not."""
    for value in ("Rotterdam", ["Rotterdam"] * 2, {"a": "Rotterdam", "x": {"a": ["Rotterdam"]}}):
        assert "Rotterdam" not in "".join(problems_of(value, schema))


def test_endless_schemas_end():
    """A schema that refers to itself for ever, and a value nested without end, are problems and no hang."""
    assert problems_of(1, {"$ref": "#"}) == ["the answer: this is nested too deeply"]
    deep = []
    for _ in range(500):
        deep = [deep]
    assert problems_of(deep, {"items": {"$ref": "#"}}) == ["the answer: this is nested too deeply"]


ENDLESS = [
    *({keyword: [{"$ref": "#"}, {"$ref": "#"}]} for keyword in ("allOf", "anyOf", "oneOf")),
    *({keyword: {"$ref": "#"}} for keyword in ("not", "if", "propertyNames", "contains")),
    {"unevaluatedProperties": False, "$ref": "#"},
    {"unevaluatedItems": False, "$ref": "#"},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
]


@pytest.mark.parametrize("schema", ENDLESS, ids=str)
def test_schemas_that_refer_to_themselves_end(schema):
    """References are followed until it is too deep, and not twice at every step."""
    for value in (1, [1], {"a": 1}):
        assert problems_of(value, schema) in ([], ["the answer: this is nested too deeply"])


def test_wherever_it_is_called():
    """A check far down the stack finds what it does elsewhere, or says that it is too deep: it never panics there."""
    found = set()

    def called(frames):
        if frames:
            called(frames - 1)
            return
        for schema in (*ENDLESS, {"type": "integer", "items": {"$ref": "#"}}):
            found.add(tuple(problems_of("a", schema)))

    for frames in range(0, 1000, 20):
        with contextlib.suppress(RecursionError):
            called(frames)
    assert found == {(), ("the answer: this is nested too deeply",), ("the answer: this must be of type integer",)}


def test_numbers_beyond_floats():
    """Numbers that no float can hold are compared as they are."""
    assert problems_of(10**400, {"multipleOf": 0.5}) == []
    assert problems_of(10**400, {"multipleOf": 0.3}) == ["the answer: this must be a multiple of 0.3"]
    assert problems_of(0.3, {"multipleOf": 0.1}) == []
