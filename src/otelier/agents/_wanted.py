"""Which parameter of a tool is given the run's context."""

from __future__ import annotations

import inspect
import types
import typing
from dataclasses import dataclass
from typing import Any, Final, Union, cast

from otelier.agents._context import RunContext
from otelier.llm.functions import Unresolved, resolved

CONTEXT_NAME: Final = "ctx"
_UNIONS: Final = (Union, types.UnionType)
_OURS: Final = types.SimpleNamespace(RunContext=RunContext)
_KNOWN: Final = {**vars(typing), "typing": typing, "RunContext": RunContext, "otelier": _OURS}
"""What an annotation may mean where its module imports `RunContext` for type checkers only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The parameter that is given the run's context."""

    name: str
    kind: type[RunContext]
    """The class it must be of."""
    optional: bool
    """Whether the function does without one."""


def wanted_by(parameter: inspect.Parameter, annotation: Any) -> Wanted | None:
    """Return what *parameter* wants of the run's context, by its annotation or its name; `None` for any other."""
    if isinstance(annotation, Unresolved):
        annotation = resolved(annotation.text, _KNOWN)
    kind, optional = _context_type(annotation)
    if kind is None and parameter.name == CONTEXT_NAME:
        kind = RunContext
    if kind is None:
        return None
    return Wanted(name=parameter.name, kind=kind, optional=optional or parameter.default is not parameter.empty)


def _context_type(annotation: Any) -> tuple[type[RunContext] | None, bool]:
    """Return the kind of context that *annotation* asks for, `None` when it asks for none, and whether it may lack."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _context_type(annotation.__origin__)
    if origin in _UNIONS:
        members = typing.get_args(annotation)
        kinds = [one for one in (_context_type(member)[0] for member in members) if one is not None]
        # Of several kinds the function looks itself which one it got.
        return (kinds[0] if len(kinds) == 1 else RunContext if kinds else None), type(None) in members
    kind = annotation if origin is None else origin
    is_context = isinstance(kind, type) and issubclass(kind, RunContext)
    return (cast("type[RunContext]", kind) if is_context else None), False
