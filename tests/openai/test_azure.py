"""Azure's clients: their own provider, server and paths, and the model that really answered."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import openai
import pytest

from otelier.openai.operations._operation import Templates
from tests.openai.conftest import CHAT, RESPONSES, Api

SERVED = {"X-MS-Served-Model": "gpt-4.1-2025-04-14"}


def options(api: Api) -> dict[str, Any]:
    """What the clients of Azure are made with."""
    return {
        "azure_endpoint": api.server.url,
        "api_key": "none",
        "api_version": "2025-04-01-preview",
        "max_retries": 0,
    }


@pytest.fixture
def azure(api):
    """A client of Azure."""
    with openai.AzureOpenAI(**options(api), http_client=openai.DefaultHttpxClient(verify=False)) as client:
        yield client


@pytest.mark.parametrize("endpoint", ["chat", "responses", "embeddings"])
def test_provider_and_server(api, azure, recorder, endpoint):
    """Spans and metrics name Azure as the provider, and the endpoint's host and port."""
    Api.method(azure, endpoint)(**api.arguments[endpoint])
    (span,) = recorder.spans
    duration = next(point for point in recorder.metric_points if point.name == "gen_ai.client.operation.duration")
    for attributes in (span.attributes, duration.attributes):
        assert attributes["gen_ai.provider.name"] == "azure.ai.openai"
        assert attributes["server.address"] == "127.0.0.1"
        assert attributes["server.port"] == int(api.server.url.rpartition(":")[2])
    assert api.server.requests[-1].path.startswith("/openai/")


def test_async(api, recorder):
    """The asynchronous client is Azure's too, streams included."""

    async def call() -> None:
        http = openai.DefaultAsyncHttpxClient(verify=False)
        async with openai.AsyncAzureOpenAI(**options(api), http_client=http) as client:
            async for _ in await client.chat.completions.create(**CHAT, stream=True):
                pass

    asyncio.run(call())
    assert recorder.find("chat gpt-4.1").attributes["gen_ai.provider.name"] == "azure.ai.openai"


def test_a_deployment(api, recorder):
    """A client of one deployment and its copies are Azure's; the model is the one that the call asks for."""
    http = openai.DefaultHttpxClient(verify=False)
    with openai.AzureOpenAI(**options(api), azure_deployment="ours", http_client=http) as client:
        client.with_options(timeout=9).chat.completions.create(**CHAT)
    assert recorder.find("chat gpt-4.1").attributes["gen_ai.provider.name"] == "azure.ai.openai"
    assert api.server.requests[-1].path == "/openai/deployments/ours/chat/completions"


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("ours.openai.azure.com", "azure.ai.openai"),
        ("api.openai.com", "openai"),
        ("openai.azure.com.example.com", "openai"),
        ("llm.example.com", "openai"),
    ],
)
def test_provider_by_host(host, provider):
    """The plain client at a host of Azure's is Azure's; any other host is told by its address alone."""
    resource = SimpleNamespace(_client=SimpleNamespace(_base_url=SimpleNamespace(host=host, port=None)))
    assert Templates("chat").of(resource, "m").start["gen_ai.provider.name"] == provider


@pytest.mark.parametrize("way", ["raw", "stream", "raw stream", "lazily", "fetched"])
def test_served_model(api, azure, recorder, way):
    """The model that a header of a Responses answer names is the one that answered, wherever headers can be seen."""
    api.server.reply("Hi", headers=SERVED)
    if way == "raw":
        azure.responses.with_raw_response.create(**RESPONSES)
    elif way == "stream":
        list(azure.responses.create(**RESPONSES, stream=True))
    elif way == "raw stream":
        list(azure.responses.with_raw_response.create(**RESPONSES, stream=True).parse())
    elif way == "lazily":
        with azure.responses.with_streaming_response.create(**RESPONSES) as response:
            response.parse()
    else:
        made = azure.responses.create(**RESPONSES)
        recorder.clear()
        api.server.reply(body=made.model_dump(mode="json"), headers=SERVED)
        azure.responses.with_raw_response.retrieve(made.id)
    (span,) = recorder.spans
    assert span.attributes["gen_ai.response.model"] == "gpt-4.1-2025-04-14"
    duration = next(point for point in recorder.metric_points if point.name == "gen_ai.client.operation.duration")
    assert duration.attributes["gen_ai.response.model"] == "gpt-4.1-2025-04-14"
