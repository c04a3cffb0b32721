"""Addresses and headers of OTLP endpoints, read without raising or logging, and shown without secrets."""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit

_USUAL_PATHS = frozenset({"", "/v1/traces", "/v1/metrics", "/v1/logs", "/otlp"})


def parts_of(url: str) -> SplitResult | None:
    """Return the parts of *url*; `None` where it has no host or cannot be read."""
    try:
        parts = urlsplit(url)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def without_secrets(url: str) -> str:
    """Return what of *url* may be printed: user, password, query and unusual paths can hold a key.

    Example:
        >>> without_secrets("https://me:secret@otlp.example.com:4318/v1/traces?key=secret")
        'https://otlp.example.com:4318/v1/traces'
        >>> without_secrets("https://otlp.example.com/ingest/secret")
        'https://otlp.example.com/…'
    """
    parts = parts_of(url)
    if parts is None:
        return "an address that cannot be read"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{host}{port}{path if path in _USUAL_PATHS else '/…'}"


def headers_of(text: str) -> tuple[dict[str, str], int]:
    """Return the headers that a variable sets, and how many parts of it cannot be read.

    OpenTelemetry's own reader logs what it cannot read, which may be half of a key.

    Example:
        >>> headers_of("Authorization=Bearer%20one, broken")
        ({'authorization': 'Bearer one'}, 1)
    """
    headers: dict[str, str] = {}
    unreadable = 0
    for part in filter(None, map(str.strip, text.split(","))):
        name, equals, value = part.partition("=")
        if equals and name.strip():
            headers[unquote(name).strip().lower()] = unquote(value).strip()
        else:
            unreadable += 1
    return headers, unreadable
