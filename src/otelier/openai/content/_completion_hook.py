"""The completion hook of `opentelemetry-util-genai`: it is given content, and stores it elsewhere.

That package is no dependency: its types are looked for when a hook is there, and without them there is no hook.

See: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/#uploading-content-to-external-storage
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Final

from opentelemetry._logs import LogRecord
from opentelemetry.trace import Span

from otelier import names
from otelier.faults import warn_once
from otelier.settings import COMPLETION_HOOK, quoted

_GROUP: Final = "opentelemetry_genai_completion_hook"
_TYPES: Final = "opentelemetry.util.genai.types"
_PARTS: Final = {
    "file": "FilePart",
    "reasoning": "ReasoningPart",
    "server_tool_call": "ServerToolCallPart",
    "server_tool_call_response": "ServerToolCallResponsePart",
    "text": "TextPart",
    "tool_call": "ToolCallRequestPart",
    "tool_call_response": "ToolCallResponsePart",
    "uri": "UriPart",
}


class CompletionHook:
    """One hook, and the types that it takes content as."""

    __slots__ = ("_call", "_function", "_input", "_other_tool", "_output", "_parts")

    def __init__(self, hook: Any, types: Any) -> None:
        self._call = hook.on_completion
        self._parts = {kind: getattr(types, name) for kind, name in _PARTS.items()}
        self._input, self._output = types.InputMessage, types.OutputMessage
        self._function, self._other_tool = types.FunctionToolDefinition, types.GenericToolDefinition

    def complete(self, shown: Mapping[str, Any], span: Span, event: LogRecord | None) -> None:
        """Give the hook what of a call's content may be *shown*, by attribute; what the hook raises is logged once.

        The hook may write references to what it stored onto *span* and *event*, which then leave.
        """
        given: dict[str, Any] = {
            "inputs": [self._message(self._input, one) for one in _uncut(shown.get(names.INPUT_MESSAGES))],
            "outputs": [self._message(self._output, one) for one in _uncut(shown.get(names.OUTPUT_MESSAGES))],
            "system_instruction": [self._part(one) for one in _uncut(shown.get(names.SYSTEM_INSTRUCTIONS))],
            "tool_definitions": [self._tool(one) for one in _uncut(shown.get(names.TOOL_DEFINITIONS))] or None,
        }
        try:
            self._call(**given, span=span, log_record=event)
        except Exception as exc:  # the hook's own, which may quote content
            warn_once("openai.completion_hook", "The completion hook raised %s; calls go on.", type(exc).__name__)

    def _message(self, kind: Any, message: Any) -> Any:
        return kind(**{"name": None, **message, "parts": [self._part(part) for part in _uncut(message["parts"])]})

    def _part(self, part: Any) -> Any:
        kind = self._parts.get(part["type"])
        return part if kind is None else _instance_of(kind, part)  # as its provider has it

    def _tool(self, tool: Any) -> Any:
        return _instance_of(self._function if tool["type"] == "function" else self._other_tool, tool)


def completion_hook(given: object | None) -> CompletionHook | None:
    """Return the hook that is *given*, else the one that the environment names; `None` where there is none."""
    name = COMPLETION_HOOK.value() if given is None else None
    if given is None and name is None:
        return None
    try:
        hook = _hook_named(name) if name is not None else given
        return CompletionHook(hook, import_module(_TYPES))
    except Exception as exc:
        warn_once(
            "openai.completion_hook.missing",
            "There is no completion hook%s: %s. It takes an entry point in %s, or `completion_hook=`, whose object has "
            "`on_completion`, and a release of opentelemetry-util-genai with the types of 1.3b0.",
            "" if name is None else f" {quoted(name)}",
            type(exc).__name__,
            _GROUP,
        )
        return None


def _uncut(items: Any) -> list[Any]:
    """Return *items* without the notes that stand for those that were cut off."""
    return [item for item in items or () if not isinstance(item, str)]


def _hook_named(name: str) -> object:
    for found in entry_points(group=_GROUP, name=name):
        return found.load()()
    raise LookupError(name)


def _instance_of(kind: Any, part: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in part.items() if name in known})
