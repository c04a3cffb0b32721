"""Where the demonstration's telemetry goes besides the terminal, as the user's environment says it."""

from __future__ import annotations

import os
from collections.abc import Mapping

from otelier.cli._endpoints import headers_of, parts_of
from otelier.errors import SettingError
from otelier.settings import quoted

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


def endpoint() -> str | None:
    """Return the OTLP endpoint that the user named; `None` for none.

    Raises:
        SettingError: if it cannot be sent to.
    """
    named = os.environ.get(_ENDPOINT, "").strip()
    protocol = os.environ.get(_PROTOCOL, "").strip().lower()
    if not named:
        return None
    parts = parts_of(named)
    if parts is None or parts.scheme not in ("http", "https"):
        raise SettingError(
            f"Cannot send to {_ENDPOINT}: it is no HTTP address. Name one such as `http://localhost:4318`.",
            setting=_ENDPOINT,
        )
    if protocol not in ("", "http/protobuf"):
        raise SettingError(
            f"Cannot send to {_ENDPOINT} with {_PROTOCOL}={quoted(protocol)}: the demo speaks http/protobuf only. "
            f"Set {_PROTOCOL}=http/protobuf and name the endpoint's HTTP port, usually 4318.",
            setting=_PROTOCOL,
        )
    return named


def headers() -> Mapping[str, str]:
    """Return the headers that go with what is sent there.

    Raises:
        SettingError: if they cannot be read.
    """
    found, unreadable = headers_of(os.environ.get(_HEADERS, ""))
    if unreadable:
        raise SettingError(
            f"Cannot read {_HEADERS}. Write it as `key=value,key=value` with percent-encoded values.",
            setting=_HEADERS,
        )
    return found
