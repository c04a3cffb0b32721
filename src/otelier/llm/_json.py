"""JSON as models write it: read strictly, and without quoting it when it cannot be read."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn, cast


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
