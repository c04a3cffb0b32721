"""The whole diagnosis, area by area: a check that fails hides no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from opentelemetry import trace

from otelier.cli.doctor._coexistence import coexistence, versions
from otelier.cli.doctor._exporters import exporters
from otelier.cli.doctor._findings import Finding
from otelier.cli.doctor._instrumentations import instrumentations
from otelier.cli.doctor._patches import baggage, patches, propagators
from otelier.cli.doctor._providers import providers
from otelier.cli.doctor._switches import switches
from otelier.cli.doctor._workflows import workflows
from otelier.identity import process
from otelier.redaction import redact


def diagnose() -> list[Finding]:
    """Look at this process and its environment; nothing is changed, and no telemetry is sent.

    Returns:
        What was found, by area. No finding holds the value of a header, or a password in an address; what else
        looks like a secret, in a variable where nobody would expect one, is redacted.
    """
    active = process() is not None
    areas: dict[str, Callable[[], Iterable[Finding]]] = {
        "versions": versions,
        "switches": switches,
        "otelier": lambda: _otelier(active),
        "providers": lambda: providers(expected=active),
        "exporters": exporters,
        "patches": lambda: patches(expected=active),
        "propagators": propagators,
        "baggage": lambda: baggage(expected=active),
        "instrumentations": lambda: instrumentations(expected=active),
        "coexistence": coexistence,
        "workflows": workflows,
    }
    return [_without_secrets(finding) for area, look in areas.items() for finding in _looked(area, look)]


def _looked(area: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except Exception as exc:  # a broken setup is what the doctor is for
        return [
            Finding(
                area=area,
                severity="error",
                what=f"this check failed: {type(exc).__name__}",
                why=str(exc)[:200],
                do="Fix this first, then run the doctor again.",
            )
        ]


def _without_secrets(finding: Finding) -> Finding:
    why, do = finding.why, finding.do
    return replace(finding, what=redact(finding.what), why=why and redact(why), do=do and redact(do))


def _otelier(active: bool) -> Iterator[Finding]:
    identity = process()
    if not active or identity is None:
        yield Finding(
            area="otelier",
            severity="note",
            what="otelier is not switched on in this process",
            why="Importing otelier does not switch it on.",
            do="Run your program under opentelemetry-instrument, or call otelier.init().",
        )
        return
    yield Finding(
        area="otelier",
        severity="ok",
        what=f"otelier is switched on for {identity.app}" + (f" in {identity.env}" if identity.env else ""),
    )
    resource: Any = getattr(trace.get_tracer_provider(), "resource", None)
    service = str(resource.attributes.get("service.name", "")) if resource is not None else ""
    if service.startswith("unknown_service"):
        yield Finding(
            area="otelier",
            severity="warning",
            what=f"the service has no name: it is called {service}",
            why="Backends group telemetry by this name, and agent ids are derived from it.",
            do="Set OTEL_SERVICE_NAME.",
        )
    elif service:
        yield Finding(area="otelier", severity="ok", what=f"the service is called {service}")
