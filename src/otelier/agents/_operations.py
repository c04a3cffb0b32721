"""Runs and calls of tools as operations: their spans, and what is measured of them.

See: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.identity import agent_within_cardinality
from otelier.interceptors import StopExecution
from otelier.redaction import ContentGate
from otelier.telemetry import (
    OTHER,
    Metering,
    OperationPoint,
    OperationSpan,
    inference_calls_histogram,
    operation_span,
    run_histogram,
    tool_calls_histogram,
    tool_histogram,
    within_cardinality,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Instruments:
    runs: Histogram
    inference_calls: Histogram
    tool_calls: Histogram
    tools: Histogram


def _instruments(meter: Meter) -> _Instruments:
    return _Instruments(
        runs=run_histogram(meter),
        inference_calls=inference_calls_histogram(meter),
        tool_calls=tool_calls_histogram(meter),
        tools=tool_histogram(meter),
    )


_METERING: Final = Metering(names.SCOPE_AGENTS, _instruments)


class RunPoint(OperationPoint[_Instruments]):
    """One run: its duration, and its own calls of models and tools."""

    __slots__ = ("agent", "inference_calls", "model", "tool_calls")

    def __init__(self, agent: str, model: str) -> None:
        super().__init__(_METERING)
        self.agent = agent
        self.model = model
        self.inference_calls = 0
        self.tool_calls = 0

    def record_on(self, instruments: _Instruments, context: Context) -> None:
        """Record the run."""
        agent = _agent_attributes(self.agent)
        model = {names.REQUEST_MODEL: self.model} if within_cardinality(names.REQUEST_MODEL, self.model) else {}
        instruments.runs.record(self.seconds, {**agent, **model, **self.error_attributes()}, context)
        instruments.inference_calls.record(self.inference_calls, agent, context)
        instruments.tool_calls.record(self.tool_calls, agent, context)


class ToolPoint(OperationPoint[_Instruments]):
    """One call of a tool: its duration."""

    __slots__ = ("agent", "tool")

    def __init__(self, agent: str, tool: str) -> None:
        super().__init__(_METERING)
        self.agent = agent
        self.tool = tool

    def record_on(self, instruments: _Instruments, context: Context) -> None:
        """Record the call."""
        tool = self.tool if within_cardinality(names.TOOL_NAME, self.tool) else OTHER
        attributes = {names.TOOL_NAME: tool, names.TOOL_TYPE: names.FUNCTION}
        attributes |= {**_agent_attributes(self.agent), **self.error_attributes()}
        instruments.tools.record(self.seconds, attributes, context)


def agent_span(
    name: str,
    attributes: Mapping[str, AttributeValue],
    base: Context,
    point: RunPoint | ToolPoint,
    gate: ContentGate,
) -> AbstractContextManager[OperationSpan]:
    """Make the span of a run or a call of a tool current in *base* while the block runs; a stop is no failure."""
    return operation_span(
        name, base, point, scope=names.SCOPE_AGENTS, attributes=attributes, gate=gate, is_failure=_is_failure
    )


def _is_failure(error: BaseException) -> bool:
    return not isinstance(error, StopExecution)


def _agent_attributes(agent: str) -> dict[str, AttributeValue]:
    return {names.AGENT_NAME: agent} if agent_within_cardinality(agent) else {}
