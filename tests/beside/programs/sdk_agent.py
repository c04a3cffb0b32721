"""An agent of the OpenAI Agents SDK with its own tracing on and off, by both APIs, named by its prompt and the context.

Run: python sdk_agent.py [PROCESSOR]
    PROCESSOR is `theirs` where an instrumentation puts its spans onto the SDK's tracing.
"""

from __future__ import annotations

import sys

from agents import Agent, Runner, set_default_openai_api, set_trace_processors, set_tracing_disabled
from opentelemetry import trace

import otelier

PROMPT = "You are the billing agent of a shop."


def main() -> None:
    """Run the agents."""
    if sys.argv[1:] != ["theirs"]:
        set_trace_processors([])  # those that it begins with send to OpenAI
    tracer = trace.get_tracer("app")
    for own in (True, False):
        set_tracing_disabled(not own)
        for api in ("chat_completions", "responses"):
            set_default_openai_api(api)
            agent = Agent(name="Billing", instructions=PROMPT, model="gpt-4o-mini")
            for tier, fields in {"fingerprint": {}, "agent": {"agent": "billing"}}.items():
                with (
                    tracer.start_as_current_span(
                        f"{tier} {'own' if own else 'plain'} {api}", kind=trace.SpanKind.SERVER
                    ),
                    otelier.context(user_id="u-1", **fields),
                ):
                    assert Runner.run_sync(agent, "Why was I charged twice?").final_output
    sys.stdout.write('"done"\n')


if __name__ == "__main__":
    main()
