"""A pydantic-ai agent with its own instrumentation off and on, named by its prompt and by the context."""

from __future__ import annotations

import sys

from opentelemetry import trace
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel

import otelier

PROMPT = "You are the billing agent of a shop."


def main() -> None:
    """Run the agents."""
    tracer = trace.get_tracer("app")
    for own in (False, True):
        Agent.instrument_all(own)
        for model in (OpenAIChatModel, OpenAIResponsesModel):
            agent = Agent(model("gpt-4o-mini"), instructions=PROMPT)
            for tier, fields in {"fingerprint": {}, "agent": {"agent": "billing"}}.items():
                root = f"{tier} {'own' if own else 'plain'} {model.__name__}"
                with (
                    tracer.start_as_current_span(root, kind=trace.SpanKind.SERVER),
                    otelier.context(user_id="u-1", **fields),
                ):
                    assert agent.run_sync("Why was I charged twice?").output
    sys.stdout.write('"done"\n')


if __name__ == "__main__":
    main()
