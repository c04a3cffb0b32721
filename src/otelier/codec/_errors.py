"""Exceptions as plain data, and back where their class is known."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, Final, cast

from otelier.codec._strict import whole_text, write
from otelier.codec._values import to_plain
from otelier.errors import CodecError

_MAX_CHARS: Final = 32_768
"""Most characters of a stored exception's message, and of its `args` as JSON: to store a failure must not fail."""


def error_to_json(error: BaseException) -> dict[str, Any]:
    """Return an exception as plain data: its type, its message, and its `args` where JSON can hold them.

    A message beyond 32,768 characters is cut, with a note of how much; `args` that take more are left out.

    Example:
        >>> error_to_json(ValueError("no stock", 3))
        {'type': 'ValueError', 'module': 'builtins', 'message': "('no stock', 3)", 'args': ['no stock', 3]}
    """
    try:
        message = whole_text(str(error))
    except Exception:
        message = ""
    if (over := len(message) - _MAX_CHARS) > 0:
        message = f"{message[:_MAX_CHARS]} [cut: {over} characters]"
    try:
        args = to_plain(list(error.args))
        if len(write(args)) > _MAX_CHARS:
            args = None
    except CodecError:
        args = None
    kind = type(error)
    return {"type": kind.__qualname__, "module": kind.__module__, "message": message, "args": args}


def error_from_json(stored: Mapping[str, Any], modules: Iterable[ModuleType] = ()) -> BaseException | None:
    """Return the exception that `error_to_json` made *stored* of, or `None` where it cannot be made again.

    Only exceptions of Python itself and those that stand in *modules* are made, and only of `args` that are known:
    nothing is imported because a stored row names it.

    Args:
        stored: What `error_to_json` gave.
        modules: Modules whose exceptions may be made, such as that of the function that raised it.

    Example:
        >>> error_from_json(error_to_json(KeyError("sku-1")))
        KeyError('sku-1')
    """
    args = stored.get("args")
    kind = _class_of(str(stored.get("module")), str(stored.get("type")), modules)
    if kind is None or not isinstance(args, list):
        return None
    try:
        error = kind(*cast("list[Any]", args))
    except Exception:  # it takes other arguments than it keeps
        return None
    # Some change what they are given: such a one would say something else each time it is stored.
    return error if list(error.args) == args else None


def _class_of(module: str, name: str, modules: Iterable[ModuleType]) -> type[Exception] | None:
    found: Any = builtins if module == builtins.__name__ else None
    if found is None:
        found = next((one for one in modules if one.__name__ == module), None)
    for part in name.split("."):
        # By what stands there itself: an attribute may be computed, and nothing is run because a row names it.
        found = vars(found).get(part) if isinstance(found, (ModuleType, type)) else None
    # An exception that is no `Exception`, such as `SystemExit`, would end more than what failed.
    return found if isinstance(found, type) and issubclass(found, Exception) else None
