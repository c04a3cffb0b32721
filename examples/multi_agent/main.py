"""Two agents in one process: triage hands a question over to billing, and every call says which of them made it."""

from __future__ import annotations

import os

import openai

import otelier
from otelier.testing import OpenAIServer, SpanRecorder

# Spans stay in memory here, to be printed at the end. A service sends them: README.md says how.
recorder = SpanRecorder()
otelier.init(app="orchestrator", env="production", tracer_provider=recorder.tracer_provider)

if not (os.environ.get("OPENAI_API_KEY") and os.environ.get("OPENAI_BASE_URL")):
    server = OpenAIServer().start()  # stands in for the model
    os.environ.update(OPENAI_API_KEY="not-needed", OPENAI_BASE_URL=server.base_url)

client = openai.OpenAI()


def triage(query: str) -> str:
    otelier.set_context(agent="triage-agent")
    response = client.chat.completions.create(
        model="gpt-4.1",
        messages=[
            {"role": "system", "content": "You triage incoming requests."},
            {"role": "user", "content": query},
        ],
    )
    return response.choices[0].message.content or ""


def billing(query: str) -> str:
    otelier.set_context(agent="billing-agent")
    response = client.chat.completions.create(
        model="gpt-4.1",
        messages=[
            {"role": "system", "content": "You answer billing questions."},
            {"role": "user", "content": query},
        ],
    )
    return response.choices[0].message.content or ""


def answer(query: str) -> str:
    decision = triage(query)
    return billing(query) if "billing" in decision.lower() else decision


if __name__ == "__main__":
    with otelier.context(user_id="alice", session_id="chat-17"):
        print(answer("Why was I charged twice?"))
    # Outside the block there is no user any more, and no agent but the process itself.
    client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Summarize the day."}])

    print()
    print(recorder.tree("gen_ai.agent.name", "otelier.agent.source", "user.id", "session.id"))
