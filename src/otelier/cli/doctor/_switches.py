"""Switches: environment variables, and how this process was started."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast

from otelier.cli.doctor._findings import Finding
from otelier.errors import SettingError
from otelier.settings import (
    CAPTURE_CONTENT,
    DISABLED,
    DISABLED_INSTRUMENTATIONS,
    PROPAGATE_TO,
    SDK_DISABLED,
    SERVICE_NAME,
    Setting,
    all_settings,
)

T = TypeVar("T")

_AREA = "switches"
_SHOWN = (SERVICE_NAME, SDK_DISABLED, DISABLED_INSTRUMENTATIONS, CAPTURE_CONTENT)
"""Variables of OpenTelemetry whose values are no secrets; those of ours never are."""


def runs_instrumented() -> bool:
    """Tell whether this process was started by `opentelemetry-instrument`."""
    hook = getattr(sys.modules.get("sitecustomize"), "__file__", None) or ""
    return Path(hook).parent.parts[-3:] == ("opentelemetry", "instrumentation", "auto_instrumentation")


def switches() -> Iterator[Finding]:
    """Yield how the process was started and which variables are set."""
    yield _start()
    yield from _settings()
    yield from _off()


def _start() -> Finding:
    if runs_instrumented():
        return Finding(area=_AREA, severity="ok", what="this process runs under opentelemetry-instrument")
    return Finding(
        area=_AREA,
        severity="note",
        what="this process does not run under opentelemetry-instrument",
        why="Providers, processors and patches are shown as they are in a process without any setup.",
        do="To see what your service gets: opentelemetry-instrument otelier doctor",
    )


def _settings() -> Iterator[Finding]:
    known = {
        setting.variable: setting
        for setting in all_settings()
        if setting in _SHOWN or setting.variable.startswith("OTELIER_")
    }
    for name, setting in known.items():
        if not os.environ.get(name, "").strip():
            continue
        try:
            value = setting.value()
            _refused_by_init(setting)
        except SettingError as error:
            yield Finding(
                area=_AREA, severity="error", what=f"{name} cannot be read", why=str(error), do=f"Set or unset {name}."
            )
            continue
        shown = sorted(map(str, cast("frozenset[Any]", value))) if isinstance(value, frozenset) else [str(value)]
        yield Finding(area=_AREA, severity="ok", what=f"{name}={','.join(shown)}")
    for name in sorted(os.environ):
        if name.startswith("OTELIER_") and name not in known:
            near = get_close_matches(name, known, n=1)
            yield Finding(
                area=_AREA,
                severity="warning",
                what=f"{name} is set, but otelier has no such variable",
                why="It has no effect.",
                do=f"Did you mean {near[0]}?" if near else "Unset it.",
            )
    others = sorted(name for name in os.environ if name.startswith("OTEL_") and name not in known)
    if others:
        yield Finding(area=_AREA, severity="ok", what=f"also set (values not shown): {', '.join(others)}")


def _refused_by_init(setting: Setting[Any]) -> None:
    """Raise what `init` raises about a value that can be read.

    Raises:
        SettingError: if `init` would.
    """
    if setting is not PROPAGATE_TO:
        return
    # Imported here: like `opentelemetry.propagate` it raises where OTEL_PROPAGATORS names what is not installed.
    from otelier.baggage import named_hosts

    named_hosts()


def _off() -> Iterator[Finding]:
    """Yield what is switched off by variables that can be read."""
    if _says(DISABLED):
        yield Finding(
            area=_AREA,
            severity="warning",
            what="otelier is switched off",
            why="OTELIER_DISABLED is set: no fields on spans, no openai spans.",
            do="Unset OTELIER_DISABLED.",
        )
    if _says(SDK_DISABLED):
        yield Finding(
            area=_AREA,
            severity="warning",
            what="OpenTelemetry is switched off",
            why="OTEL_SDK_DISABLED is set: there are no spans, metrics and logs; the context still works.",
            do="Unset OTEL_SDK_DISABLED.",
        )
    off = _says(DISABLED_INSTRUMENTATIONS) & {"*", "otelier", "otelier-openai"}
    if off:
        yield Finding(
            area=_AREA,
            severity="warning",
            what=f"patches of otelier are switched off: {', '.join(sorted(off))}",
            why="OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names them: otelier records no openai calls.",
            do="Remove them from OTEL_PYTHON_DISABLED_INSTRUMENTATIONS.",
        )


def _says(setting: Setting[T]) -> T:
    try:
        return setting.value()
    except SettingError:  # `_settings` has said so
        return setting.default
