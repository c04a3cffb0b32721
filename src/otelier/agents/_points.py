"""What a run and a call of a tool measured, each as one point that waits for collection.

See: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram, MeterProvider
from opentelemetry.trace import SpanContext
from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.faults import on_reset, report_fault
from otelier.identity import may_tell_agent
from otelier.telemetry import (
    PointQueue,
    inference_calls_histogram,
    may_tell,
    measured_by,
    metering_of,
    run_histogram,
    tool_calls_histogram,
    tool_histogram,
)

_OTHER: Final = "_OTHER"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metering:
    """Histograms of one provider, and the queue of their points."""

    provider: MeterProvider
    queue: PointQueue
    runs: Histogram
    inference_calls: Histogram
    tool_calls: Histogram
    tools: Histogram


_last: Metering | None = None


def _current_metering() -> Metering:
    """Return the histograms of the provider that holds now."""
    global _last
    provider, last = measured_by(), _last
    if last is None or last.provider is not provider:
        meter, queue = metering_of(names.SCOPE_AGENTS)
        last = _last = Metering(
            provider=provider,
            queue=queue,
            runs=run_histogram(meter),
            inference_calls=inference_calls_histogram(meter),
            tool_calls=tool_calls_histogram(meter),
            tools=tool_histogram(meter),
        )
    return last


class SpanPoint:
    """What is measured of a span; filled when that ends."""

    __slots__ = ("_metering", "agent", "error", "seconds", "span_context")

    def __init__(self, agent: str) -> None:
        self._metering: Metering | None = None
        self.agent = agent
        self.seconds = 0.0
        self.error: str | None = None
        """Value of `error.type`."""
        self.span_context: SpanContext | None = None
        """Where exemplars point to; `None` when the span is not sampled."""

    def put(self) -> None:
        """Let it wait for collection; never raises."""
        try:
            self._metering = metering = _current_metering()
            metering.queue.put(self)
        except Exception as exc:
            report_fault("agents.metrics", exc)

    def record(self, context: Context) -> None:
        """Record all of it with *context*; the queue calls this."""
        if self._metering is not None:
            self._record_on(self._metering, context)

    def _record_on(self, metering: Metering, context: Context) -> None:
        raise NotImplementedError

    def _of_agent(self) -> dict[str, AttributeValue]:
        return {names.AGENT_NAME: self.agent} if may_tell_agent(self.agent) else {}

    def _of_error(self) -> dict[str, AttributeValue]:
        if self.error is None:
            return {}
        return {names.ERROR_TYPE: self.error if may_tell(names.ERROR_TYPE, self.error) else _OTHER}


class RunPoint(SpanPoint):
    """One run: its duration, and its own calls of models and tools."""

    __slots__ = ("inference_calls", "model", "tool_calls")

    def __init__(self, agent: str, model: str) -> None:
        super().__init__(agent)
        self.model = model
        self.inference_calls = 0
        self.tool_calls = 0

    def _record_on(self, metering: Metering, context: Context) -> None:
        agent = self._of_agent()
        model = {names.REQUEST_MODEL: self.model} if may_tell(names.REQUEST_MODEL, self.model) else {}
        metering.runs.record(self.seconds, {**agent, **model, **self._of_error()}, context)
        metering.inference_calls.record(self.inference_calls, agent, context)
        metering.tool_calls.record(self.tool_calls, agent, context)


class ToolPoint(SpanPoint):
    """One call of a tool: its duration."""

    __slots__ = ("tool",)

    def __init__(self, agent: str, tool: str) -> None:
        super().__init__(agent)
        self.tool = tool

    def _record_on(self, metering: Metering, context: Context) -> None:
        tool = self.tool if may_tell(names.TOOL_NAME, self.tool) else _OTHER
        attributes = {names.TOOL_NAME: tool, names.TOOL_TYPE: names.FUNCTION}
        metering.tools.record(self.seconds, {**attributes, **self._of_agent(), **self._of_error()}, context)


@on_reset
def _forget() -> None:
    global _last
    _last = None
