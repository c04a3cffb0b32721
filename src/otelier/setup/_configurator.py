"""Setup of OpenTelemetry's SDK, as its own distro does it, where none is set up and an exporter is configured."""

from __future__ import annotations

import logging

from opentelemetry import _logs, trace
from opentelemetry.sdk.resources import Resource, ResourceDetector

from otelier import names
from otelier.faults import read_setting
from otelier.fields.processors import ContextLogProcessor
from otelier.identity import ProcessIdentity
from otelier.settings import APP, CONFIG_FILE, ENV, TRACES_EXPORTER, exporter_is_configured
from otelier.telemetry import (
    innermost_provider,
    is_set,
    processors_of,
)


def process_attributes(identity: ProcessIdentity) -> dict[str, str]:
    """Return the resource attributes for what was named; a name that is only the service's is not repeated."""
    return _named(identity.app if identity.named else None, identity.env)


def _named(app: str | None, env: str | None) -> dict[str, str]:
    named = {names.MAIN_AGENT_NAME: app, names.ENVIRONMENT: env}
    return {key: value for key, value in named.items() if value is not None}


class ProcessResourceDetector(ResourceDetector):
    """Put `OTELIER_APP` and `OTELIER_ENV` on the resource, for processes whose SDK otelier does not set up.

    It is switched on by its entry point's name: `OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=otel,otelier`.

    Example:
        >>> dict(ProcessResourceDetector().detect().attributes)
        {}
    """

    def detect(self) -> Resource:
        """Return the attributes; an empty resource where neither variable is set."""
        return Resource(_named(read_setting(APP), read_setting(ENV)))


def wants_no_traces() -> bool:
    """Tell whether the environment says that spans go nowhere."""
    return (TRACES_EXPORTER.value() or "").lower() == "none"


def is_set_up() -> bool:
    """Tell whether a tracer provider is set."""
    return is_set(trace.get_tracer_provider())


def leaves_logging_alone() -> bool:
    """Tell whether log records are exported, and those of the standard `logging` are not among them."""
    provider = innermost_provider(_logs.get_logger_provider())
    if all(isinstance(processor, ContextLogProcessor) for processor in processors_of(provider) or ()):
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
