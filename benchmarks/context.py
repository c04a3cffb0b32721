"""Cost of the fields: a span with seven fields stamped on it, a block entered and left, and `import otelier`.

Run: uv run python benchmarks/context.py

Rounds are interleaved and ratios taken within each round, so that a busy machine changes figures but not the verdict.

| ratio | to | limit | aim |
|---|---|---|---|
| the processor on a span | one `set_attributes` of the attributes that result, in a processor | 1.2 | 1.1 |
| `context()` entered and left, values seen before | one ContextVar set and reset in a `with` | 8 | 6 |
| `import otelier` and its context functions | `import opentelemetry.trace, opentelemetry.baggage` | 1.5 | |
"""

from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from statistics import median
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, Tracer

import otelier
from otelier.fields._inheritance import state_of

ROUNDS, SPANS, BLOCKS, IMPORTS = 60, 400, 2_000, 15
FIELDS = {
    "user_id": "user-8f2c11",
    "user_role": "customer",
    "agent": "invoice-triage",
    "agent_id": "agent-42",
    "session_id": "sess-20261121-0001",
    "workflow_id": "workflow-7",
    "tenant_id": "tenant-12",
}
STARTED = {
    "http.request.method": "POST",
    "server.address": "api.example.com",
    "url.full": "https://api.example.com/v1",
    "network.protocol.version": "1.1",
}
KEY = otel_context.create_key("benchmark")

with otelier.context(**FIELDS):
    RESULTING = dict(state_of().attributes)


class Floor(SpanProcessor):
    """The least a processor can do: one write of ready attributes that it finds in the context."""

    def on_start(self, span: Span, parent_context: otel_context.Context | None = None) -> None:
        attributes: Any = (parent_context or otel_context.get_current()).get(KEY)
        if attributes:
            span.set_attributes(attributes)

    def on_end(self, span: ReadableSpan) -> None:
        pass


class FloorBlock:
    """A context that holds the ready attributes for `Floor`."""

    def __enter__(self) -> None:
        self._token = otel_context.attach(otel_context.set_value(KEY, RESULTING))

    def __exit__(self, *_: object) -> None:
        otel_context.detach(self._token)


class SetAndReset:
    """The least a block can do."""

    __slots__ = ("_token",)
    _variable: contextvars.ContextVar[object] = contextvars.ContextVar("benchmark")

    def __enter__(self) -> None:
        self._token = self._variable.set(FIELDS)

    def __exit__(self, *_: object) -> None:
        self._variable.reset(self._token)


def tracer(*processors: SpanProcessor) -> Tracer:
    provider = TracerProvider(shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider.get_tracer("benchmark")


def per_span(using: Tracer, block: AbstractContextManager[Any], attributes: Mapping[str, str] | None) -> float:
    with block:
        began = time.perf_counter()
        for _ in range(SPANS):
            using.start_span("chat gpt-4.1", kind=SpanKind.CLIENT, attributes=attributes).end()
        return (time.perf_counter() - began) / SPANS * 1e6


def per_block() -> tuple[float, float]:
    """Microseconds of one block of ours and of the least one."""
    began = time.perf_counter()
    for _ in range(BLOCKS):
        with otelier.context(**FIELDS):
            pass
    middle = time.perf_counter()
    for _ in range(BLOCKS):
        with SetAndReset():
            pass
    return (middle - began) / BLOCKS * 1e6, (time.perf_counter() - middle) / BLOCKS * 1e6


def import_ms(statement: str, bytecode: str) -> float:
    code = f"import time; began = time.process_time(); {statement}; print((time.process_time() - began) * 1e3)"
    # As an installed package has it, bytecode is kept: where it may not be, compiling our sources would be measured.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = bytecode
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


def spans() -> None:
    ours, floor, bare = tracer(otelier.AgentSpanProcessor()), tracer(Floor()), tracer()
    for what, attributes in (("without start attributes", None), ("with four start attributes", STARTED)):
        ratios: list[float] = []
        ours_us = 0.0
        for round_ in range(ROUNDS):
            alone = per_span(bare, FloorBlock(), attributes)
            if round_ % 2:
                ours_us = per_span(ours, otelier.context(**FIELDS), attributes)
            floor_us = per_span(floor, FloorBlock(), attributes)
            if not round_ % 2:
                ours_us = per_span(ours, otelier.context(**FIELDS), attributes)
            ratios.append((ours_us - alone) / (floor_us - alone))
        print(f"processor / set_attributes of the {len(RESULTING)}, {what}: {median(ratios):.3f}")


def blocks() -> None:
    pairs = [per_block() for _ in range(ROUNDS)]
    ratio = median(ours / floor for ours, floor in pairs)
    print(f"context() / ContextVar set and reset: {ratio:.2f} ({median(ours for ours, _ in pairs):.2f} us)")


def imports() -> None:
    api = "import opentelemetry.trace, opentelemetry.baggage"
    with tempfile.TemporaryDirectory() as bytecode:
        for what in ("import otelier", "import otelier; otelier.set_context, otelier.context, otelier.get_agent"):
            # The first round writes the bytecode.
            pairs = [(import_ms(what, bytecode), import_ms(api, bytecode)) for _ in range(1 + IMPORTS)][1:]
            ratio, least = median(ours / floor for ours, floor in pairs), [min(times) for times in zip(*pairs)]
            print(f"`{what}` / `{api}`: {ratio:.2f} (of the least times: {least[0] / least[1]:.2f})")


if __name__ == "__main__":
    spans()
    blocks()
    imports()
