"""The provider register: where spans, metrics and log records of our own go.

A provider may be given when otelier is switched on. Where none was, the global one holds, also one that is set later.
Ask for a tracer, meter or logger each time there is something to send, and keep none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from opentelemetry import _logs, metrics, trace
from opentelemetry._logs import Logger, LoggerProvider
from opentelemetry.metrics import Meter, MeterProvider
from opentelemetry.trace import SpanKind, Tracer, TracerProvider
from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.faults import count_faults_by, on_reset
from otelier.telemetry._by_identity import ByIdentity
from otelier.telemetry._sdk import is_set
from otelier.telemetry._sdk_spans import would_sample as sampler_would

_MAX_STAND_INS: Final = 8


class _Register:
    """Providers that were given; `None` is the global one."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all of it."""
        self.tracer_provider: TracerProvider | None = None
        self.meter_provider: MeterProvider | None = None
        self.logger_provider: LoggerProvider | None = None
        self.known: ByIdentity[None] = ByIdentity()
        """All that were ever given: they may still hold signals of ours."""
        self.tracers: dict[str, tuple[TracerProvider, Tracer]] = {}
        """The last tracer of each scope, with its provider. The SDK changes the process's filters of warnings each
        time it is asked for one: 40 us, and warnings that are shown once come again."""


_register = _Register()


def use_providers(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    logger_provider: LoggerProvider | None = None,
) -> None:
    """Send our own signals to the given providers from now on; `None` leaves one as it is.

    Example:
        >>> from opentelemetry import trace
        >>> use_providers(tracer_provider=trace.NoOpTracerProvider())
        >>> type(tracer_for("otelier.docs")).__name__
        'NoOpTracer'
    """
    if tracer_provider is not None:
        _register.tracer_provider = tracer_provider
    if meter_provider is not None:
        _register.meter_provider = meter_provider
        count_faults_by(meter_provider)
    if logger_provider is not None:
        _register.logger_provider = logger_provider
    for provider in (tracer_provider, meter_provider, logger_provider):
        if provider is not None:
            _register.known.setdefault(provider, None)


def tracer_provider() -> TracerProvider:
    """Return the tracer provider in use."""
    given = _register.tracer_provider
    return trace.get_tracer_provider() if given is None else given


def meter_provider() -> MeterProvider:
    """Return the meter provider in use."""
    given = _register.meter_provider
    return metrics.get_meter_provider() if given is None else given


def given_meter_provider() -> MeterProvider | None:
    """Return the meter provider that was given; `None` where the global one is in use."""
    return _register.meter_provider


def logger_provider() -> LoggerProvider:
    """Return the logger provider in use."""
    given = _register.logger_provider
    return _logs.get_logger_provider() if given is None else given


def has_provider(signal: Literal["logs", "metrics"]) -> bool:
    """Tell whether a provider is set for *signal*; before that, what the API's stand-in gets is lost.

    Example:
        >>> from opentelemetry.metrics import NoOpMeterProvider
        >>> use_providers(meter_provider=NoOpMeterProvider())
        >>> has_provider("metrics")
        True
    """
    return is_set(logger_provider() if signal == "logs" else meter_provider())


def known_providers() -> list[Any]:
    """Return every provider that may hold something of ours, each once: the global ones and all that were given."""
    candidates = [
        trace.get_tracer_provider(),
        metrics.get_meter_provider(),
        _logs.get_logger_provider(),
        *_register.known.owners(),
    ]
    return list({id(provider): provider for provider in candidates}.values())


def tracer_for(scope: str) -> Tracer:
    """Return the tracer of *scope*, of the provider in use.

    Example:
        >>> tracer_for("otelier.docs").start_span("work").end()
    """
    provider = tracer_provider()
    made = _register.tracers.get(scope)
    if made is None or made[0] is not provider:
        made = _register.tracers[scope] = (provider, provider.get_tracer(scope, schema_url=names.SCHEMA_URL))
    return made[1]


def would_sample(scope: str, trace_id: int, name: str, attributes: Mapping[str, AttributeValue]) -> bool | None:
    """Ask the sampler of the provider in use, once, about a span without a parent that will be made elsewhere.

    Returns:
        What it said; `None` where there is none to ask, or it raised.

    Example:
        >>> would_sample("otelier.docs", 1, "work", {}) is None  # nobody has set a provider
        True
    """
    try:
        return sampler_would(tracer_for(scope), trace_id, name, SpanKind.INTERNAL, attributes)
    except Exception:  # the sampler is the user's, and its spans show it
        return None


def meter_for(scope: str) -> Meter:
    """Return the meter of *scope*, of the provider in use; instruments of it are to be kept, see `Metering`.

    Example:
        >>> counter = meter_for("otelier.docs").create_counter("docs.count")
    """
    return meter_provider().get_meter(scope, schema_url=names.SCHEMA_URL)


def logger_for(scope: str) -> Logger:
    """Return the logger of *scope*, of the provider in use.

    Example:
        >>> from opentelemetry._logs import LogRecord
        >>> logger_for("otelier.docs").emit(LogRecord(event_name="docs.example"))
    """
    return logger_provider().get_logger(scope, schema_url=names.SCHEMA_URL)


def innermost_provider(provider: Any) -> Any:
    """Return the provider that *provider* stands for: logfire's stand for one each, and get another in its place."""
    for _ in range(_MAX_STAND_INS):
        inner = getattr(provider, "provider", None)
        if not isinstance(inner, (trace.TracerProvider, LoggerProvider, MeterProvider)):
            break
        provider = inner
    return provider


@on_reset
def _forget() -> None:
    _register.clear()
    count_faults_by(None)
