"""Telemetry of runs and calls of tools: spans, metrics, content, and the log record of a tool that failed.

See: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/ and
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from opentelemetry.context import Context, get_current
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.util.types import AnyValue, AttributeValue
from pydantic import BaseModel

from otelier import names
from otelier.agents._conversation import begins_with_prompt
from otelier.agents._run import Run
from otelier.codec import read_json, whole_text
from otelier.errors import NotJsonError
from otelier.faults import report_fault
from otelier.fields import call_attributes
from otelier.identity import agent_within_cardinality
from otelier.interceptors import StopExecution
from otelier.redaction import ContentGate
from otelier.telemetry import (
    Metering,
    OperationPoint,
    OperationSpan,
    emit_event,
    failure_of,
    fit_text,
    genai_histogram,
    metric_tenants,
    stack_of,
    start_operation,
    tenant_attributes,
    within_cardinality,
)

_MAX_MESSAGE_CHARS: Final = 8_192
"""Longest message of an error in a log record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Instruments:
    runs: Histogram
    inference_calls: Histogram
    tool_calls: Histogram
    tools: Histogram


def _instruments(meter: Meter) -> _Instruments:
    return _Instruments(
        runs=genai_histogram(meter, names.AGENT_DURATION),
        inference_calls=genai_histogram(meter, names.AGENT_INFERENCE_CALLS),
        tool_calls=genai_histogram(meter, names.AGENT_TOOL_CALLS),
        tools=genai_histogram(meter, names.TOOL_DURATION),
    )


_METERING: Final = Metering(names.SCOPE_AGENTS, _instruments)


class RunPoint(OperationPoint[_Instruments]):
    """One run: its duration, and its own calls of models and tools."""

    __slots__ = ("agent", "inference_calls", "model", "tenant", "tool_calls")

    def __init__(self, agent: str, model: str) -> None:
        super().__init__(_METERING)
        self.agent = agent
        self.tenant: object = None
        self.model = model
        self.inference_calls = 0
        self.tool_calls = 0

    def record_on(self, instruments: _Instruments, context: Context) -> None:
        """Record the run."""
        agent = _agent_attributes(self)
        model = {names.REQUEST_MODEL: self.model} if within_cardinality(names.REQUEST_MODEL, self.model) else {}
        instruments.runs.record(self.seconds, {**agent, **model, **self.error_attributes()}, context)
        instruments.inference_calls.record(self.inference_calls, agent, context)
        instruments.tool_calls.record(self.tool_calls, agent, context)


class ToolPoint(OperationPoint[_Instruments]):
    """One call of a tool: its duration."""

    __slots__ = ("agent", "tenant", "tool")

    def __init__(self, agent: str, tool: str) -> None:
        super().__init__(_METERING)
        self.agent = agent
        self.tenant: object = None
        self.tool = tool

    def record_on(self, instruments: _Instruments, context: Context) -> None:
        """Record the call."""
        tool = self.tool if within_cardinality(names.TOOL_NAME, self.tool) else names.OTHER
        attributes = {names.TOOL_NAME: tool, names.TOOL_TYPE: names.FUNCTION}
        attributes |= {**_agent_attributes(self), **self.error_attributes()}
        instruments.tools.record(self.seconds, attributes, context)


def agent_span(
    name: str,
    attributes: Mapping[str, AttributeValue],
    base: Context,
    point: RunPoint | ToolPoint,
    gate: ContentGate,
    **forced: Any,
) -> OperationSpan:
    """Start the span of a run or a call of a tool, for a `with` statement; a stop is no failure.

    *forced* are the ids and the start of one that is resumed, as `start_operation` takes them.
    """
    opened = start_operation(
        name, base, point, scope=names.SCOPE_AGENTS, attributes=attributes, gate=gate, is_failure=_is_failure, **forced
    )
    if metric_tenants():
        point.tenant = call_attributes(opened.span, base)[0].get(names.TENANT_ID)
    return opened


def _is_failure(error: BaseException) -> bool:
    return not isinstance(error, StopExecution)


def _agent_attributes(point: RunPoint | ToolPoint) -> dict[str, AttributeValue]:
    """Return what metrics carry of a point's agent and tenant."""
    agent = {names.AGENT_NAME: point.agent} if agent_within_cardinality(point.agent) else {}
    return {**agent, **tenant_attributes(point.tenant)}


def log_failure(tool: str, call_id: str, error: BaseException, gate: ContentGate) -> None:
    """Emit the log record of a call that failed, in the context of its span; never raises."""
    try:
        failed = failure_of(error)
        attributes: dict[str, AnyValue] = {
            names.TOOL_NAME: tool,
            names.EXCEPTION_TYPE: failed.type,
            names.EXCEPTION_STACK: stack_of(error),
        }
        fitting_id = fit_text(call_id)
        if fitting_id:
            attributes[names.TOOL_CALL_ID] = fitting_id
        message = failed.message
        if message and gate.mode.on_event:
            attributes[names.EXCEPTION_MESSAGE] = whole_text(gate.text(message, _MAX_MESSAGE_CHARS))
        failure = f"Tool {tool!r} raised {failed.type}."
        emit_event(names.SCOPE_AGENTS, names.TOOL_FAILED, attributes, get_current(), failure=failure)
    except Exception as exc:
        report_fault("agents.failures", exc)


def run_content(run: Run, output: object) -> dict[str, list[dict[str, Any]]]:
    """Return the content of a run by attribute: question, instructions, tools and *output*; `None` is no output."""
    found = {names.INPUT_MESSAGES: [{"role": "user", "parts": _question_parts(run.task.content)}]}
    if begins_with_prompt(run.messages) and isinstance(run.messages[0].get("content"), str):
        found[names.SYSTEM_INSTRUCTIONS] = _text_parts(run.messages[0]["content"])
    if run.tools and run.model_calls:  # not of a run that ended before it offered any
        found[names.TOOL_DEFINITIONS] = [
            {"type": names.FUNCTION, **tool.to_param()["function"]} for tool in run.tools.values()
        ]
    if output is not None:
        text = output.model_dump_json() if isinstance(output, BaseModel) else str(output)
        found[names.OUTPUT_MESSAGES] = [
            {"role": "assistant", "parts": _text_parts(text), "finish_reason": run.finish_reason or "stop"}
        ]
    return found


def result_content(text: str) -> dict[str, Any]:
    """Return a tool's result as the object that the conventions ask for: itself if it is one, else as `result`."""
    try:
        result = read_json(text)
    except NotJsonError:
        result = None
    if isinstance(result, dict):
        return cast("dict[str, Any]", result)
    return {"result": result if isinstance(result, list) else text}


def _question_parts(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return _text_parts(content)
    return [_text_parts(str(part.get("text")))[0] if part["type"] == "text" else part for part in content]


def _text_parts(content: str) -> list[dict[str, Any]]:
    return [{"type": "text", "content": content}]
