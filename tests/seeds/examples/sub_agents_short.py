"""egisai, `set_context`: multiple sub-agents in one process."""

import openai

import otelier

client = openai.OpenAI()

otelier.init(app="orchestrator", env="production")


def triage(query):
    otelier.set_context(agent="triage-agent")
    return client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": query}])


def billing(query):
    otelier.set_context(agent="billing-agent")
    return client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": query}])
