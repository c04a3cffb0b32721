"""Setting OpenTelemetry's SDK up where nobody has, as its own distro would."""

from __future__ import annotations

import logging
import os

from opentelemetry import _logs, trace

from otelier.identity import ProcessIdentity
from otelier.processors import ContextLogProcessor
from otelier.setup._providers import innermost_provider, is_set
from otelier.setup._resource import process_attributes

_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
)
_EXPORTERS = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER")
_CONFIG_FILE = "OTEL_CONFIG_FILE"


def exporter_is_configured() -> bool:
    """Tell whether the environment says where signals go."""
    named = any(os.environ.get(name, "").strip().lower() not in ("", "none") for name in _EXPORTERS)
    return named or any(os.environ.get(name, "").strip() for name in (*_ENDPOINTS, _CONFIG_FILE))


def wants_no_traces() -> bool:
    """Tell whether the environment says that spans go nowhere."""
    return os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"


def is_set_up() -> bool:
    """Tell whether a tracer provider is set."""
    return is_set(trace.get_tracer_provider())


def leaves_logging_alone() -> bool:
    """Tell whether log records are exported, and those of the standard `logging` are not among them."""
    provider = innermost_provider(_logs.get_logger_provider())
    chain = getattr(provider, "_multi_log_record_processor", None)
    processors = getattr(chain, "_log_record_processors", ())
    if all(isinstance(processor, ContextLogProcessor) for processor in processors):
        return False
    handlers = logging.getLogger().handlers
    return not any(type(handler).__module__.startswith(("opentelemetry.", "logfire.")) for handler in handlers)


def set_up(identity: ProcessIdentity) -> bool:
    """Set the SDK up with the distro's defaults if no provider is set and an exporter is configured.

    Returns:
        Whether it did.
    """
    if is_set_up() or not exporter_is_configured():
        return False
    # Imported where it is needed: it brings every part of the SDK, and old releases warn at its import.
    from opentelemetry.distro import OpenTelemetryConfigurator, OpenTelemetryDistro

    OpenTelemetryDistro().configure()  # pyright: ignore[reportUnknownMemberType] -- its **kwargs have no type
    # A configuration file speaks for itself, and the configurator warns about anything beside it.
    from_file = bool(os.environ.get(_CONFIG_FILE))
    given = {} if from_file else {"resource_attributes": process_attributes(identity)}
    OpenTelemetryConfigurator().configure(**given)  # pyright: ignore[reportUnknownMemberType] -- as above
    return is_set_up()
