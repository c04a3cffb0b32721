"""JSON to and from models: strict, without numbers that JSON does not have, and never quoted in errors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, cast

from otelier.codec import read_json, whole_text
from otelier.errors import NotJsonError

_FENCE: Final = re.compile(r"```+|~~~+")
_LABEL: Final = re.compile(r"[\w+-]*")
_BEGIN: Final = re.compile(r'\s*[\[{"\-\dtfn]')
_MOST_FENCES: Final = 32
"""Of one text: an answer has a few, and each pair of them may be what stands around the JSON."""
_BYTE_ORDER_MARK: Final = "\ufeff"
_OF_DATA: Final = ("default", "const", "enum", "examples")
"""Keywords that hold values, where the others hold schemas or limits."""


def find_json(text: str) -> tuple[str, Any]:
    """Return the JSON that *text* is, or that stands in one of its blocks of code, and its value.

    Models put a block around their JSON, as Markdown has it, and words or other blocks around that. The first block
    that is JSON counts.

    Raises:
        NotJsonError: of the text itself, if neither is JSON.

    Example:
        >>> find_json("Here it is:\\n```json\\n[1, 2]\\n```")
        ('[1, 2]', [1, 2])
    """
    try:
        return text, read_json(text)
    except NotJsonError:
        for block in _code_blocks(text):
            try:
                return block, read_json(block)
            except NotJsonError:
                continue
        raise


def _code_blocks(text: str) -> Iterator[str]:
    """Yield what may be JSON in a block of code, or behind a byte order mark.

    Between two fences there may be a third, in a text of the JSON: the farthest that a block can reach comes first.
    """
    bare = text.lstrip().removeprefix(_BYTE_ORDER_MARK)
    if bare != text:
        yield bare
    fences = list(islice(_FENCE.finditer(bare), _MOST_FENCES))
    for number, fence in enumerate(fences):
        label = _LABEL.match(bare, fence.end())
        start = fence.end() if label is None else label.end()
        for begin in dict.fromkeys((start, fence.end())):  # `true` is no label but JSON
            if _BEGIN.match(bare, begin):
                closing = (other for other in reversed(fences[number + 1 :]) if other[0] == fence[0])
                yield from (bare[begin : other.start()].strip() for other in closing)


def sendable_message(message: dict[str, Any]) -> dict[str, Any]:
    """Return a model's message as one that the next question can carry.

    A model may write half of a UTF-16 pair, and a server may add a number that is none.

    Raises:
        RecursionError: if it is nested too deeply to be sent at all.
    """
    text = json.dumps(message, ensure_ascii=False)
    whole = whole_text(text)
    if whole == text and "NaN" not in text and "Infinity" not in text:
        return message
    return json.loads(whole, parse_constant=lambda _: None)


def as_object(value: Any) -> dict[str, Any]:
    """Return *value* when it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_array(value: Any) -> list[Any]:
    """Return *value* when it is a JSON array, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def sendable_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return *schema* without numbers that JSON does not have, such as a default of `inf`, and halves of UTF-16 pairs.

    The function or the class knows them all the same.

    Example:
        >>> sendable_schema({"type": "number", "default": float("inf"), "maximum": float("inf"), "minimum": 0})
        {'type': 'number', 'minimum': 0}
    """
    return _sendable_part(schema, names=False)


def _sendable_part(schema: Any, *, names: bool) -> Any:
    if isinstance(schema, dict):
        items = cast("dict[str, Any]", schema).items()
        return {
            whole_text(key): _sendable_part(value, names=key in ("properties", "$defs") and not names)
            for key, value in items
            if names or not ((key in _OF_DATA or isinstance(value, float)) and holds_non_finite(value))
        }
    if isinstance(schema, list):
        return [_sendable_part(one, names=False) for one in cast("list[Any]", schema)]
    return whole_text(schema) if isinstance(schema, str) else schema


def holds_non_finite(value: Any) -> bool:
    """Tell whether *value* holds a number that JSON does not have, such as `inf`."""
    if isinstance(value, dict):
        return any(map(holds_non_finite, cast("dict[Any, Any]", value).values()))
    if isinstance(value, list):
        return any(map(holds_non_finite, cast("list[Any]", value)))
    return isinstance(value, float) and not math.isfinite(value)
