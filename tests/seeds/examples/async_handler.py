"""egisai, multi-agent context: FastAPI, an async web handler."""

import openai
from fastapi import FastAPI

import otelier

otelier.init(app="orchestrator", env="production")
app = FastAPI()
client = openai.AsyncOpenAI()


@app.post("/agents/{name}/chat")
async def chat(name: str, body: dict):
    otelier.set_context(
        agent=name,  # one of "triage", "billing", …
        user_id=body["user_id"],
        session_id=body["session_id"],
    )
    response = await client.chat.completions.create(
        model="gpt-4.1",
        messages=body["messages"],
    )
    return response.choices[0].message.content
