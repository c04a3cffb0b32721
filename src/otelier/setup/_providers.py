"""Putting our processors on providers: those that are there, and those that are set later."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from opentelemetry import _logs, metrics, trace
from opentelemetry._logs import _internal as logs_internal
from opentelemetry.metrics import _internal as metrics_internal

from otelier.faults import on_reset, report_fault, warn_once
from otelier.fields.processors import AgentSpanProcessor, ContextLogProcessor
from otelier.identity import report_waiting
from otelier.patches import Patches, PatchPoint
from otelier.setup import _losses
from otelier.telemetry import ByIdentity, innermost_provider, is_set, observe_losses

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
        _losses.watch(provider)


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
    if not _has(getattr(provider, "_active_span_processor", None), AgentSpanProcessor):
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
        _losses.watch(provider)


def _put_on_logs(provider: Any) -> bool:
    if provider in _attached:
        return True
    add = getattr(provider, "add_log_record_processor", None)
    if add is None:
        return False
    chain = getattr(provider, "_multi_log_record_processor", None)
    if not _has(chain, ContextLogProcessor):
        processor = ContextLogProcessor()
        # A processor that exports at once must come after ours, and the SDK only appends, as it must:
        # https://github.com/open-telemetry/opentelemetry-specification/issues/987
        try:
            with chain._lock:  # type: ignore[union-attr] -- None has no lock, and is caught
                chain._log_record_processors = (processor, *chain._log_record_processors)  # type: ignore[union-attr]
        except AttributeError:
            add(processor)
    _attached.setdefault(provider, None)
    return True


def attach_metrics(provider: Any) -> None:
    """Let *provider* report what telemetry is lost."""
    if is_set(provider):
        provider = innermost_provider(provider)
        observe_losses(provider)
        _losses.watch(provider)


def _attach_late_logs(provider: Any) -> None:
    attach_logs(provider)
    report_waiting()  # agents that were named while nobody could be told


def _attach_late_metrics(provider: Any) -> None:
    report_waiting()
    attach_metrics(provider)


def _has(chain: Any, kind: type) -> bool:
    """Tell whether the user has put a processor of ours on the provider; unknown counts as no, twice is only slower."""
    processors = getattr(chain, "_span_processors", None) or getattr(chain, "_log_record_processors", ())
    return any(isinstance(processor, kind) for processor in processors)


def _watch(module: ModuleType, kind: str, attach: Callable[[Any], object], current: Callable[[], Any]) -> PatchPoint:
    """Return the patch that calls *attach* whenever a global provider is set through *module*."""

    def set_and_attach(wrapped: Callable[..., Any], _: None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = wrapped(*args, **kwargs)
        try:
            attach(current())
        except Exception as exc:
            report_fault("setup.late_provider", exc)
        return result

    # The private function serves callers who imported the public one before us.
    private = f"_set_{kind}_provider"
    name = private if hasattr(module, private) else private.removeprefix("_")
    return PatchPoint(module.__name__, "", name, set_and_attach)


_WATCHES = Patches(
    (
        _watch(trace, "tracer", attach_spans, trace.get_tracer_provider),
        _watch(logs_internal, "logger", _attach_late_logs, _logs.get_logger_provider),
        _watch(metrics_internal, "meter", _attach_late_metrics, metrics.get_meter_provider),
    ),
    place="setup.late_provider",
)


def attach_to_global() -> None:
    """Put our processors on the global providers that are set, and on those that are set later."""
    attach_spans(trace.get_tracer_provider())
    attach_logs(_logs.get_logger_provider())
    attach_metrics(metrics.get_meter_provider())
    _WATCHES.apply()


@on_reset
def stop_watching() -> None:
    """Leave providers that are set later alone."""
    _WATCHES.remove()
