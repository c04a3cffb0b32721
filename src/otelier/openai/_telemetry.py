"""Tracer, instruments, content gate and completion hook of instrumented calls, chosen when instrumentation starts.

The types of `opentelemetry-util-genai`, which is no dependency, are looked for when a hook is there; without them there
is no hook.

See: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/#uploading-content-to-external-storage
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any, Final

from opentelemetry import trace
from opentelemetry._logs import Logger, LoggerProvider, LogRecord, get_logger
from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import Span, TracerProvider

from otelier import names
from otelier.faults import read_setting, warn_once
from otelier.openai._point import Instruments
from otelier.redaction import ContentGate, read_content_gate
from otelier.settings import COMPLETION_HOOK, STREAM_USAGE, quoted
from otelier.telemetry import (
    PointQueue,
    chunk_histogram,
    duration_histogram,
    first_chunk_histogram,
    point_queue,
    read_metric_tenants,
    token_histogram,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """Tracer, histograms, queue, logger and content gate of one `instrument()`."""

    start_span: Callable[..., Span]
    instruments: Instruments
    queue: PointQueue
    logger: Logger
    gate: ContentGate
    content: bool
    """Whether content, or an event without it, goes anywhere at all."""
    hook: CompletionHook | None
    """What stores content elsewhere."""
    stream_usage: bool
    """Whether streams ask for usage when their callers do not."""


class Switch:
    """What instrumented calls look at first."""

    __slots__ = ("telemetry",)

    def __init__(self) -> None:
        self.telemetry: Telemetry | None = None
        """`None` lets every call pass through, also in wrappers that somebody kept."""


switch: Final = Switch()


def make_telemetry(
    tracer_provider: TracerProvider | None,
    meter_provider: MeterProvider | None,
    logger_provider: LoggerProvider | None,
    *,
    stream_usage: bool | None = None,
    hook: object | None = None,
) -> Telemetry:
    """Return telemetry that goes to the given providers; `None` is the global one, also when it is set later.

    Args:
        tracer_provider: For spans.
        meter_provider: For metrics.
        logger_provider: For events.
        stream_usage: Whether streams ask for usage; `None` reads the environment.
        hook: What stores content elsewhere; `None` is the one that the environment names.
    """
    try:
        release = version("otelier")
    except PackageNotFoundError:  # run from its sources
        release = ""
    scope, schema = names.SCOPE_OPENAI, names.SCHEMA_URL
    meter = get_meter(scope, release, meter_provider, schema)
    gate, stored = read_content_gate(), completion_hook(hook)
    read_metric_tenants()
    return Telemetry(
        start_span=trace.get_tracer(scope, release, tracer_provider, schema).start_span,
        instruments=Instruments(
            duration=duration_histogram(meter),
            tokens=token_histogram(meter),
            first_chunk=first_chunk_histogram(meter),
            chunk=chunk_histogram(meter),
        ),
        queue=point_queue(meter_provider),
        logger=get_logger(scope, release, logger_provider, schema),
        gate=gate,
        content=gate.mode.any or gate.emits or stored is not None,
        hook=stored,
        stream_usage=read_setting(STREAM_USAGE, stream_usage),
    )


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
        """Give the hook what of a call's content may be *shown*, by attribute; never raises.

        The hook may write references to what it stored onto *span* and *event*, which then leave.
        """
        try:
            given: dict[str, Any] = {
                "inputs": [self._message(self._input, one) for one in _whole(shown.get(names.INPUT_MESSAGES))],
                "outputs": [self._message(self._output, one) for one in _whole(shown.get(names.OUTPUT_MESSAGES))],
                "system_instruction": [self._part(one) for one in _whole(shown.get(names.SYSTEM_INSTRUCTIONS))],
                "tool_definitions": [self._tool(one) for one in _whole(shown.get(names.TOOL_DEFINITIONS))] or None,
            }
        except (KeyError, TypeError):
            warn_once(
                "openai.completion_hook.limit",
                "A completion hook was not called: its content is larger than what redaction looks at.",
            )
            return
        try:
            self._call(**given, span=span, log_record=event)
        except Exception as exc:  # the hook's own, which may quote content
            warn_once("openai.completion_hook", "The completion hook raised %s; calls go on.", type(exc).__name__)

    def _message(self, kind: Any, message: Any) -> Any:
        return kind(**{"name": None, **message, "parts": [self._part(part) for part in _whole(message["parts"])]})

    def _part(self, part: Any) -> Any:
        kind = self._parts.get(part["type"])
        return part if kind is None else _made(kind, part)  # as its provider has it

    def _tool(self, tool: Any) -> Any:
        return _made(self._function if tool["type"] == "function" else self._other_tool, tool)


def completion_hook(given: object | None) -> CompletionHook | None:
    """Return the hook that is *given*, else the one that the environment names; `None` where there is none."""
    name = COMPLETION_HOOK.value() if given is None else None
    if given is None and name is None:
        return None
    try:
        hook = _named(name) if name is not None else given
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


def _whole(items: Any) -> list[Any]:
    """Return what of *items* was not cut off, and replaced by a note that says so."""
    return [item for item in items or () if not isinstance(item, str)]


def _named(name: str) -> object:
    for found in entry_points(group=_GROUP, name=name):
        return found.load()()
    raise LookupError(name)


def _made(kind: Any, part: Mapping[str, Any]) -> Any:
    known = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in part.items() if name in known})
