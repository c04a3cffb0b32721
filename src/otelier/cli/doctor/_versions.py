"""Versions: what is installed, and whether otelier works with it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from platform import python_version

from packaging.requirements import Requirement
from packaging.version import InvalidVersion

from otelier.cli.doctor._findings import Finding

_AREA = "versions"
_NOTED = (
    "openai",
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-distro",
    "opentelemetry-exporter-otlp",
    "opentelemetry-instrumentation",
)
_WITHOUT = {
    "openai": "There are no calls to instrument.",
    "opentelemetry-distro": "opentelemetry-instrument then sets up no SDK.",
    "opentelemetry-exporter-otlp": "Nothing can be sent by OTLP.",
}


def versions() -> Iterator[Finding]:
    """Yield the versions of what otelier stands on."""
    yield Finding(area=_AREA, severity="ok", what=f"otelier {version('otelier')} on Python {python_version()}")
    for requirement in _required():
        yield _version(requirement)


def _required() -> Iterator[Requirement]:
    """Yield what otelier requires without any extra, as its own metadata has it."""
    for line in requires("otelier") or ():
        requirement = Requirement(line)
        if requirement.name in _NOTED and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            yield requirement


def _version(requirement: Requirement) -> Finding:
    name, supported = requirement.name, _sorted(requirement)
    try:
        found = version(name)
        fits = requirement.specifier.contains(found, prereleases=True)
    except (PackageNotFoundError, InvalidVersion):
        return Finding(
            area=_AREA,
            severity="error",
            what=f"{name} is not installed",
            why=_WITHOUT.get(name, "otelier cannot work without it."),
            do=f'pip install "{name}{supported}"',
        )
    if not fits:
        return Finding(
            area=_AREA,
            severity="error",
            what=f"{name} {found} is not supported",
            why=f"otelier is tested with {supported}; others may lose spans, or fail.",
            do=f'pip install "{name}{supported}"',
        )
    return Finding(area=_AREA, severity="ok", what=f"{name} {found} (supported: {supported})")


def _sorted(requirement: Requirement) -> str:
    """Return the range with its lower end first; the set it comes from has no order."""
    return ",".join(sorted((str(one) for one in requirement.specifier), key=lambda one: (one[0] != ">", one)))
