"""One request that fans out into several calls: they all carry the id of their workflow."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass

import openai

import otelier
from otelier.testing import OpenAIServer, SpanRecorder

# Spans stay in memory here, to be printed at the end. A service sends them: README.md says how.
recorder = SpanRecorder()
otelier.init(app="researcher", env="production", tracer_provider=recorder.tracer_provider)

if not (os.environ.get("OPENAI_API_KEY") and os.environ.get("OPENAI_BASE_URL")):
    server = OpenAIServer().start()  # stands in for the model
    os.environ.update(OPENAI_API_KEY="not-needed", OPENAI_BASE_URL=server.base_url)

client = openai.OpenAI()


@dataclass
class Step:
    agent_name: str
    task: str


def ask(prompt: str) -> str:
    response = client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": prompt}])
    return response.choices[0].message.content or ""


def generate_plan(goal: str) -> list[Step]:
    ask(f"Plan the steps to {goal}.")
    return [
        Step("collector", "Collect what is known."),
        Step("checker", "Check what was collected."),
        Step("writer", "Summarize it."),
    ]


def run_step(step: Step) -> str:
    return ask(step.task)


def run(goal: str) -> str:
    workflow_id = uuid.uuid4().hex
    otelier.set_context(workflow_id=workflow_id, agent="planner")

    result = ""
    for step in generate_plan(goal):
        otelier.set_context(agent=step.agent_name)
        result = run_step(step)  # workflow_id is preserved
    return result


if __name__ == "__main__":
    for user in ("alice", "bob"):
        with otelier.context(user_id=user):
            run("compare two suppliers")

    print(recorder.tree("gen_ai.agent.name", "otelier.workflow.id", "user.id"))
