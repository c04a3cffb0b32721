"""egisai, multi-agent context: several sub-agents in one process."""

import openai

import otelier

otelier.init(app="orchestrator", env="production")
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
    return response.choices[0].message.content


def billing(query: str) -> str:
    otelier.set_context(agent="billing-agent")
    response = client.chat.completions.create(
        model="gpt-4.1",
        messages=[
            {"role": "system", "content": "You answer billing questions."},
            {"role": "user", "content": query},
        ],
    )
    return response.choices[0].message.content
