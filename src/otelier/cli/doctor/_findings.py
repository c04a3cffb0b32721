"""A finding of the doctor, and its severity."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

Severity = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A finding of the doctor."""

    area: str
    """Area, such as `exporters`."""
    severity: Severity
    """`ok`, `note` (nothing to do), `warning` (something may be lost) or `error` (something does not work)."""
    what: str
    """The fact."""
    why: str | None = None
    """Why it matters; `None` if nothing is wrong."""
    do: str | None = None
    """Remedy; `None` if there is nothing to do."""


def variable(name: str) -> str:
    """Return an environment variable as OpenTelemetry reads it: without spaces around, empty when unset."""
    return os.environ.get(name, "").strip()
