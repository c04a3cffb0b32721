"""Exporters as the environment configures them: where to, how, and whether that can work."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from importlib.metadata import entry_points
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from otelier.cli.doctor._findings import Finding, variable, without_secrets

_AREA = "exporters"
_SIGNALS = ("traces", "metrics", "logs")
_BY_PROTOCOL = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_USUAL_PORTS = {"grpc": 4317, "http/protobuf": 4318}
_PACKAGES = {
    "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc",
    "otlp_proto_http": "opentelemetry-exporter-otlp-proto-http",
}
_TIMEOUT_S = 1.0


def exporters() -> Iterator[Finding]:
    """Yield what each signal's exporter is and whether something listens where it sends to."""
    if variable("OTEL_CONFIG_FILE"):
        yield Finding(area=_AREA, severity="note", what="OTEL_CONFIG_FILE configures the SDK; the variables do not")
        return
    asked: dict[str, list[str]] = {}
    for signal in _SIGNALS:
        for name in _names(signal):
            if name.startswith("otlp"):
                yield from _otlp(signal, name, asked)
            else:
                yield _loadable(signal, name, f"{signal}: {name}")
    for endpoint, signals in asked.items():
        yield _listening(endpoint, signals)
    yield from _headers()


def _names(signal: str) -> list[str]:
    """Return the exporters of *signal*; `opentelemetry-distro` makes it `otlp` where nothing is said."""
    said = variable(f"OTEL_{signal.upper()}_EXPORTER") or "otlp"
    return [] if said.lower() == "none" else [name.strip() for name in said.split(",")]


def _otlp(signal: str, name: str, asked: dict[str, list[str]]) -> Iterator[Finding]:
    said = (
        variable(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL") or variable("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"
    )
    protocol = {exporter: protocol for protocol, exporter in _BY_PROTOCOL.items()}.get(name, said)
    if protocol not in _BY_PROTOCOL:
        yield Finding(
            area=_AREA,
            severity="error",
            what=f"{signal}: the OTLP protocol {protocol!r} is not known",
            why="opentelemetry-instrument then sets up nothing at all.",
            do="Set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf or grpc.",
        )
        return
    own = variable(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    endpoint = own or variable("OTEL_EXPORTER_OTLP_ENDPOINT") or f"http://localhost:{_USUAL_PORTS[protocol]}"
    found = _loadable(signal, _BY_PROTOCOL[protocol], f"{signal}: OTLP {protocol} to {without_secrets(endpoint)}")
    yield found
    if found.severity != "ok":
        return
    asked.setdefault(endpoint, []).append(signal)
    other = "grpc" if protocol == "http/protobuf" else "http/protobuf"
    if _address(endpoint)[1] == _USUAL_PORTS[other]:
        yield Finding(
            area=_AREA,
            severity="warning",
            what=f"{signal}: {protocol} is sent to port {_USUAL_PORTS[other]}",
            why=f"That is the usual port of {other}; a receiver there understands nothing.",
            do=f"Set OTEL_EXPORTER_OTLP_PROTOCOL={other}, or take port {_USUAL_PORTS[protocol]}.",
        )


def _loadable(signal: str, name: str, what: str) -> Finding:
    """Return whether the exporter called *name* can be imported."""
    found = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=name))
    why = "It is not installed"
    if found:
        try:
            found[0].load()
        except Exception as exc:  # somebody else's module may fail in any way
            why = f"It cannot be imported ({type(exc).__name__})"
        else:
            return Finding(area=_AREA, severity="ok", what=what)
    return Finding(
        area=_AREA,
        severity="error",
        what=what,
        why=f"{why}: opentelemetry-instrument then sets up nothing at all.",
        do=f"pip install {_PACKAGES[name]}" if name in _PACKAGES else f"Correct OTEL_{signal.upper()}_EXPORTER.",
    )


def _address(endpoint: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
        return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None, None


def _listening(endpoint: str, signals: list[str]) -> Finding:
    """Return whether something takes connections at *endpoint*; nothing is sent."""
    host, port = _address(endpoint)
    shown = without_secrets(endpoint if "://" in endpoint else f"grpc://{endpoint}")
    if not host or not port:
        return Finding(
            area=_AREA,
            severity="error",
            what=f"{shown} is no address",
            why=f"There is nowhere to send {_and(signals)} to.",
            do="Set OTEL_EXPORTER_OTLP_ENDPOINT to something like http://localhost:4318.",
        )
    try:
        socket.create_connection((host, port), _TIMEOUT_S).close()
    except OSError as exc:
        return Finding(
            area=_AREA,
            severity="warning",
            what=f"nothing answers at {shown} ({type(exc).__name__})",
            why=f"{_and(signals).capitalize()} are dropped there. Behind a proxy this may be a false alarm.",
            do="Start a collector there, or set OTEL_EXPORTER_OTLP_ENDPOINT.",
        )
    return Finding(area=_AREA, severity="ok", what=f"something listens at {shown}")


def _headers() -> Iterator[Finding]:
    for name in (
        "OTEL_EXPORTER_OTLP_HEADERS",
        *(f"OTEL_EXPORTER_OTLP_{signal.upper()}_HEADERS" for signal in _SIGNALS),
    ):
        text = variable(name)
        if not text:
            continue
        headers = parse_env_headers(text, liberal=True)
        if len(headers) < len([part for part in text.split(",") if part.strip()]):
            yield Finding(
                area=_AREA,
                severity="warning",
                what=f"{name} holds something that cannot be read",
                why="That part is left out of every export.",
                do=f"Write {name} as key=value,key=value with percent-encoded values.",
            )
        if headers:
            yield Finding(area=_AREA, severity="ok", what=f"{name} sets {_and(sorted(headers))} (values not shown)")


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
