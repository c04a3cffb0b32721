"""The settings of a run, as one question to its model can have them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, cast

from otelier.agents._run import Run

_FREE: Final = ("auto", "none")
"""Choices that force no call; all others do, also those of other vendors, such as `any`."""


def step_settings(run: Run, offered: Collection[str]) -> dict[str, Any]:
    """Return the settings of the next question, for which the tools named *offered* are offered.

    What a provider refuses beside the rest of that question is left out, and so is a choice that would make the model
    call tools for ever: it holds until one was called.
    """
    settings = dict(run.settings)
    if not offered:
        settings.pop("tool_choice", None)
        settings.pop("parallel_tool_calls", None)
    elif "tool_choice" in settings:
        choice = _choice(settings.pop("tool_choice"), offered, is_held=not run.tool_calls)
        if choice is not None:
            settings["tool_choice"] = choice
    if run.emit is None:
        settings.pop("stream_options", None)
    return settings


def _choice(choice: object, offered: Collection[str], *, is_held: bool) -> object:
    """Return *choice* with those tools only that are offered, and forcing a call only while *is_held*; else `None`."""
    if not isinstance(choice, (str, Mapping)):
        return choice
    given = cast("str | Mapping[str, Any]", choice)
    kind = given if isinstance(given, str) else given.get("type")
    if kind in _FREE:
        return given
    if kind == "allowed_tools" and not isinstance(given, str):
        return _allowed(given, offered, is_held=is_held)
    name = None if isinstance(given, str) else _name(given)
    return given if is_held and (name is None or name in offered) else None


def _allowed(choice: Mapping[str, Any], offered: Collection[str], *, is_held: bool) -> object:
    """Return a list of allowed tools with those that are offered; it still holds when it forces a call no more."""
    inner = choice.get("allowed_tools")
    # The Responses API, and servers that follow it, have no object inside.
    allowed = cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else choice
    tools: object = allowed.get("tools")
    given = cast("list[Any]", tools) if isinstance(tools, (list, tuple)) else []
    left: list[Any] = [one for one in given if isinstance(one, Mapping) and _name(cast("Any", one)) in offered]
    if not left:
        return None
    held: dict[str, Any] = {**allowed, "tools": left}
    if not is_held:
        held["mode"] = "auto"
    return held if allowed is choice else {**choice, "allowed_tools": held}


def _name(tool: Mapping[str, Any]) -> str | None:
    """Return the name of the tool that is meant, in the form of any API; `None` where it is none by name."""
    inner = tool.get("function") or tool.get("custom")
    name: object = (cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else tool).get("name")
    return name if isinstance(name, str) else None
