"""JSON as models write it: read strictly, and without quoting it when it cannot be read."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn, cast

_FENCED: Final = re.compile(r"```[\w+-]*[ \t]*\r?\n(.*)\n[ \t]*```", re.DOTALL)


class NotJsonError(ValueError):
    """A text is no JSON; the message says where, and nothing of what stands there."""


def parsed(text: str) -> Any:
    """Return what *text* says.

    Raises:
        NotJsonError: if it is no JSON. `NaN`, `Infinity` and `1e999` are none, though Python's parser takes them.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except json.JSONDecodeError as exc:
        problem = f"{exc.msg} at line {exc.lineno}, column {exc.colno}"
    except RecursionError:
        problem = "it is nested too deeply"
    except ValueError:  # of `_refuse`, or a number of more digits than Python reads
        problem = "it holds a number that cannot be read"
    # Raised out here: as the cause of this error, the text would be in tracebacks that are exported.
    raise NotJsonError(problem)


def found_in(text: str) -> tuple[str, Any]:
    """Return the JSON that *text* is, or that stands in its block of code, and what that says.

    Models put a block around their JSON, as Markdown has it, and words around the block.

    Raises:
        NotJsonError: of the text itself, if neither is JSON.

    Example:
        >>> found_in("Here it is:\\n```json\\n[1, 2]\\n```")
        ('[1, 2]', [1, 2])
    """
    try:
        return text, parsed(text)
    except NotJsonError:
        block = _FENCED.search(text)
        if block is None:
            raise
        try:
            return block[1], parsed(block[1])
        except NotJsonError:
            pass
        raise


def sendable(message: dict[str, Any]) -> dict[str, Any]:
    """Return a model's message as one that the next question can carry.

    A model may write half of a UTF-16 pair, and a server may add a number that is none.

    Raises:
        RecursionError: if it is nested too deeply to be sent at all.
    """
    text = json.dumps(message, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode()
    else:
        if "NaN" not in text and "Infinity" not in text:
            return message
    return json.loads(text, parse_constant=lambda _: None)


def members_of(value: Any) -> dict[str, Any]:
    """Return *value* when it is a JSON object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items_of(value: Any) -> list[Any]:
    """Return *value* when it is a JSON array, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)  # such as 1e999


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
