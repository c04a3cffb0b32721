"""The global providers: their processors and exporters, and whether otelier's processors are among them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from opentelemetry import _logs, metrics, trace

from otelier.cli.doctor._findings import Finding
from otelier.fields.processors import AgentSpanProcessor, ContextLogProcessor
from otelier.telemetry import exporter_of, innermost_provider, is_set, processors_of

_AREA = "providers"
_UNSET_HERE = "Nothing in this process sets it; your program or opentelemetry-instrument does."


def providers(*, expected: bool) -> Iterator[Finding]:
    """Yield the global providers, with their processors and readers.

    Args:
        expected: Whether otelier should be on the providers: this process switched it on.
    """
    yield from _tracer_provider(expected=expected)
    yield from _meter_provider()
    yield from _logger_provider(expected=expected)


def _tracer_provider(*, expected: bool) -> Iterator[Finding]:
    provider = trace.get_tracer_provider()
    if not is_set(provider):
        yield _unset("tracer provider", expected=expected)
        return
    found = _processors(provider)
    yield _set("tracer provider", provider, found)
    if found is None:
        return
    yield from _sampler(provider)
    if any(isinstance(one, AgentSpanProcessor) for one in found):
        yield Finding(area=_AREA, severity="ok", what="AgentSpanProcessor puts the fields on every span")
    elif expected:
        yield Finding(
            area=_AREA,
            severity="error",
            what="AgentSpanProcessor is not on the tracer provider",
            why="Spans do not carry user, session and agent.",
            do="provider.add_span_processor(otelier.AgentSpanProcessor()), or call otelier.init() once it is set.",
        )
    yield from _repeated(AgentSpanProcessor, found)
    if all(isinstance(one, AgentSpanProcessor) for one in found):
        yield _leads_nowhere("spans")


def _sampler(provider: Any) -> Iterator[Finding]:
    sampler = getattr(provider, "sampler", None)
    if sampler is None:
        return
    name = sampler.get_description()
    if "root:AlwaysOffSampler" in name or name == "AlwaysOffSampler":
        yield Finding(
            area=_AREA,
            severity="warning",
            what="the sampler drops every trace that starts here",
            why="There are no spans; metrics and log records are not affected.",
            do="Set OTEL_TRACES_SAMPLER=parentbased_always_on, or unset it.",
        )
    else:
        yield Finding(area=_AREA, severity="ok", what=f"sampler: {name.partition(',')[0].replace('{root:', ' of ')}")


def _meter_provider() -> Iterator[Finding]:
    provider = metrics.get_meter_provider()
    if not is_set(provider):
        yield _unset("meter provider", expected=False)
        return
    readers = _processors(provider)
    yield _set("meter provider", provider, readers)
    if readers == []:
        yield _leads_nowhere("metrics")


def _logger_provider(*, expected: bool) -> Iterator[Finding]:
    provider = _logs.get_logger_provider()
    if not is_set(provider):
        yield _unset("logger provider", expected=False)
        return
    found = _processors(provider)
    yield _set("logger provider", provider, found)
    yield _standard_logging()
    if found is None:
        return
    ours = [index for index, one in enumerate(found) if isinstance(one, ContextLogProcessor)]
    if ours == [0] or (ours and ours[0] < _first_exporting(found)):
        yield Finding(area=_AREA, severity="ok", what="ContextLogProcessor puts the fields on every log record")
    elif ours:
        yield Finding(
            area=_AREA,
            severity="error",
            what="ContextLogProcessor comes after a processor that exports",
            why="A record may be exported before the fields are on it.",
            do="Add it before the exporting processors, or let otelier.init() do it.",
        )
    elif expected:
        yield Finding(
            area=_AREA,
            severity="error",
            what="ContextLogProcessor is not on the logger provider",
            why="Log records do not carry user, session and agent.",
            do="Call otelier.init() once the provider is set.",
        )
    yield from _repeated(ContextLogProcessor, found)
    if len(ours) == len(found):
        yield _leads_nowhere("log records")


def _repeated(kind: type, found: Sequence[object]) -> Iterator[Finding]:
    times = sum(isinstance(one, kind) for one in found)
    if times > 1:
        yield Finding(
            area=_AREA,
            severity="warning",
            what=f"{kind.__name__} is on one provider {times} times",
            why="Each of them processes every signal again and adds nothing.",
            do="Add it once, or leave it to otelier.init(), which adds no second one.",
        )


def _standard_logging() -> Finding:
    handlers = [handler for handler in logging.getLogger().handlers if "opentelemetry" in type(handler).__module__]
    if handlers:
        return Finding(area=_AREA, severity="ok", what="records of the standard `logging` go to the logger provider")
    return Finding(
        area=_AREA,
        severity="warning",
        what="records of the standard `logging` do not go to the logger provider",
        why="Your program's log records are not exported.",
        do="pip install -U opentelemetry-instrumentation-logging",
    )


def _first_exporting(processors: list[Any]) -> int:
    exporting = (index for index, one in enumerate(processors) if exporter_of(one) is not None)
    return next(exporting, len(processors))


def _processors(provider: object) -> list[Any] | None:
    """Return the processors or readers on *provider*; `None` when it is not the SDK's."""
    return processors_of(innermost_provider(provider))


def _part_name(part: Any) -> str:
    exporter = exporter_of(part)
    name = type(part).__name__
    return name if exporter is None else f"{name}({type(exporter).__name__})"


def _set(what: str, provider: object, parts: list[Any] | None) -> Finding:
    name = f"{type(provider).__module__.partition('.')[0]} {type(provider).__name__}"
    if parts is None:
        why = "It is not OpenTelemetry's SDK, so what stands on it cannot be seen."
        return Finding(area=_AREA, severity="note", what=f"{what}: {name}", why=why)
    held = ", ".join(map(_part_name, parts)) or "nothing on it"
    return Finding(area=_AREA, severity="ok", what=f"{what}: {name} with {held}")


def _unset(what: str, *, expected: bool) -> Finding:
    if expected:
        return Finding(
            area=_AREA,
            severity="error",
            what=f"{what}: not set",
            why="otelier is switched on, but nothing records spans.",
            do="Set OTEL_EXPORTER_OTLP_ENDPOINT, or a provider of your own before or after otelier.init().",
        )
    return Finding(area=_AREA, severity="note", what=f"{what}: not set", why=_UNSET_HERE)


def _leads_nowhere(what: str) -> Finding:
    return Finding(
        area=_AREA,
        severity="warning",
        what=f"{what} are recorded but not exported",
        why="The provider has no exporter.",
        do="Set OTEL_EXPORTER_OTLP_ENDPOINT, or the exporter variables named under exporters.",
    )
