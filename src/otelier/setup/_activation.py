"""Switch otelier on, once per process, and off again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from otelier import baggage
from otelier.faults import attempt, on_fork, on_reset, read_setting, warn_once
from otelier.fields import be_strict, carry_into_pools, lease_to_threads, stop_carrying, stop_leasing
from otelier.identity import name_process, prepare_fingerprints, report_waiting
from otelier.openai import OpenAIInstrumentor
from otelier.redaction import forget_content_gate, read_content_gate
from otelier.settings import (
    DISABLED,
    DISABLED_INSTRUMENTATIONS,
    SDK_DISABLED,
    exporter_is_configured,
    patches_allowed,
    switched_off,
)
from otelier.setup import _configurator, _providers
from otelier.telemetry import (
    flush,
    given_providers,
    is_set,
    read_metric_tenants,
    renew_connections,
    report_total,
    start_watching_exports,
    stop_watching_exports,
)

_log = logging.getLogger("otelier")
lock = threading.RLock()
_active = False


def activate() -> None:
    """Switch otelier on with the settings of the environment.

    `opentelemetry-instrument` calls it through three entry points, and so does `init`. It adds the processors to the
    global providers, now or when they are set, lets thread pools carry the context, and instruments openai. No failure
    here reaches the program. One INFO line lists what is active; one WARNING appears if no provider is set that
    records anything. A later call only adds the processors to providers that have been replaced since, as
    `logfire.configure()` does, and puts the patches of openai around those of instrumentations that were switched on
    since.

    Example:
        >>> import otelier
        >>> otelier.activate()
    """
    with lock:
        switch_on()
        if _active:
            attempt("setup.providers", _warn_where_nothing_records)


def settle() -> None:
    """Call `activate` after every instrumentor, and warn of what they left out.

    Example:
        >>> settle()
    """
    activate()
    warn_of_logging()


def warn_of_logging() -> None:
    """Warn once that records of the standard `logging` are not exported, where log records are."""
    attempt("setup.logging", _warn_of_logging)


def _warn_of_logging() -> None:
    off = DISABLED_INSTRUMENTATIONS.value()
    if _active and off.isdisjoint(("logging", "*")) and _configurator.leaves_logging_alone():
        warn_once(
            "setup.logging",
            "Records of the standard `logging` are not exported: what your program logs cannot be found by user or "
            "agent. Run `pip install opentelemetry-instrumentation-logging`, or set OTEL_LOGS_EXPORTER=none.",
        )


def switch_on() -> None:
    """Do what `activate` does, for a program that gives providers of its own."""
    with lock:
        if _active:
            attempt("setup.providers", _providers.attach_to_global)
            if OpenAIInstrumentor().is_instrumented_by_opentelemetry:
                _instrument_openai()  # around what others have put around ours since
            return
        if switched_off():
            _log.info("otelier is switched off by OTELIER_DISABLED")
            return
        _switch_on()


def _switch_on() -> None:
    global _active
    _active = True
    read_setting(DISABLED)  # warns if it cannot be read
    attempt("setup.strict", be_strict)
    attempt("setup.name", name_process)
    if patches_allowed():
        attempt("setup.exports", start_watching_exports)
    attempt("setup.providers", _providers.attach_to_global)
    attempt("setup.agents", report_waiting)
    attempt("setup.fingerprints", prepare_fingerprints)
    if not OpenAIInstrumentor().is_instrumented_by_opentelemetry:  # that has read it
        attempt("setup.content", read_content_gate)
        attempt("setup.tenants", read_metric_tenants)
    if patches_allowed():
        attempt("setup.pools", carry_into_pools)
        attempt("setup.threads", lease_to_threads)
        attempt("setup.baggage", baggage.follow_environment)
        attempt("setup.baggage", baggage.install)
        _instrument_openai()
    _log.info("otelier is active: %s", "; ".join(_summary()))


def _warn_where_nothing_records() -> None:
    """Warn once that there is no provider, unless the environment wants none."""
    if any(provider is not None for provider in given_providers().values()):
        return  # they record, whatever the global ones do
    if SDK_DISABLED.value() or _configurator.is_set_up() or _configurator.wants_no_traces():
        return
    configured = exporter_is_configured()
    warn_once(
        "setup.no_provider",
        "No OpenTelemetry provider is set%s: otelier records nothing until a provider is set. %s, or run under "
        "opentelemetry-instrument.",
        ", though an exporter is configured" if configured else " and no exporter is configured",
        "Call init(), which sets one up" if configured else "Set OTEL_EXPORTER_OTLP_ENDPOINT before init()",
    )


def attach_given(*, tracer_provider: Any, meter_provider: Any, logger_provider: Any) -> None:
    """Put the processors on the providers just given, one at least, and let calls of openai go to them; skip `None`."""
    if tracer_provider is not None:
        attempt("setup.providers", _providers.attach_spans, tracer_provider)
    if meter_provider is not None:
        attempt("setup.providers", _providers.attach_metrics, meter_provider)
    if logger_provider is not None:
        attempt("setup.providers", _providers.attach_logs, logger_provider)
    _instrument_openai(anew=True)
    attempt("setup.agents", report_waiting)


def _instrument_openai(*, anew: bool = False) -> None:
    if not patches_allowed() or "otelier-openai" in DISABLED_INSTRUMENTATIONS.value():
        return
    instrumentor = OpenAIInstrumentor()
    if anew and instrumentor.is_instrumented_by_opentelemetry:
        attempt("setup.openai", instrumentor.move_to, **given_providers())
    else:
        attempt("setup.openai", instrumentor.instrument, skip_dep_check=True, **given_providers())


def switch_off() -> None:
    """Take the patches out again and forget that otelier was switched on; processors stay on their providers."""
    global _active
    with lock:
        _active = False
        attempt("setup.providers", _providers.stop_following)
        attempt("setup.exports", stop_watching_exports)
        attempt("setup.pools", stop_carrying)
        attempt("setup.threads", stop_leasing)
        attempt("setup.baggage", baggage.uninstall)
        if OpenAIInstrumentor().is_instrumented_by_opentelemetry:
            attempt("setup.openai", OpenAIInstrumentor().uninstrument)
        forget_content_gate()


def shutdown() -> None:
    """Flush, remove all patches, and stop following providers.

    The context still works. Providers belong to whoever created them: they are flushed but not shut down; those that
    `init` had OpenTelemetry set up shut down by themselves at the end of the process. If telemetry was lost, one
    WARNING gives the total. `init` may be called again.

    Example:
        >>> import otelier
        >>> otelier.shutdown()
    """
    flush()
    report_total()
    switch_off()


def _summary() -> list[str]:
    provider = trace.get_tracer_provider()
    spans = "no provider yet, processors follow when one is set"
    if SDK_DISABLED.value():
        spans = "OTEL_SDK_DISABLED, only the context works"
    elif is_set(provider):
        spans = f"fields on spans and logs of {type(provider).__qualname__}"
    openai = "openai instrumented" if OpenAIInstrumentor().is_instrumented_by_opentelemetry else "openai left alone"
    pools = "thread pools carry the context" if patches_allowed() else "no patches"
    return [spans, openai, pools, baggage.summary()]


@on_fork
def _renew() -> None:
    global lock
    lock = threading.RLock()
    if _active:
        renew_connections()


on_reset(switch_off)


class Activator(BaseInstrumentor):
    """Instrumentor that `opentelemetry-instrument` finds under the name `otelier`.

    Example:
        >>> Activator().instrumentation_dependencies()
        ()
    """

    def instrument(self, **kwargs: Any) -> None:
        """Call `activate`; also when it was called before, without a warning."""
        activate()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return nothing: otelier depends on what it needs."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        raise NotImplementedError  # the base class asks for both, and `instrument` and `uninstrument` do without

    def _uninstrument(self, **kwargs: Any) -> None:
        raise NotImplementedError

    def uninstrument(self, **kwargs: Any) -> None:
        """Take the patches out again."""
        switch_off()
