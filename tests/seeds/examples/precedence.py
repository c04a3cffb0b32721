"""egisai, both pages: the precedence of resolution, from the process's own agent up to an id and down."""

import openai

import otelier

otelier.init(app="orchestrator", env="production")
client = openai.OpenAI()


def call():
    client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Hello"}])


def up_and_down():
    call()
    otelier.set_context(agent="triage-agent")
    call()
    otelier.set_context(agent_id="7c9e6679-7425-40de-944b-e07fc1f90ae7")
    call()
    otelier.set_context(agent=None, agent_id=None)  # leaves the existing values alone
    call()
    otelier.set_context(agent_id="")
    call()
    otelier.set_context(agent="")
    call()
