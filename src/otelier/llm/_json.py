"""JSON as models write it: read strictly, and without quoting it when it cannot be read."""

from __future__ import annotations

import json
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


def found_in(text: str) -> tuple[str, Any]:
    """Return the JSON that *text* is, or that stands in one of its blocks of code, and what that says.

    Models put a block around their JSON, as Markdown has it, and words or other blocks around that. The first block
    that is JSON counts.

    Raises:
        NotJsonError: of the text itself, if neither is JSON.

    Example:
        >>> found_in("Here it is:\\n```json\\n[1, 2]\\n```")
        ('[1, 2]', [1, 2])
    """
    try:
        return text, read_json(text)
    except NotJsonError:
        for block in _blocks(text):
            try:
                return block, read_json(block)
            except NotJsonError:
                continue
        raise


def _blocks(text: str) -> Iterator[str]:
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


def sendable(message: dict[str, Any]) -> dict[str, Any]:
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


def members_of(value: Any) -> dict[str, Any]:
    """Return *value* when it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items_of(value: Any) -> list[Any]:
    """Return *value* when it is a JSON array, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []
