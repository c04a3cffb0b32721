"""egisai, multi-agent context: a workflow that spans several calls. `generate_plan` and `run_step` are the reader's."""

import uuid
from types import SimpleNamespace

import openai

import otelier

otelier.init(app="orchestrator", env="production")
client = openai.OpenAI()


def ask(text):
    return client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": text}])


def generate_plan(goal):
    ask(goal)
    return [SimpleNamespace(agent_name=name, text=f"{name}, go") for name in ("researcher", "writer", "reviewer")]


def run_step(step):
    return ask(step.text)


workflow_id = uuid.uuid4().hex
otelier.set_context(workflow_id=workflow_id, agent="planner")

plan = generate_plan("Write the release notes")
for step in plan:
    otelier.set_context(agent=step.agent_name)
    run_step(step)  # workflow_id is preserved
