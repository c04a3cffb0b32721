"""Every way to call: module-level, copied, subclassed, mocked clients, old paths, options of one call."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any
from unittest import mock

import openai
import pytest
from openai.resources.chat.completions import Completions

from otelier.openai import OpenAIInstrumentor
from tests.openai.conftest import CHAT, EMBEDDINGS, RESPONSES, Api, instrumenting, serving

SPAN = "chat gpt-4.1"
NAMES = {"chat": SPAN, "responses": SPAN, "embeddings": "embeddings text-embedding-3-small"}
each_endpoint = pytest.mark.parametrize("endpoint", NAMES)


@pytest.fixture
def module_client(api, monkeypatch):
    """The client that the module `openai` keeps, made anew and closed again."""
    openai._reset_client()
    monkeypatch.setattr(openai, "api_key", "none")
    monkeypatch.setattr(openai, "base_url", f"{api.server.base_url}/")
    monkeypatch.setattr(openai, "http_client", openai.DefaultHttpxClient(verify=False))
    yield openai
    openai.http_client.close()
    openai._reset_client()


@each_endpoint
def test_module_level_client(module_client, recorder, endpoint):
    """`openai.chat.completions.create` and the like are calls as any."""
    if endpoint == "responses" and not hasattr(getattr(openai, "responses", None), "create"):
        pytest.skip("this openai has no such path")
    Api.method(module_client, endpoint)(**Api.arguments[endpoint])
    assert recorder.find(NAMES[endpoint])


@each_endpoint
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_options_of_one_call(api, recorder, endpoint, mode):
    """Headers, query, body and timeout of one call reach the server, and nothing of them the span."""
    more: dict[str, Any] = {
        "extra_headers": {"x-mine": "header-1"},
        "extra_query": {"mine": "query-1"},
        "extra_body": {"mine": "body-1"},
        "timeout": 9,
    }

    async def call() -> None:
        async with api.async_client() as client:
            await api.call_async(client, endpoint, **more)

    api.call(endpoint, **more) if mode == "sync" else asyncio.run(call())
    request = api.server.requests[-1]
    assert (request.headers["x-mine"], request.query, request.body["mine"]) == ("header-1", "mine=query-1", "body-1")
    told = recorder.find(NAMES[endpoint]).to_json()
    assert not [text for text in ("header-1", "query-1", "body-1") if text in told]


@each_endpoint
def test_copies_of_a_client(api, recorder, endpoint):
    """Copies and copies with options are instrumented like the client itself."""
    for client in (api.client.copy(), api.client.with_options(timeout=9, max_retries=1)):
        api.method(client, endpoint)(**api.arguments[endpoint])
    assert [span.name for span in recorder.spans] == [NAMES[endpoint]] * 2


def test_a_resource_of_the_users_own(api, recorder):
    """A subclass that calls its parent's method makes one call; one that does not makes none."""

    class Counting(Completions):
        calls = 0

        def create(self, **arguments: Any) -> Any:
            Counting.calls += 1
            return super().create(**arguments)

    class Canned(Completions):
        def create(self, **arguments: Any) -> Any:
            return "canned"

    assert Counting(api.client).create(**CHAT).choices
    assert Canned(api.client).create(**CHAT) == "canned"
    assert Counting.calls == 1
    assert recorder.find(SPAN)


def test_mocked_methods(api, recorder):
    """What somebody puts in the place of a patched method is called as it is, and ours is back after it."""
    before = Completions.create
    with mock.patch.object(Completions, "create", return_value="mocked") as mocked:
        assert api.client.chat.completions.create(**CHAT) == "mocked"
        mocked.assert_called_once_with(**CHAT)
    with mock.patch.object(Completions, "create", autospec=True, return_value="mocked"):
        assert api.client.chat.completions.create(**CHAT) == "mocked"
        with pytest.raises(TypeError):
            api.client.chat.completions.create("by place")
    assert recorder.spans == ()
    assert Completions.create is before
    api.client.chat.completions.create(**CHAT)
    assert recorder.find(SPAN)


def test_mocked_clients(recorder):
    """Mocked clients, whole or below the methods, answer what they were told to; nothing of ours is in the way."""
    with instrumenting(recorder):
        whole = mock.create_autospec(Completions, instance=True)
        whole.create.return_value = "mocked"
        assert whole.create(**CHAT) == "mocked"
        with pytest.raises(TypeError):
            whole.create("by place")
        assert recorder.spans == ()
        for below in (mock.Mock(), mock.MagicMock()):
            assert Completions(below).create(**CHAT) is below.post.return_value
            below.post.assert_called_once()
    assert [span.name for span in recorder.spans] == [SPAN] * 2


@pytest.mark.parametrize("helper", ["parse", "stream"])
def test_paths_of_old_releases(api, recorder, helper):
    """What stands under `beta` in old releases is a call as any."""
    completions = getattr(getattr(api.client.beta, "chat", None), "completions", None)
    if not hasattr(completions, helper):
        pytest.skip("this openai has no such path")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if helper == "parse":
            assert completions.parse(**CHAT).choices
        else:
            with completions.stream(**CHAT) as stream:
                assert stream.get_final_completion().choices
    assert recorder.find(SPAN).attributes["gen_ai.response.finish_reasons"] == ("stop",)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_calls_of_new_releases_under_beta(api, recorder, mode):
    """The Responses under `beta` in late releases are calls as any."""
    if not hasattr(api.client.beta, "responses"):
        pytest.skip("this openai has no such path")

    async def call() -> None:
        async with api.async_client() as client:
            await client.beta.responses.create(**RESPONSES)

    api.client.beta.responses.create(**RESPONSES) if mode == "sync" else asyncio.run(call())
    assert recorder.find(SPAN).attributes["openai.api.type"] == "responses"


def test_warnings_name_the_caller(api):
    """A method that the client deprecates warns who calls it, as it does without us."""
    deprecated = [
        (api.client.images.create_variation, {"image": ("a.png", b"png"), "model": "dall-e-2"}),
        (api.client.audio.translations.create, {"file": ("a.wav", b"wav"), "model": "whisper-1"}),
    ]
    for method, arguments in deprecated:
        if not hasattr(method, "__deprecated__"):
            pytest.skip("this openai deprecates nothing of it")
        with pytest.warns(DeprecationWarning, match="deprecated") as caught:
            method(**arguments)
        assert [warning.filename for warning in caught] == [__file__]


def test_environment_is_read_when_switched_on(recorder, monkeypatch):
    """What the environment says counts when instrumentation is switched on, not when it was imported."""
    variable = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    with serving() as api:
        for mode in ("span_only", "no_content", "span_only"):
            monkeypatch.setenv(variable, mode)
            with instrumenting(recorder):
                monkeypatch.setenv(variable, "no_content")
                api.call("chat")
    assert ["gen_ai.input.messages" in span.attributes for span in recorder.spans] == [True, False, True]
    assert not OpenAIInstrumentor().is_instrumented_by_opentelemetry


def test_embeddings_take_their_arguments_by_name(api):
    """A call that the client refuses is refused as without us."""
    with pytest.raises(TypeError):
        api.client.embeddings.create(EMBEDDINGS)
