"""Annotations that may be text: resolved one by one, when they are first needed."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any


class Unresolved:
    """Stands for an annotation that names what cannot be found.

    Example:
        >>> Unresolved("Database").text
        'Database'
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def resolved(annotation: Any, spaces: Mapping[str, Any]) -> Any:
    """Return *annotation* as what its text means among the names of *spaces*; `Unresolved` when it means nothing.

    Example:
        >>> resolved("list[int]", {}), resolved(str, {})
        (list[int], <class 'str'>)
    """
    if not isinstance(annotation, (str, typing.ForwardRef)):
        return annotation
    text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
    try:
        # The user's own annotation, in the user's own module: what `typing.get_type_hints` does for all at once.
        found = eval(text, dict(spaces))  # noqa: S307
    except Exception:
        return Unresolved(text)
    return resolved(found, spaces) if isinstance(found, (str, typing.ForwardRef)) else found


def spaces_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the names that the annotations of *function* may use: its module's, and what it closes over."""
    closed = getattr(function, "__closure__", None) or ()
    code = getattr(function, "__code__", None)
    enclosed: dict[str, Any] = {}
    for name, cell in zip(getattr(code, "co_freevars", ()), closed):
        try:
            enclosed[name] = cell.cell_contents
        except ValueError:  # not bound yet
            continue
    return {**getattr(function, "__globals__", {}), **enclosed}
