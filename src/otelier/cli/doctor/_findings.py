"""One thing that was found out, and how bad it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found out."""

    area: str
    """What it is about, such as `exporters`."""
    severity: Severity
    """`ok`, `note` (nothing to do), `warning` (something may be lost) or `error` (something does not work)."""
    what: str
    """What is the case."""
    why: str | None = None
    """Why that matters; `None` where nothing is wrong."""
    do: str | None = None
    """What to do; `None` where nothing is to be done."""


def variable(name: str) -> str:
    """Return an environment variable as OpenTelemetry reads it: without spaces around, empty when unset."""
    return os.environ.get(name, "").strip()
