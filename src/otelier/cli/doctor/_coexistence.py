"""Coexistence: other packages that instrument model calls or set OpenTelemetry up, and supported versions."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, requires, version
from platform import python_version

from packaging.requirements import Requirement
from packaging.version import InvalidVersion

from otelier.cli.doctor._findings import Finding, variable
from otelier.settings import DISABLED_INSTRUMENTATIONS

_AREA = "coexistence"
_OURS = "otelier-openai"
_BY_CALL = ("agentops", "ddtrace", "egisai", "langfuse", "langsmith", "logfire", "mlflow", "openlit", "traceloop-sdk")
"""Packages that trace calls to openai once the program calls them; no entry point shows it."""


def coexistence() -> Iterator[Finding]:
    """Yield instrumentations of openai beside ours, and what else sets OpenTelemetry up."""
    yield from _instrumentors()
    yield from _by_call()
    yield from _set_up_by("opentelemetry_distro", "OTEL_PYTHON_DISTRO")
    yield from _set_up_by("opentelemetry_configurator", "OTEL_PYTHON_CONFIGURATOR")


def _instrumentors() -> Iterator[Finding]:
    off = DISABLED_INSTRUMENTATIONS.value()
    found = [one for one in entry_points(group="opentelemetry_instrumentor") if _is_for_openai(one)]
    on = [one for one in found if one.name not in off and "*" not in off]
    for one in found:
        if one not in on and one.name != _OURS:
            yield Finding(area=_AREA, severity="ok", what=f"{_package(one)} is installed and switched off")
    foreign = [one for one in on if one.name != _OURS]
    if not foreign:
        yield Finding(area=_AREA, severity="ok", what="no other instrumentation of openai is switched on")
        return
    others = sorted({_package(one) for one in foreign})
    ours = any(one.name == _OURS for one in on)
    if ours and len(others) == 1 and all(map(_is_left_to, foreign)):
        yield Finding(
            area=_AREA,
            severity="ok",
            what=f"{others[0]} reports calls to openai; otelier gives its spans user, session and agent",
        )
        return
    together = [*others, "otelier"] if ours and not all(map(_is_left_to, foreign)) else others
    if len(together) < 2:
        yield Finding(area=_AREA, severity="ok", what=f"{others[0]} instruments openai, and otelier does not")
        return
    names = sorted({one.name for one in foreign})
    yield Finding(
        area=_AREA,
        severity="warning",
        what=f"{len(together)} packages instrument openai: {', '.join(together)}",
        why="Each may create its own span and metrics for a call, so calls and tokens are counted twice.",
        do=f"Keep one: OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={','.join(names)} leaves otelier's, "
        f"and OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={_OURS} the other."
        if "otelier" in together
        else "Uninstall all but one of them.",
    )


def _is_left_to(one: EntryPoint) -> bool:
    # Imported here: it loads the instrumentor.
    from otelier.openai import defers_to

    return defers_to(one.module)


def _is_for_openai(one: EntryPoint) -> bool:
    words = f"{one.name} {one.value}".lower().replace("-", "_")
    return "openai" in words and "openai_agents" not in words


def _by_call() -> Iterator[Finding]:
    for package in _BY_CALL:
        try:
            found = version(package)
        except PackageNotFoundError:
            continue
        yield Finding(
            area=_AREA,
            severity="note",
            what=f"{package} {found} is installed",
            why="If your program switches it on, it may create spans for the same openai calls.",
        )


def _set_up_by(group: str, chooser: str) -> Iterator[Finding]:
    """Yield who sets OpenTelemetry up under `opentelemetry-instrument`; of several, the first one found does."""
    found = {one.name: _package(one) for one in entry_points(group=group)}
    others = sorted(package for package in found.values() if package != "opentelemetry-distro")
    if not others:
        return
    kind = group.removeprefix("opentelemetry_")
    chosen = found.get(variable(chooser))
    if chosen is not None or len(found) == 1:
        yield Finding(area=_AREA, severity="note", what=f"{chosen or others[0]} is the {kind}")
        return
    yield Finding(
        area=_AREA,
        severity="warning",
        what=f"{len(found)} packages offer a {kind}: {', '.join(sorted(found.values()))}",
        why="Which of them sets OpenTelemetry up depends on the order in which they are found.",
        do=f"Choose one: {chooser}={' or '.join(sorted(found))}",
    )


def _package(one: EntryPoint) -> str:
    return one.dist.name if one.dist is not None else one.value.partition(":")[0]


_VERSIONS = "versions"
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
    """Yield the versions of the packages that otelier needs."""
    yield Finding(area=_VERSIONS, severity="ok", what=f"otelier {version('otelier')} on Python {python_version()}")
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
            area=_VERSIONS,
            severity="error",
            what=f"{name} is not installed",
            why=_WITHOUT.get(name, "otelier cannot work without it."),
            do=f'pip install "{name}{supported}"',
        )
    if not fits:
        return Finding(
            area=_VERSIONS,
            severity="error",
            what=f"{name} {found} is not supported",
            why=f"otelier is tested with {supported}; with other versions spans may be lost, or calls fail.",
            do=f'pip install "{name}{supported}"',
        )
    return Finding(area=_VERSIONS, severity="ok", what=f"{name} {found} (supported: {supported})")


def _sorted(requirement: Requirement) -> str:
    """Return the range with its lower end first; the set it comes from has no order."""
    return ",".join(sorted((str(one) for one in requirement.specifier), key=lambda one: (one[0] != ">", one)))
