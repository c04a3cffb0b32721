"""`python -m tests.seeds.report`: every example of the two egisai pages with the attributes each span got."""

from __future__ import annotations

import sys

from opentelemetry import _logs, metrics, trace

from otelier.testing import OpenAIServer, SpanRecord, SpanRecorder, reset
from tests.seeds.running import ALL, point_client_at

SHOWN = (
    "user.id",
    "user.roles",
    "session.id",
    "gen_ai.conversation.id",
    "otelier.workflow.id",
    "gen_ai.agent.name",
    "gen_ai.agent.id",
    "otelier.agent.id",
    "otelier.agent.source",
    "gen_ai.main_agent.name",
    "deployment.environment.name",
)


def lines(span: SpanRecord) -> list[str]:
    """Return the text for one span: its name and kind, then each attribute of ours."""
    attributes = [f"      {name} = {span.attributes[name]!r}" for name in SHOWN if name in span.attributes]
    return [f"    {span.name} ({span.kind})", *(attributes or ["      nothing of otelier's"])]


def say(text: str) -> None:
    """Print *text*."""
    sys.stdout.write(text + "\n")


def main() -> None:
    """Run every example and print it."""
    recorder = SpanRecorder()
    trace.set_tracer_provider(recorder.tracer_provider)
    metrics.set_meter_provider(recorder.meter_provider)
    _logs.set_logger_provider(recorder.logger_provider)
    with OpenAIServer() as server:
        point_client_at(server.base_url)
        for example in ALL:
            reset()
            recorder.clear()
            example.run()
            say(f"\n{example.page}: {example.file}")
            spans = [span for span in recorder.records if not span.name.endswith((" http send", " http receive"))]
            say("\n".join(line for span in spans for line in lines(span)))
    say(f"\n{len(ALL)} examples")


if __name__ == "__main__":
    main()
