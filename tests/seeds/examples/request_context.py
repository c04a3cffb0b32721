"""egisai, `set_context`: a multi-tenant FastAPI handler."""

import openai
from fastapi import FastAPI, Request

import otelier

otelier.init(app="orchestrator", env="production")
app = FastAPI()
client = openai.OpenAI()


@app.post("/chat")
async def chat(request: Request, body: dict):
    otelier.set_context(
        user_id=body["user_id"],
        session_id=body["session_id"],
        agent="customer-support-bot",
    )
    response = client.chat.completions.create(
        model="gpt-4.1",
        messages=body["messages"],
    )
    return response.choices[0].message.content
