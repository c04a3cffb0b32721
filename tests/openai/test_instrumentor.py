"""Switching instrumentation on and off."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import subprocess
import sys
import weakref
from importlib.metadata import entry_points
from typing import Any

import openai
import pytest
import wrapt
from openai.resources.chat.completions import AsyncCompletions, Completions
from opentelemetry import metrics, trace
from opentelemetry.context import attach, detach, get_current, set_value
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.sdk.trace import TracerProvider

from otelier.openai import OpenAIInstrumentor
from otelier.testing import reset
from tests.openai.conftest import instrumenting, serving

SPAN = "chat gpt-4.1"


def run(program: str) -> str:
    """Run *program* in an interpreter of its own and return what it prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_entry_point():
    """`opentelemetry-instrument` finds the instrumentor under a name that no other package has."""
    (found,) = entry_points(group="opentelemetry_instrumentor", name="otelier-openai")
    assert found.load() is OpenAIInstrumentor
    assert issubclass(OpenAIInstrumentor, BaseInstrumentor)
    assert OpenAIInstrumentor().instrumentation_dependencies() == ("openai >= 1.66, < 4",)


def test_a_second_instrument_is_silent(recorder, caplog):
    """Both entry points and `init` may switch it on: only the first does, and nobody is told off."""
    with instrumenting(recorder), serving() as api:
        OpenAIInstrumentor().instrument()
        api.call("chat")
    assert recorder.find(SPAN)
    assert caplog.records == []


def test_undone_and_redone(recorder):
    """Patches come out whole and go in again, with the providers of the time."""
    methods = [vars(Completions)["create"], vars(AsyncCompletions)["create"], vars(openai.Stream)["__exit__"]]
    with serving() as api:
        for _ in range(3):
            with instrumenting(recorder):
                assert vars(Completions)["create"] is not methods[0]
                api.call("chat")
            api.call("chat")
    assert len(recorder.spans) == 3
    assert methods == [vars(Completions)["create"], vars(AsyncCompletions)["create"], vars(openai.Stream)["__exit__"]]


def test_wrappers_that_somebody_kept(recorder):
    """A method taken while instrumentation was on passes straight through when it is off, and reports when it is on."""
    with serving() as api:
        with instrumenting(recorder):
            create = api.client.chat.completions.create
            raw = api.client.chat.completions.with_raw_response
            create_async = AsyncCompletions.create
            raw.create(**api.arguments["chat"])

        async def call_async():
            async with api.async_client() as client:
                await create_async(client.chat.completions, **api.arguments["chat"])

        create(**api.arguments["chat"])
        raw.create(**api.arguments["chat"])
        asyncio.run(call_async())
        assert len(recorder.spans) == 1
        with instrumenting(recorder):
            create(**api.arguments["chat"])
            raw.create(**api.arguments["chat"])
            asyncio.run(call_async())
    assert len(recorder.spans) == 4
    assert len(api.server.requests) == 7


def test_a_reset_switches_it_off(recorder):
    """A test that left instrumentation on is undone by `otelier.testing.reset`."""
    method = vars(Completions)["create"]
    with instrumenting(recorder):
        assert vars(Completions)["create"] is not method
        reset()
        assert vars(Completions)["create"] is method


def test_a_patch_that_somebody_wrapped(recorder):
    """Another library's wrapper on top of ours stays, and instrumenting again makes one span, not two."""
    original = vars(Completions)["create"]
    with serving() as api:
        with instrumenting(recorder):
            foreign = wrapt.FunctionWrapper(
                vars(Completions)["create"], lambda call, _, args, kwargs: call(*args, **kwargs)
            )
            Completions.create = foreign
        try:
            api.call("chat")
            assert recorder.spans == ()
            with instrumenting(recorder):
                api.call("chat")
            assert len(recorder.spans) == 1
            assert vars(Completions)["create"] is foreign
        finally:
            Completions.create = original


def test_signatures_stay():
    """What tools read off a patched method is what they read off the client's own."""

    def facts(method: Any) -> tuple[Any, ...]:
        return (
            inspect.signature(method),
            inspect.iscoroutinefunction(method),
            inspect.getsource(method),
            method.__doc__,
            method.__qualname__,
            method.__module__,
        )

    before = [facts(method) for method in (Completions.create, AsyncCompletions.create)]
    OpenAIInstrumentor().instrument()
    try:
        after = [facts(method) for method in (Completions.create, AsyncCompletions.create)]
    finally:
        OpenAIInstrumentor().uninstrument()
    assert before == after


def test_patched_methods_are_plain_functions():
    """A patched method is itself each time it is looked up, compares and hashes like any, and pickles by its name."""
    OpenAIInstrumentor().instrument()
    try:
        for owner in (Completions, AsyncCompletions):
            assert owner.create is owner.create
            assert inspect.isfunction(owner.create)
            assert pickle.loads(pickle.dumps(owner.create)) is owner.create
            assert copy.deepcopy(owner.create) is owner.create
        with openai.OpenAI(api_key="none") as client:
            create = client.chat.completions.create
            assert create == client.chat.completions.create
            assert len({create, client.chat.completions.create}) == 1
            assert inspect.ismethod(create)
        pickled = pickle.dumps(Completions.create)
    finally:
        OpenAIInstrumentor().uninstrument()
    assert pickle.loads(pickled) is Completions.create


def test_openai_is_not_imported():
    """Instrumenting imports no openai; its modules are patched when the program imports them."""
    program = """
import sys
from otelier.openai import OpenAIInstrumentor
OpenAIInstrumentor().instrument()
assert "openai" not in sys.modules
import openai
client = openai.OpenAI(api_key="none")
for method in (client.chat.completions.create, client.responses.create, client.embeddings.create):
    print(type(method.__self__).__name__, hasattr(method, "__wrapped__"))
print("httpx" in sys.modules or "httpx2" in sys.modules)
"""
    assert run(program).splitlines() == ["Completions True", "Responses True", "Embeddings True", "True"]


def test_hooks_that_have_not_fired():
    """Switched off before openai is imported, nothing is patched; switched on again, everything is, once."""
    program = """
from otelier.openai import OpenAIInstrumentor
for _ in range(3):
    OpenAIInstrumentor().instrument()
    OpenAIInstrumentor().uninstrument()
import openai
from openai.resources.chat.completions import Completions
from otelier.patches import is_patch
print(is_patch(Completions.create))
OpenAIInstrumentor().instrument()
print(is_patch(Completions.create), is_patch(Completions.create.__wrapped__))
import wrapt.importer
hooks = wrapt.importer._post_import_hooks
print(max(map(len, hooks.values()), default=0) <= 1)
"""
    assert run(program).splitlines() == ["False", "True False", "True"]


def test_a_release_without_some_of_it(recorder, monkeypatch):
    """What a release of openai does not have is left out, without a word, and the rest is patched."""
    import openai.resources.embeddings as module

    monkeypatch.delattr(module, "AsyncEmbeddings")
    monkeypatch.delattr(Completions, "parse", raising=False)
    with instrumenting(recorder), serving() as api:
        api.call("embeddings")
        api.call("chat")
    assert [span.name for span in recorder.spans] == ["embeddings text-embedding-3-small", SPAN]


@pytest.mark.parametrize("variable", ["OTELIER_DISABLED=true", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=otelier"])
def test_switched_off_by_the_environment(recorder, monkeypatch, variable):
    """Where the environment forbids patches, `instrument` does nothing."""
    monkeypatch.setenv(*variable.split("="))
    before = Completions.create
    OpenAIInstrumentor().instrument(tracer_provider=recorder.tracer_provider)
    assert not OpenAIInstrumentor().is_instrumented_by_opentelemetry
    assert Completions.create is before


def test_no_global_provider_is_set(recorder):
    """Given providers are used, and the global ones left alone."""
    before = trace.get_tracer_provider(), metrics.get_meter_provider()
    with instrumenting(recorder):
        assert (trace.get_tracer_provider(), metrics.get_meter_provider()) == before


def test_global_providers(otelier_spans):
    """Without providers given, those that are global when a call is made get its signals."""
    OpenAIInstrumentor().uninstrument()
    OpenAIInstrumentor().instrument()
    with serving() as api:
        api.call("chat")
    assert otelier_spans.find(SPAN)
    assert "gen_ai.client.operation.duration" in otelier_spans.metrics()


@pytest.mark.parametrize(
    ("key", "endpoints"),
    [
        ("opentelemetry.genai.client.inference.context", {"embeddings text-embedding-3-small"}),
        ("opentelemetry.genai.client.embedding.context", {SPAN}),
        ("suppress_instrumentation", set()),
    ],
)
def test_suppressed(api, recorder, key, endpoints):
    """A call that somebody else reports, or that nobody shall, makes no span and no metric."""

    def call_all() -> None:
        for endpoint in ("chat", "responses", "embeddings"):
            api.call(endpoint)
        list(api.call("chat", stream=True))

    token = attach(set_value(key, object(), get_current()))
    call_all()
    detach(token)
    assert {span.name for span in recorder.spans} == endpoints
    counted = {point.attributes["gen_ai.operation.name"] for point in recorder.metric_points if point.count}
    assert counted == {name.partition(" ")[0] for name in endpoints}
    recorder.clear()
    token = attach(set_value(key, None, get_current()))
    call_all()
    detach(token)
    assert len(recorder.spans) == 4


def test_suppressed_by_opentelemetry(api, recorder):
    """OpenTelemetry's own way to silence instrumentation is honoured."""
    with suppress_instrumentation():
        api.call("chat")
    assert recorder.spans == ()


def test_copied_and_subclassed_clients(api, recorder):
    """Clients made from others, and clients of the user's own class, are instrumented like any."""

    class Mine(openai.OpenAI):
        extra: Any = None

    with Mine(**api.options) as mine:
        mine.chat.completions.create(**api.arguments["chat"])
    api.client.with_options(timeout=5).chat.completions.create(**api.arguments["chat"])
    api.client.copy().chat.completions.create(**api.arguments["chat"])
    assert [span.name for span in recorder.spans] == [SPAN] * 3


def test_nothing_is_kept_of_what_it_was_given():
    """Switched off again, the instrumentor holds on to no provider: whoever made it may drop it."""
    provider = TracerProvider(shutdown_on_exit=False)
    kept = weakref.ref(provider)
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    OpenAIInstrumentor().uninstrument()
    del provider
    gc.collect()
    assert kept() is None
