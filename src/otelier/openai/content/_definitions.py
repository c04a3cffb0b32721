"""Tools that are offered to the model, as the conventions have them."""

from __future__ import annotations

from typing import Any, Final

from otelier.openai.content._parts import AUTHORISING, Part, plain
from otelier.openai.reading._fields import field_of, fields_set, items_of, text_of

_FUNCTION: Final = "function"


def tool_definitions(tools: Any) -> list[Part]:
    """Return what each of *tools* is: functions as the conventions have them, all others as the provider does."""
    found: list[Part] = []
    # Also sets and views of the caller's: only an iterator would be drained by looking at it.
    for tool in () if tools is None or isinstance(tools, str) or hasattr(tools, "__next__") else _listed(tools):
        kind = field_of(tool, "type")
        if isinstance(kind, str):
            found.append(_definition(tool, kind))
    return found


def function_definitions(functions: Any) -> list[Part]:
    """Return the functions of a request that has them by themselves, as chat completions first had."""
    return [_function(function) for function in items_of(functions) if field_of(function, "name")]


def _definition(tool: Any, kind: str) -> Part:
    # Chat completions have a tool's members under the name of its kind, Responses beside it.
    members = field_of(tool, kind) or tool
    if kind == _FUNCTION:
        return _function(members)
    given = {key: value for key, value in plain(fields_set(members)).items() if key not in AUTHORISING}
    name = given.pop("name", None)
    return {"name": name if isinstance(name, str) else kind, **given, "type": kind}


def _function(function: Any) -> Part:
    return {
        "name": text_of(field_of(function, "name")),
        "description": field_of(function, "description"),
        "parameters": plain(field_of(function, "parameters")),
        "type": _FUNCTION,
    }


def _listed(tools: Any) -> list[Any]:
    try:
        return list(tools)
    except TypeError:  # "not given"
        return []
