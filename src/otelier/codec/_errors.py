"""Exceptions as plain data, and back where their class is known."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any, Final, cast

from otelier.codec._strict import whole_text, write
from otelier.codec._values import to_plain
from otelier.errors import OtelierError

_MAX_CHARS: Final = 32_768
"""Most characters of a stored exception's message, and of its `args` as JSON: to store a failure must not fail."""


def error_to_json(error: BaseException) -> dict[str, Any]:
    """Return an exception as plain data: its type, its message, and its `args` where they are plain data.

    Causes, notes and the members of a group are left out; one of otelier's own has its `facts` too. A message beyond
    32,768 characters is cut, with a note of how much; `args` that take more, or that JSON would change, are `None`.

    Example:
        >>> error_to_json(ValueError("no stock", 3))
        {'type': 'ValueError', 'module': 'builtins', 'message': "('no stock', 3)", 'args': ['no stock', 3]}
    """
    kind = type(error)
    stored: dict[str, Any] = {
        "type": kind.__qualname__,
        "module": kind.__module__,
        "message": _message_of(error),
        "args": _args_of(error),
    }
    if facts := _facts_of(error):
        stored["facts"] = facts
    return stored


def error_from_json(stored: Mapping[str, Any], modules: Iterable[ModuleType] = ()) -> Exception | None:
    """Return the exception that `error_to_json` made *stored* of, or `None` where it cannot be made again.

    Only exceptions of Python itself and those that stand in *modules*, also by an import there, are made, and only of
    `args` that are known: nothing is imported because a stored row names it. One that would have other `args` or say
    something else is `None`, too; its type and message are in *stored*.

    Args:
        stored: What `error_to_json` gave.
        modules: Modules whose exceptions may be made, such as that of the function that raised it.

    Example:
        >>> error_from_json(error_to_json(KeyError("sku-1")))
        KeyError('sku-1')
    """
    args, facts = stored.get("args"), stored.get("facts", {})
    kind = _class_of(str(stored.get("module")), str(stored.get("type")), modules)
    if kind is None or not isinstance(args, list):
        return None
    try:
        error = kind(*cast("list[Any]", args), **facts)
    except Exception:  # it takes other arguments than it keeps
        return None
    # Some keep more than their `args`, or change what they are given.
    same = type(error) is kind and _args_of(error) == args and _message_of(error) == stored.get("message")
    same = same and _facts_of(error).items() >= facts.items()
    return error if same else None


def _message_of(error: BaseException) -> str:
    try:
        message = whole_text(str(error))
    except Exception:  # of the user's class
        return ""
    over = len(message) - _MAX_CHARS
    return message if over <= 0 else f"{message[:_MAX_CHARS]} [cut: {over} characters]"


def _args_of(error: BaseException) -> list[Any] | None:
    """Return what *error* is made of, as plain data; `None` where JSON would change it, or it is too long."""
    try:
        # The `args` of an `OSError` lack the file's name, which it is pickled with.
        given: list[Any] = list(error.__reduce__()[1] if isinstance(error, OSError) else error.args)
        args: list[Any] = to_plain(given)
        return args if args == given and len(write(args)) <= _MAX_CHARS else None
    except Exception:  # as above, or something in them has no form in JSON
        return None


def _facts_of(error: BaseException) -> dict[str, Any]:
    """Return what an error of otelier is made with beside its `args`, as far as JSON does not change it."""
    facts: dict[str, Any] = {}
    if not isinstance(error, OtelierError):
        return facts
    taken = _taken_by(type(error), len(error.args))
    for name, fact in vars(error).items():
        try:
            plain = to_plain(fact)
            if name in taken and plain == fact and len(write(plain)) <= _MAX_CHARS:
                facts[name] = plain
        except Exception:  # it has no form in JSON
            pass
    return facts


def _taken_by(kind: type[OtelierError], count: int) -> set[str]:
    """Return what *kind* takes by its name beside the first *count* arguments, also to hand it on to its base."""
    taken: set[str] = set()
    for one in kind.__mro__:
        init = vars(one).get("__init__")
        if isinstance(init, FunctionType):  # not that of a class of Python
            code = init.__code__  # `inspect.signature` may raise, over annotations
            taken.update(code.co_varnames[min(1 + count, code.co_argcount) : code.co_argcount + code.co_kwonlyargcount])
            if not code.co_flags & inspect.CO_VARKEYWORDS:
                break
    return taken


def _class_of(module: str, name: str, modules: Iterable[ModuleType]) -> type[Exception] | None:
    for place in (builtins, *modules):
        found: Any = place
        for part in name.split("."):
            # By what stands there itself: an attribute may be computed, and nothing is run because a row names it.
            found = vars(found).get(part) if isinstance(found, (ModuleType, type)) else None
        # An exception that is no `Exception`, such as `SystemExit`, would end more than what failed.
        if isinstance(found, type) and issubclass(found, Exception) and found.__module__ == module:
            return found
    return None
