"""One thing that was found out, and how bad it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

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


def without_secrets(url: str) -> str:
    """Return the part of *url* that may be printed: user, password, query and unusual paths can hold a key.

    Example:
        >>> without_secrets("https://me:secret@otlp.example.com:4318/v1/traces?key=secret")
        'https://otlp.example.com:4318/v1/traces'
        >>> without_secrets("https://otlp.example.com/ingest/secret")
        'https://otlp.example.com/…'
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that cannot be read"
    if not host:
        return "an address without a host"
    path = parts.path.rstrip("/")
    if path not in ("", "/v1/traces", "/v1/metrics", "/v1/logs", "/otlp"):
        path = "/…"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{path}"
