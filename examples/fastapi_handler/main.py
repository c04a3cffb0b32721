"""A FastAPI service: each request says who it is for, and requests that run at once never mix."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import uvicorn
from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

import otelier
from otelier.testing import OpenAIServer, SpanRecorder

# Spans stay in memory here, to be printed at the end. A service sends them: README.md says how.
recorder = SpanRecorder()
otelier.init(app="orchestrator", env="production", tracer_provider=recorder.tracer_provider)

if not (os.environ.get("OPENAI_API_KEY") and os.environ.get("OPENAI_BASE_URL")):
    server = OpenAIServer().start()  # stands in for the model
    os.environ.update(OPENAI_API_KEY="not-needed", OPENAI_BASE_URL=server.base_url)

app = FastAPI()
FastAPIInstrumentor.instrument_app(app, tracer_provider=recorder.tracer_provider, exclude_spans=["receive", "send"])
client = openai.AsyncOpenAI()


@app.post("/agents/{name}/chat")
async def chat(name: str, body: dict[str, Any]) -> str:
    otelier.set_context(
        agent=name,  # one of "triage", "billing", …
        user_id=body["user_id"],
        session_id=body["session_id"],
    )
    response = await client.chat.completions.create(
        model="gpt-4.1",
        messages=body["messages"],
    )
    return response.choices[0].message.content or ""


def post(url: str, name: str, user_id: str, text: str) -> str:
    body = {"user_id": user_id, "session_id": f"{user_id}-1", "messages": [{"role": "user", "content": text}]}
    request = urllib.request.Request(
        f"{url}/agents/{name}/chat", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    # No proxy between two ends of one process.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
        return json.load(answer)


if __name__ == "__main__":
    service = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=service.run)
    thread.start()
    while not service.started:
        time.sleep(0.01)
    port = service.servers[0].sockets[0].getsockname()[1]

    asked = [("triage", "alice", "I cannot log in."), ("billing", "bob", "What do I owe?")]
    with ThreadPoolExecutor() as users:
        list(users.map(lambda one: post(f"http://127.0.0.1:{port}", *one), asked))
    service.should_exit = True
    thread.join()

    print(recorder.tree("gen_ai.agent.name", "user.id", "session.id"))
