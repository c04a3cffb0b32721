"""The process's name and environment as resource attributes."""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource, ResourceDetector

from otelier import names
from otelier.identity import ProcessIdentity
from otelier.settings import APP, ENV
from otelier.signals import read_setting


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
