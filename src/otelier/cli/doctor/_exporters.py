"""Exporters as the environment configures them: endpoint, protocol, and whether they can work."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Final, Literal

from otelier.cli._endpoints import headers_of, parts_of, without_secrets
from otelier.cli.doctor._findings import Finding, Severity, variable
from otelier.settings import quoted

Spoken = Literal["http", "grpc", "unknown"]

_HTTP_1: Final = b"HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
# The preface of HTTP/2 and an empty frame of settings, as a client of gRPC begins: RFC 9113, 3.4.
_HTTP_2: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
_FRAME_BYTES: Final = 9
_SETTINGS, _GOAWAY = 4, 7


def spoken_at(host: str, port: int, *, asks_for: str, timeout_s: float) -> Spoken:
    """Return the protocol of the receiver at *host*, without encryption, for a client that *asks_for* one.

    Args:
        host: Its name or address.
        port: Its port.
        asks_for: OTLP protocol of the exporter: `grpc`, or HTTP.
        timeout_s: Longest wait for a connection, and again for an answer.

    Raises:
        OSError: if nothing takes the connection.
    """
    with socket.create_connection((host, port), timeout_s) as connection:
        answer = b""
        with suppress(OSError):  # whoever hears another protocol than its own may just hang up
            connection.sendall(_HTTP_2 if asks_for == "grpc" else _HTTP_1)
            while len(answer) < _FRAME_BYTES and (more := connection.recv(64)):
                answer += more
    if len(answer) >= _FRAME_BYTES and answer[3] in (_SETTINGS, _GOAWAY) and not answer.startswith(b"HTTP"):
        return "grpc"
    return "http" if answer.startswith((b"HTTP/", b"<")) else "unknown"


_AREA = "exporters"
_SIGNALS = ("traces", "metrics", "logs")
_BY_PROTOCOL = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_USUAL_PORTS = {"grpc": 4317, "http/protobuf": 4318}
_PACKAGES = {
    "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc",
    "otlp_proto_http": "opentelemetry-exporter-otlp-proto-http",
}
_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exporter:
    """The exporter of one or several signals."""

    name: str
    """Name of its entry point, or `otlp` where the protocol is not known."""
    protocol: str | None = None
    """OTLP protocol; `None` for other exporters."""
    endpoint: str = ""
    """Endpoint from the environment; empty for the protocol's default."""

    @property
    def target(self) -> str:
        """The endpoint."""
        return self.endpoint or f"http://localhost:{_USUAL_PORTS.get(self.protocol or '', 4317)}"

    @property
    def shown(self) -> str:
        """The exporter, without secrets."""
        if self.protocol is None:
            return _word(self.name)
        return f"OTLP {_word(self.protocol)} to {_shown(self.target)}{'' if self.endpoint else ', the default'}"


def exporters() -> Iterator[Finding]:
    """Yield what each signal's exporter is, and whether something listens where it sends to."""
    if variable("OTEL_CONFIG_FILE"):
        yield Finding(area=_AREA, severity="note", what="OTEL_CONFIG_FILE configures the SDK; the variables do not")
        return
    configured: dict[_Exporter, list[str]] = defaultdict(list)
    for signal in _SIGNALS:
        for name in _names(signal):
            configured[_exporter(signal, name)].append(signal)
    works: dict[tuple[str, str], list[str]] = defaultdict(list)
    for exporter, signals in configured.items():
        fault = _fault(exporter, signals)
        yield fault or _finding("ok", f"{_and(signals)}: {exporter.shown}")
        if fault is None and exporter.protocol is not None:
            works[exporter.target, exporter.protocol] += signals
    for (target, protocol), signals in works.items():
        yield from _listening(target, protocol, signals)
    yield from _headers()


def _names(signal: str) -> list[str]:
    """Return the exporters of *signal*; `opentelemetry-distro` defaults to `otlp`."""
    said = variable(f"OTEL_{signal.upper()}_EXPORTER") or "otlp"
    return [] if said.lower() == "none" else [name.strip() for name in said.split(",")]


def _exporter(signal: str, name: str) -> _Exporter:
    if name != "otlp" and name not in _PACKAGES:
        return _Exporter(name=name)
    own = f"OTEL_EXPORTER_OTLP_{signal.upper()}"
    named = {exporter: protocol for protocol, exporter in _BY_PROTOCOL.items()}.get(name)
    protocol = named or variable(f"{own}_PROTOCOL") or variable("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"
    endpoint = variable(f"{own}_ENDPOINT") or variable("OTEL_EXPORTER_OTLP_ENDPOINT")
    return _Exporter(name=_BY_PROTOCOL.get(protocol, name), protocol=protocol, endpoint=endpoint)


def _fault(exporter: _Exporter, signals: Sequence[str]) -> Finding | None:
    """Return the reason why *exporter* cannot work; `None` if it can."""
    what = f"{_and(signals)}: {exporter.shown}"
    nothing = "opentelemetry-instrument then sets up nothing at all."
    if exporter.protocol is not None and exporter.protocol not in _BY_PROTOCOL:
        do = "Set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf or grpc."
        return _finding(
            "error", f"{_and(signals)}: the OTLP protocol {quoted(exporter.protocol)} is not known", nothing, do
        )
    for signal in signals:
        why = _import_fault(signal, exporter.name)
        if why is not None:
            package = _PACKAGES.get(exporter.name)
            do = f"pip install {package}" if package else f"Correct OTEL_{signal.upper()}_EXPORTER."
            return _finding("error", what, f"{why}: {nothing}", do)
    if exporter.protocol is None:
        return None
    parts = parts_of(_with_scheme(exporter.target))
    is_http = parts is not None and parts.scheme in ("http", "https")
    if parts is None or (exporter.protocol == "http/protobuf" and not is_http):
        do = f"Set OTEL_EXPORTER_OTLP_ENDPOINT to something like http://localhost:{_USUAL_PORTS[exporter.protocol]}."
        return _finding("error", what, "This is not an HTTP address, so every export fails.", do)
    return None


def _import_fault(signal: str, name: str) -> str | None:
    """Return why the exporter called *name* cannot be imported; `None` when it can."""
    found = list(entry_points(group=f"opentelemetry_{signal}_exporter", name=name))
    if not found:
        return "It is not installed"
    try:
        found[0].load()
    except Exception as exc:  # somebody else's module may fail in any way
        return f"It cannot be imported ({type(exc).__name__})"
    return None


def _listening(target: str, protocol: str, signals: Sequence[str]) -> Iterator[Finding]:
    """Yield whether something takes connections at *target*, and whether it speaks *protocol*."""
    parts = parts_of(_with_scheme(target))
    assert parts is not None, "only addresses that can be read are asked"
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 4317)
    other = "grpc" if protocol == "http/protobuf" else "http/protobuf"
    try:
        spoken = _asked(parts.hostname or "", port, protocol, plain=parts.scheme != "https")
    except OSError as exc:
        yield _finding(
            "warning",
            f"nothing answers at {_shown(target)} ({type(exc).__name__})",
            f"Everything sent there is lost: {_and(signals)}. Behind a proxy this may be a false alarm.",
            "Start a collector there, or set OTEL_EXPORTER_OTLP_ENDPOINT.",
        )
        spoken = "unknown"
    else:
        yield _finding("ok", f"something listens at {_shown(target)}")
    if spoken == other.partition("/")[0]:
        yield _finding(
            "error",
            f"{protocol} is sent to a receiver of {other}",
            f"The receiver was asked, and cannot read what it is sent: {_and(signals)}.",
            f"Set OTEL_EXPORTER_OTLP_PROTOCOL={other}, or use the port for {protocol}.",
        )
    elif spoken == "unknown" and port == _USUAL_PORTS[other]:
        yield _finding(
            "warning",
            f"{protocol} is sent to port {_USUAL_PORTS[other]}",
            f"This is the usual port of {other}, whose receivers cannot read {protocol}.",
            f"Set OTEL_EXPORTER_OTLP_PROTOCOL={other}, or use port {_USUAL_PORTS[protocol]}.",
        )


def _asked(host: str, port: int, protocol: str, *, plain: bool) -> str:
    """Return the protocol that is spoken there, as far as it is known without encryption.

    Raises:
        OSError: if nothing takes connections.
    """
    if plain:
        return spoken_at(host, port, asks_for=protocol, timeout_s=_TIMEOUT_S)
    socket.create_connection((host, port), _TIMEOUT_S).close()
    return "unknown"


def _headers() -> Iterator[Finding]:
    own = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_HEADERS" for signal in _SIGNALS)
    for name in ("OTEL_EXPORTER_OTLP_HEADERS", *own):
        headers, unreadable = headers_of(variable(name))
        if unreadable:
            yield _finding(
                "warning",
                f"part of {name} cannot be read",
                "That part is missing from every export.",
                f"Write {name} as key=value,key=value with percent-encoded values.",
            )
        if headers:
            yield _finding("ok", f"{name} sets {len(headers)} header{'s' if len(headers) > 1 else ''} (not shown)")


def _word(text: str) -> str:
    """Return a name from a variable in a form that may be shown."""
    return text if text in _BY_PROTOCOL else quoted(text).strip("'")


def _with_scheme(target: str) -> str:
    """Return *target* in a form that can be taken apart: gRPC takes it without a scheme, too."""
    return target if "://" in target else f"//{target}"


def _shown(target: str) -> str:
    return without_secrets(_with_scheme(target)).removeprefix("://")


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _finding(severity: Severity, what: str, why: str | None = None, do: str | None = None) -> Finding:
    return Finding(area=_AREA, severity=severity, what=what, why=why, do=do)
