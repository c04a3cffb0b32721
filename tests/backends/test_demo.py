"""`otelier demo` with an endpoint: its figures are those of the backends."""

from __future__ import annotations

import json
import subprocess
from collections import Counter

from otelier import names
from tests.backends.clients import Collector, Jaeger, Prometheus, Span, model_calls
from tests.backends.programs import environment, eventually


def test_the_demo_counts_what_the_backends_have(
    collector: Collector, jaeger: Jaeger, prometheus: Prometheus
) -> None:  # fmt: skip
    """Spans and log records of both services, and calls per agent and user, are the same in tables and backends."""
    done = subprocess.run(
        ["otelier", "demo", "--json"],
        env=environment(OTEL_EXPORTER_OTLP_ENDPOINT=collector.otlp_http), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    counts = {signal["name"]: signal for signal in told["signals"]}

    def traces() -> list[list[Span]]:
        return jaeger.traces("helpdesk")  # which all go through it

    eventually(lambda: sum(map(len, traces())) == counts["spans"]["count"], "the arrival of every span")
    calls = Counter((span["tags"][names.AGENT_NAME], span["tags"][names.USER_ID]) for span in model_calls(traces()))
    assert calls == {(row["agent"], row["user"]): row["calls"] for row in told["usage"]}
    for service in ("helpdesk", "payments"):
        assert len(collector.records("Spans", service)) == counts["spans"]["by_service"][service]
        assert len(collector.records("Logs", service)) == counts["log records"]["by_service"][service]

    number = told["total"]["calls"]
    query = f'sum(gen_ai_client_operation_duration_seconds_count{{job=~"otelier-demo/.+"}}) == {number}'
    eventually(lambda: prometheus.query(query), "the arrival of every metric point")
