"""The settings of a run, as one question to its model can have them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from otelier.agents._run import Run


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
        forced = _forced(settings["tool_choice"])
        if forced is not None and (run.tool_calls or forced not in ("", *offered)):
            del settings["tool_choice"]
    if run.emit is None:
        settings.pop("stream_options", None)
    return settings


def _forced(choice: object) -> str | None:
    """Return the name of the tool that must be called, empty where it is any; `None` where none must be."""
    if choice == "required":
        return ""
    function: object = cast("Mapping[str, Any]", choice).get("function") if isinstance(choice, Mapping) else None
    name: object = cast("Mapping[str, Any]", function).get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None
