"""Processors of ours on providers: on those that are set, and on those that are set later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry import _logs, metrics, trace

from otelier.faults import on_reset, report_fault, warn_once
from otelier.fields.processors import AgentSpanProcessor, ContextLogProcessor
from otelier.identity import report_waiting
from otelier.patches import Patches, PatchPoint
from otelier.telemetry import (
    ByIdentity,
    GlobalProvider,
    innermost_provider,
    is_set,
    processors_of,
    put_first,
    watch_exports,
)

_attached: ByIdentity[None] = ByIdentity()
"""Providers that have our processor."""


def attach_spans(provider: Any) -> bool:
    """Put an `AgentSpanProcessor` on *provider*, once; `False` when it takes none."""
    if not is_set(provider):
        return False
    provider = innermost_provider(provider)
    try:
        return _put_on_spans(provider)
    finally:
        watch_exports(provider)


def _put_on_spans(provider: Any) -> bool:
    if provider in _attached:
        return True
    add = getattr(provider, "add_span_processor", None)
    if add is None:
        if not isinstance(provider, trace.NoOpTracerProvider):
            warn_once(
                "setup.no_span_processor",
                "The tracer provider %s takes no span processors: spans of other instrumentations will not carry the "
                "fields; those open at set_context() and otelier's own do. Use OpenTelemetry's SDK provider.",
                type(provider).__qualname__,
            )
        return False
    if not _has(provider, AgentSpanProcessor):
        add(AgentSpanProcessor())
    _attached.setdefault(provider, None)
    return True


def attach_logs(provider: Any) -> bool:
    """Put a `ContextLogProcessor` before the processors of *provider*, once; `False` when it takes none."""
    if not is_set(provider):
        return False
    provider = innermost_provider(provider)
    try:
        return _put_on_logs(provider)
    finally:
        watch_exports(provider)


def _put_on_logs(provider: Any) -> bool:
    if provider in _attached:
        return True
    add = getattr(provider, "add_log_record_processor", None)
    if add is None:
        return False
    if not _has(provider, ContextLogProcessor):
        processor = ContextLogProcessor()
        # A processor that exports at once must come after ours, and the SDK only appends, as it must:
        # https://github.com/open-telemetry/opentelemetry-specification/issues/987
        if not put_first(provider, processor):
            add(processor)
    _attached.setdefault(provider, None)
    return True


def attach_metrics(provider: Any) -> None:
    """Let *provider* report what telemetry is lost."""
    if is_set(provider):
        watch_exports(innermost_provider(provider))


def _attach_late_logs(provider: Any) -> None:
    attach_logs(provider)
    report_waiting()  # agents that were named before there was a provider


def _attach_late_metrics(provider: Any) -> None:
    report_waiting()
    attach_metrics(provider)


def _has(provider: Any, kind: type) -> bool:
    """Tell whether the user has put a processor of ours on it; unknown counts as no, since twice is only slower."""
    return any(isinstance(processor, kind) for processor in processors_of(provider) or ())


def _set_provider_patch(provider: GlobalProvider, attach: Callable[[Any], object]) -> PatchPoint:
    """Return the patch that calls *attach* whenever that global provider is set."""

    def set_and_attach(wrapped: Callable[..., Any], _: None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = wrapped(*args, **kwargs)
        try:
            attach(provider.get())
        except Exception as exc:
            report_fault("setup.late_provider", exc)
        return result

    return PatchPoint(provider.module.__name__, "", provider.setter, set_and_attach)


_PATCHES = Patches(
    (
        _set_provider_patch(GlobalProvider.TRACER, attach_spans),
        _set_provider_patch(GlobalProvider.LOGGER, _attach_late_logs),
        _set_provider_patch(GlobalProvider.METER, _attach_late_metrics),
    ),
    place="setup.late_provider",
)


def attach_to_global() -> None:
    """Put our processors on the global providers that are set, and on those that are set later."""
    attach_spans(trace.get_tracer_provider())
    attach_logs(_logs.get_logger_provider())
    attach_metrics(metrics.get_meter_provider())
    _PATCHES.apply()


@on_reset
def stop_following() -> None:
    """Leave providers that are set later alone."""
    _PATCHES.remove()
