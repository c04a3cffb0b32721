"""egisai, `set_context`: workflow correlation. `plan` and `run_step` are the reader's."""

import uuid

import openai

import otelier

otelier.init(app="orchestrator", env="production")
client = openai.OpenAI()
plan = ["look up", "compare", "answer"]


def run_step(step):
    return client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": step}])


workflow_id = uuid.uuid4().hex
otelier.set_context(workflow_id=workflow_id)
for step in plan:
    run_step(step)  # all calls share workflow_id
