"""A scripted model, and agents that ask it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest

import otelier
from otelier.testing import OpenAIServer, SpanRecorder

MODEL = "gpt-4.1"
TIMEOUT_S = 300.0
"""Longest wait of a client for its connection: on a loaded machine the client's own 5 s may pass."""


class Model:
    """A local model: what it says is given turn by turn."""

    def __init__(self, server: OpenAIServer, client: openai.OpenAI) -> None:
        self.server = server
        self.client = client

    def says(self, *turns: Any) -> None:
        """Queue turns: a text, or the calls of one turn, each with its arguments."""
        for turn in turns:
            if isinstance(turn, str):
                self.server.reply(turn, usage={"input_tokens": 10, "output_tokens": 5})
            else:
                self.server.reply(tool_calls=turn, usage={"input_tokens": 10, "output_tokens": 5})

    def agent(self, *tools: Any, name: str = "triage", **options: Any) -> otelier.Agent:
        """An agent that asks this model, by a client that any loop may use."""
        return otelier.Agent(name, **{"model": MODEL, "client": self.client, "tools": tools, **options})

    def told(self, at: int = -1) -> list[str]:
        """The results of tools that a request sent last."""
        messages = self.server.requests[at].messages
        last = next(number for number in range(len(messages), 0, -1) if messages[number - 1]["role"] != "tool")
        return [message["content"] for message in messages[last:]]


@pytest.fixture
def model(otelier_spans: SpanRecorder) -> Iterator[Model]:
    """A model, with what happens recorded in `otelier_spans`; every span must have ended with the test."""
    with scripted() as made:
        yield made


@contextmanager
def scripted(**options: Any) -> Iterator[Model]:
    """A model whose server has *options*."""
    with OpenAIServer(**options) as server:
        plain = openai.DefaultHttpxClient(verify=False)  # loading certificates takes longer than most tests
        with openai.OpenAI(
            base_url=server.base_url, api_key="sk-none", max_retries=0, timeout=TIMEOUT_S, http_client=plain
        ) as client:
            yield Model(server, client)
            for thread in threading.enumerate():  # calls that were given up: they would connect behind the closing
                if thread.name == "otelier-model":
                    thread.join(60)
