"""Strict JSON text: reading it, writing it, and what is refused."""

from __future__ import annotations

import json
import math
import re
import typing
from collections.abc import Iterable
from typing import Annotated, Any, Final, NoReturn

from otelier.errors import CodecError, NotJsonError

_SHOWN_CHARS: Final = 64
_SHOWN_STEPS: Final = 8
_MAX_NAME_CHARS: Final = 200
HALVES: Final = re.compile("[\ud800-\udfff]")
"""Halves of UTF-16 pairs, which UTF-8 cannot hold."""
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_]\w*\Z")
write: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""Writes plain data as JSON text."""


def read_json(text: str | bytes) -> Any:
    """Return what strict JSON *text* says.

    Raises:
        NotJsonError: if it is none, with the place and without quoting it. `NaN`, `Infinity` and `1e999` are none,
            though Python's own reader takes them.

    Example:
        >>> read_json('{"a": [1, 2.5, null]}')
        {'a': [1, 2.5, None]}
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except json.JSONDecodeError as exc:
        problem = f"{exc.msg} at line {exc.lineno}, column {exc.colno}"
    except RecursionError:
        problem = "it is nested too deeply"
    except UnicodeDecodeError:
        problem = "it is no UTF-8"
    except ValueError:  # of `_refuse`, or a number of more digits than Python reads
        problem = "it holds a number that cannot be read"
    # Raised out here: as the cause of this error, the text would be in tracebacks that are exported.
    raise NotJsonError(problem)


def whole_text(text: str) -> str:
    """Return *text* with U+FFFD for each half of a UTF-16 pair, which UTF-8 cannot hold.

    Example:
        >>> whole_text("what \\ud83d was said")
        'what \ufffd was said'
    """
    return text if text.isascii() else HALVES.sub("\ufffd", text)


def refusal(what: str, path: tuple[Any, ...], problem: str) -> CodecError:
    """Return the error for a value that cannot be stored: *what*, where in it, and why."""
    place = place_of(path)
    return CodecError(
        f"Cannot store {what}{f' at {place}' if place else ''}: {problem}. "
        f"Use text, numbers, lists and dicts, a dataclass or a pydantic model, or annotate its type.",
        place=place,
        problem=problem,
    )


def place_of(path: Iterable[Any]) -> str:
    """Return where something stands, such as `orders[2].id`: the innermost steps, where there are many."""
    steps = tuple(path)
    text = ""
    for step in steps[-_SHOWN_STEPS:]:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = str(step)
            text += f".{name}" if _PLAIN_NAME.match(name) else f"[{name[:_SHOWN_CHARS]!r}]"
    text = text.removeprefix(".")
    return f"...{text}" if len(steps) > _SHOWN_STEPS else text


def type_name(as_type: Any) -> str:
    """Return what an error calls a type, without what is annotated: that may hold values."""
    if typing.get_origin(as_type) is Annotated:
        as_type = as_type.__origin__
    return as_type.__name__ if isinstance(as_type, type) else str(as_type)[:_MAX_NAME_CHARS]


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)  # such as 1e999


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
