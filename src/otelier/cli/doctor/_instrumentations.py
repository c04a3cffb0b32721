"""Instrumentations that carry the fields on, missing ones, and frameworks with their own telemetry."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Any, Final

from packaging.version import Version

from otelier.cli.doctor._findings import Finding
from otelier.settings import DISABLED_INSTRUMENTATIONS

_AREA = "instrumentations"
_GROUP = "opentelemetry_instrumentor"
_CLIENTS: Final = {"aiohttp": "aiohttp-client", "httpx": "httpx", "requests": "requests", "urllib3": "urllib3"}
"""HTTP clients whose requests carry the fields, and how their instrumentations are called."""
_FASTAPI_TELEMETRY: Final = Version("0.142")
"""The first release that makes spans of its own."""


def instrumentations(*, expected: bool) -> Iterator[Finding]:
    """Yield which instrumentations are missing, and what that means for the fields.

    Args:
        expected: Whether this process switched otelier on, and so may have switched others on.
    """
    yield from _unknown_names()
    yield from (_client(package, name, expected=expected) for package, name in _CLIENTS.items() if _release(package))
    yield from _fastapi()
    yield from _agents_sdk()


def _unknown_names() -> Iterator[Finding]:
    known = {one.name for one in entry_points(group=_GROUP)}
    for name in sorted(DISABLED_INSTRUMENTATIONS.value() - known - {"*"}):
        near = get_close_matches(name, known, n=1)
        yield Finding(
            area=_AREA,
            severity="warning",
            what=f"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names {name}, but no instrumentation has this name",
            why="It switches nothing off.",
            do=f"Did you mean {near[0]}?" if near else "Remove it, or install what it is meant to switch off.",
        )


def _client(package: str, name: str, *, expected: bool) -> Finding:
    if _is_on(name, expected=expected):
        return Finding(area=_AREA, severity="ok", what=f"requests made with {package} carry the trace and the fields")
    if not _is_installed(name):
        do = f"If your program uses it: pip install opentelemetry-instrumentation-{name}"
    elif _is_disabled(name):
        do = f"If your program uses it: {_enable(name)}"
    else:
        do = "If your program uses it: run under opentelemetry-instrument, or call the instrumentor's instrument()."
    off = (
        f"disabled by {DISABLED_INSTRUMENTATIONS.variable}" if _is_disabled(name) and _is_installed(name) else "not on"
    )
    return Finding(
        area=_AREA,
        severity="note",
        what=f"{package} is installed, but its instrumentation is {off}",
        why="Services that you call with it receive no user, session and agent, and start their own traces.",
        do=do,
    )


def _is_installed(name: str) -> bool:
    return bool(entry_points(group=_GROUP, name=name))


def _is_disabled(name: str) -> bool:
    return not DISABLED_INSTRUMENTATIONS.value().isdisjoint((name, "*"))


def _enable(name: str) -> str:
    value = "*" if "*" in DISABLED_INSTRUMENTATIONS.value() else name
    return f"Remove {value} from {DISABLED_INSTRUMENTATIONS.variable}."


def _is_on(name: str, *, expected: bool) -> bool:
    """Return whether the instrumentation of that name is installed, and on if this process can know."""
    found = list(entry_points(group=_GROUP, name=name))
    if not found or _is_disabled(name):
        return False
    if not expected:
        return True
    try:
        instrumentor: Any = found[0].load()
        return bool(instrumentor().is_instrumented_by_opentelemetry)
    except Exception:  # somebody else's module may fail in any way
        return False


def _fastapi() -> Iterator[Finding]:
    release = _release("fastapi")
    if release is None or Version(release) < _FASTAPI_TELEMETRY or _is_on("fastapi", expected=False):
        return
    yield Finding(
        area=_AREA,
        severity="note",
        what=f"fastapi {release} creates its own spans",
        why="They carry the fields like those of opentelemetry-instrumentation-fastapi; each request has more of them.",
    )


def _agents_sdk() -> Iterator[Finding]:
    release = _release("openai-agents")
    if release is None:
        return
    named = [one for one in entry_points(group=_GROUP) if "openai_agents" in one.name.replace("-", "_")]
    if not all(_is_disabled(one.name) for one in named):
        yield Finding(area=_AREA, severity="ok", what="the OpenAI Agents SDK has an instrumentation")
        return
    yield Finding(
        area=_AREA,
        severity="warning",
        what=f"openai-agents {release} is installed, but its instrumentation is disabled by "
        f"{DISABLED_INSTRUMENTATIONS.variable}"
        if named
        else f"openai-agents {release} is installed without an instrumentation",
        why="Its agents and tools create no spans, so calls are attributed by their prompts, not by agent names.",
        do=_enable(named[0].name) if named else "pip install openinference-instrumentation-openai-agents",
    )


def _release(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
