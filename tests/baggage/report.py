"""`python -m tests.baggage.report`: what each hostile inbound header did, sent to a real server, untrusted and trusted.

Ends with 1 when anything of ours was taken from a header that is not trusted, or was passed on by the propagator.
"""

from __future__ import annotations

import http.client
import sys
from dataclasses import dataclass

from opentelemetry import baggage
from opentelemetry.context import get_current
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

import otelier
from otelier.testing import SpanRecorder, reset
from tests.baggage.hostile import HOSTILE, KEYS, keys, passed_on, with_our_own
from tests.serving import asgi_server

OURS = (*KEYS, "otelier.caller.agent.name", "otelier.caller.agent.id")


@dataclass
class Seen:
    """What a request's handler found."""

    fields: otelier.CallContext
    entries: set[str]
    """Keys in the baggage."""
    passed_on: set[str]
    """Keys that the propagator would write."""


def say(text: str) -> None:
    """Print *text*."""
    sys.stdout.write(text + "\n")


def short(value: object) -> str:
    """Return a value as it fits into a table."""
    text = ascii(value)
    return text if len(text) <= 24 else f"{text[:12]}…{len(str(value))} characters"


def cell(seen: Seen, attributes: dict[str, object]) -> str:
    """Return what was taken from a header: what stands on the request's span, and whether the application's stayed."""
    taken = [f"{key}={short(value)}" for key, value in attributes.items() if key in OURS]
    return (", ".join(taken) or "nothing") + ("; tenant kept" if "tenant" in seen.entries else "")


def main() -> int:
    """Send every header, untrusted and trusted; return the exit code."""
    bad = 0
    found: list[Seen] = []

    async def app(scope: object, receive: object, send: object) -> None:
        found.append(Seen(otelier.get_context(), set(baggage.get_all()), set(keys(passed_on(get_current())))))
        await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    say("| header | bytes | untrusted | trusted |\n| --- | --- | --- | --- |")
    for name, header in HOSTILE.items():
        cells: list[str] = []
        for trusted in (False, True):
            recorder = SpanRecorder()
            otelier.init(trust_inbound=trusted, tracer_provider=recorder.tracer_provider)
            with asgi_server(OpenTelemetryMiddleware(app, tracer_provider=recorder.tracer_provider)) as port:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
                connection.request("GET", "/", headers={"baggage": with_our_own(header)})
                status = connection.getresponse().status
                connection.close()
            reset()
            (request,) = [span for span in recorder.records if span.kind == "SERVER"]
            attributes = dict(request.attributes)
            seen = found.pop()
            nobody = seen.fields == otelier.CallContext() and seen.entries.isdisjoint(KEYS)
            leaked = not seen.passed_on.isdisjoint(KEYS)
            bad += status != 200 or leaked or (not trusted and not (nobody and attributes.keys().isdisjoint(OURS)))
            cells.append(cell(seen, attributes))
        say(f"| {name} | {len(header)} | " + " | ".join(cells) + " |")
    say(f"\n{len(HOSTILE)} headers, untrusted and trusted; taken without trust, passed on or failed: {bad}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
