"""Setting OpenTelemetry's SDK up where nobody has, as its own distro would."""

from __future__ import annotations

import logging

from opentelemetry import _logs, trace

from otelier.identity import ProcessIdentity
from otelier.processors import ContextLogProcessor
from otelier.settings import (
    CONFIG_FILE,
    ENDPOINT,
    LOGS_ENDPOINT,
    LOGS_EXPORTER,
    METRICS_ENDPOINT,
    METRICS_EXPORTER,
    TRACES_ENDPOINT,
    TRACES_EXPORTER,
)
from otelier.setup._providers import innermost_provider, is_set
from otelier.setup._resource import process_attributes

_EXPORTERS = (TRACES_EXPORTER, METRICS_EXPORTER, LOGS_EXPORTER)
_PLACES = (ENDPOINT, TRACES_ENDPOINT, METRICS_ENDPOINT, LOGS_ENDPOINT, CONFIG_FILE)


def exporter_is_configured() -> bool:
    """Tell whether the environment says where signals go."""
    named = any((setting.value() or "none").lower() != "none" for setting in _EXPORTERS)
    return named or any(setting.value() for setting in _PLACES)


def wants_no_traces() -> bool:
    """Tell whether the environment says that spans go nowhere."""
    return (TRACES_EXPORTER.value() or "").lower() == "none"


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
    given = {} if CONFIG_FILE.value() else {"resource_attributes": process_attributes(identity)}
    OpenTelemetryConfigurator().configure(**given)  # pyright: ignore[reportUnknownMemberType] -- as above
    return is_set_up()
