"""Annotations of functions, which may be text: resolved one by one, when they are first needed."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, cast


class Unresolved:
    """Stands for an annotation that names what cannot be found.

    Example:
        >>> Unresolved("Database").text
        'Database'
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class _Annotated:
    """Something with one annotation, for `typing.get_type_hints`."""

    def __init__(self, annotation: Any) -> None:
        self.__annotations__ = {"it": annotation}


def resolve_annotation(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    """Return *annotation* with every text in it as what that means among the names of *namespace*.

    A text that means nothing there is `Unresolved`; anything else that cannot be resolved is returned as it is.

    Example:
        >>> resolve_annotation("list[int]", {}), resolve_annotation(str, {})
        (list[int], <class 'str'>)
    """
    try:
        return typing.get_type_hints(_Annotated(annotation), dict(namespace), namespace, include_extras=True)["it"]
    except Exception:  # the user's own annotation: it may raise anything
        if isinstance(annotation, (str, typing.ForwardRef)):
            return Unresolved(annotation if isinstance(annotation, str) else annotation.__forward_arg__)
        return annotation


def unwrap_partial(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that a `functools.partial` gives arguments to; any other is itself."""
    while isinstance(function, functools.partial):
        function = cast("functools.partial[Any]", function).func
    return function


def _written(function: Callable[..., Any]) -> Any:
    """Return the function whose annotations somebody wrote: below partial ones, decorators, and callable objects."""
    function = inspect.unwrap(unwrap_partial(inspect.unwrap(function)))
    return function if hasattr(function, "__globals__") or isinstance(function, type) else type(function).__call__


def enclosing_locals(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what annotations that are text mean in the function around *function*, while that is still running.

    It holds classes of its own, say, which later nobody would find.
    """
    written = _written(function)
    outer = getattr(written, "__qualname__", "").rpartition(".<locals>.")[0].rpartition(".")[2]
    try:
        texts = [one for one in written.__annotations__.values() if isinstance(one, str)] if outer else []
    except Exception:  # evaluated when they are read, from Python 3.14 on
        texts = []
    frame = inspect.currentframe() if texts else None
    while frame is not None:
        if frame.f_code.co_name == outer and frame.f_globals is written.__globals__:
            mentioned = set(re.findall(r"[^\W\d]\w*", " ".join(texts)))
            return {name: value for name, value in frame.f_locals.items() if name in mentioned}
        frame = frame.f_back
    return {}


def namespace_of(function: Callable[..., Any], around: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the names that annotations of *function* may use: its module's, those *around*, what it closes over."""
    written = _written(function)
    closed = getattr(written, "__closure__", None) or ()
    code = getattr(written, "__code__", None)
    enclosed: dict[str, Any] = {}
    for name, cell in zip(getattr(code, "co_freevars", ()), closed):
        try:
            enclosed[name] = cell.cell_contents
        except ValueError:  # not bound yet
            continue
    return {**getattr(written, "__globals__", {}), **(around or {}), **enclosed}
