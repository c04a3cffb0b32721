"""Show what each host received of the fields, for every client, as a table; ends with 1 when the outside got any.

    python scripts/show_baggage.py                  prints it as Markdown
    OTEL_PROPAGATORS=tracecontext python scripts/show_baggage.py

Real requests to real servers: every name and address leads to this machine, which `tests/baggage/world.py` sees to.
"""

from __future__ import annotations

import sys
from collections import Counter
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for `tests`

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

import otelier
from otelier.testing import reset
from tests.baggage.fields import GIVEN, activate
from tests.baggage.world import CLIENTS, HOSTS, INSIDE, World, instrumented, world

WAY = ("billing", "evil.example", "billing")
PROXIED, SOCKS = "through a proxy", "through a SOCKS proxy"


def cell(here: World, name: str, hosts: tuple[str, ...], proxy: str | None) -> str:
    """Send by client *name* through *hosts* in all four settings; return what each host got, "6" for all fields."""
    client = CLIENTS[name]
    seen: Counter[str] = Counter()
    for first, sampled in product((True, False), repeat=2):
        here.got.clear()
        with instrumented(client, activate, first=first, sampled=sampled), otelier.context(**GIVEN):
            url = here.url(*hosts, port=here.h2_port if client.h2 else None)
            client.send(url, proxy=proxy)
        reset()
        if any(got.traceparent is None for got in here.got):
            seen["no trace"] += 1
        seen[" → ".join(str(len(got.ours)) for got in here.got)] += 1
        outside = [got for got in here.got if got.ours and got.host not in INSIDE.values()]
        leaks.extend((name, got.host) for got in outside)
        totals["requests outside" if any(got.host not in INSIDE.values() for got in here.got) else "inside only"] += 1
    return ", ".join(seen)


def exports(here: World) -> list[str]:
    """Let an exporter send to a host inside, in a context with fields; return what it got of ours, by request."""
    here.got.clear()
    with instrumented(CLIENTS["requests"], activate, first=True, sampled=True), otelier.context(**GIVEN):
        provider = TracerProvider()
        endpoint = here.url("collector") + "v1/traces"
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
        provider.get_tracer("show").start_span("work").end()
        provider.shutdown()
    reset()
    leaks.extend(("exporter", got.host) for got in here.got if got.ours)
    return [str(len(got.ours)) for got in here.got]


leaks: list[tuple[str, str]] = []
totals: Counter[str] = Counter()


def main() -> int:
    """Print the table; return the exit code."""
    print("Fields of ours (of 6) that each host received, the same for sampled and unsampled, our activation before")
    print("and after the client's instrumentation, unless a cell shows several.\n")
    chains = {**{kind: (host,) for kind, host in HOSTS.items()}, "redirect " + " → ".join(WAY): WAY}
    print("| host | " + " | ".join(CLIENTS) + " |")
    print("| --- |" + " --- |" * len(CLIENTS))
    with world() as here:
        for through, proxy in (("", None), (f" {PROXIED}", here.proxy), (f" {SOCKS}", here.socks_proxy)):
            for kind, hosts in chains.items():
                cells = [
                    "-"
                    if proxy and (client.h2 or (proxy == here.socks_proxy and name == "aiohttp"))
                    else cell(here, name, hosts, proxy)
                    for name, client in CLIENTS.items()
                ]
                print(f"| {kind}{through} | " + " | ".join(cells) + " |", flush=True)
        print("\nAn exporter's own requests to a host inside: " + ", ".join(exports(here)))
    runs, outward = sum(totals.values()), totals["requests outside"]
    print(f"\n{runs} runs, {outward} of them to the outside; requests outside with fields of ours: {len(leaks)}")
    for name, host in leaks:
        print(f"LEAK: {name} to {host}")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
