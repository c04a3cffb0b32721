"""Content of runs on spans: no bytes, a budget, strict JSON, and nothing that a tool returns ends the run."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json

import pytest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import StatusCode

import otelier
from otelier import Agent, RunContext, tool
from otelier.agents import TextDelta
from otelier.interceptors import InterceptContext, InterceptResult, Phase
from otelier.redaction import content_gate

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + hashlib.sha512(b"noise").digest() * 20
DATA = base64.b64encode(PNG).decode()
RESULTS = {
    "brackets": "[" * 90_000,
    "objects": '{"a":' * 15_000,
    "no number": {"a": float("nan"), "b": [float("inf")]},
    "half a pair": "\ud83d",
    "a long number": "1" * 10_000,
    "an image": DATA,
    "an image in a dict": {"type": "image", "data": DATA},
    "megabytes": "word " * 1_000_000,
    "many": list(range(200_000)),
}


def strict(text):
    """What a reader of JSON that takes nothing else makes of it."""

    def refuse(constant):
        raise ValueError(constant)

    return json.loads(text.encode(), parse_constant=refuse)


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_whatever_a_tool_returns(model, otelier_spans, capture_content, result):
    """The run goes on, and its span has the result as strict JSON within its budget, without bytes."""
    capture_content("span_only")

    @tool(max_result_chars=10_000_000)
    def work(picture: str) -> object:
        return result

    model.says([("work", {"picture": DATA})], "Done.")
    assert model.agent(work).run("Go").output == "Done."
    for span in otelier_spans.records:
        for name, value in span.attributes.items():
            if name.startswith("gen_ai.") and isinstance(value, str) and value[:1] in ("[", "{"):
                strict(value)
                assert len(value) <= 250_000
    span = otelier_spans.find("execute_tool work")
    assert hashlib.sha256(PNG).hexdigest() in span.attributes["gen_ai.tool.call.arguments"]
    assert "gen_ai.tool.call.result" in span.attributes
    assert DATA[:60] not in repr(otelier_spans.records)


def test_arguments_are_those_that_were_given(model, otelier_spans, capture_content):
    """What a tool does to long arguments afterwards is not on its span."""
    capture_content("span_only")
    given = {"items": ["word " * 20_000]}

    @tool
    def work(items: list[str]) -> str:
        items.clear()
        return "ok"

    model.says([("work", given)], "Done.")
    model.agent(work).run("Go").wait()
    arguments = json.loads(otelier_spans.find("execute_tool work").attributes["gen_ai.tool.call.arguments"])
    assert arguments == given


class Broken(SpanProcessor):
    """Somebody's processor that fails when spans end."""

    def on_end(self, span):
        raise OSError("the disk is full")


def test_a_foreign_processor_ends_no_run(model, otelier_spans, caplog):
    """What a span processor raises costs its own work: runs, tools and their results stay."""

    @tool
    def work() -> str:
        return "ok"

    otelier_spans.tracer_provider.add_span_processor(Broken())
    model.says([("work", {})], "Done.", "Again.")
    agent = model.agent(work)
    assert agent.run("Go").output == "Done."
    assert agent.run("Go").output == "Again."
    assert otelier_spans.open_spans == ()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "otelier"]
    assert line.startswith("OSError was raised as a span")


def test_a_closed_browser_tab(model, otelier_spans):
    """Who leaves a stream, with tools and subagents below, makes no error: on no span and in no metric."""
    started = asyncio.Event()

    @tool
    async def waits() -> str:
        started.set()
        await asyncio.Event().wait()
        return ""

    specialist = model.agent(waits, name="specialist")
    model.says([("specialist", {"task": "wait"})], [("waits", {})])

    async def served():
        async with model.agent(subagents=[specialist]).stream("Go") as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    yield event

    async def main():
        request = asyncio.ensure_future(anext(served()))
        await started.wait()
        request.cancel()
        await asyncio.wait([request])
        assert otelier_spans.open_spans == ()

    asyncio.run(main())
    left = {span.name for span in otelier_spans.spans if span.attributes.get("otelier.cancelled")}
    assert left == {"execute_tool waits", "invoke_agent specialist", "execute_tool specialist", "invoke_agent triage"}
    assert {span.status.status_code for span in otelier_spans.spans} == {StatusCode.UNSET}
    assert [point for point in otelier_spans.metric_points if "error.type" in point.attributes] == []


def test_nothing_of_a_run_is_in_a_repr(model):
    """What stands in OpenTelemetry's context, results, events and what interceptors get show no content in a `repr`."""
    from dataclasses import dataclass

    from opentelemetry.context import get_current

    shown = []

    @dataclass
    class Own(RunContext):
        api_key: str = "canary-key"

    class Looks:
        async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult:
            shown.append(repr(context))
            return InterceptResult.continue_(note="canary-note")

    @tool
    def work(note: str) -> str:
        shown.append(repr(get_current()))
        return "canary-result"

    async def main(agent: Agent):
        async for event in agent.stream("canary-query", context=Own(metadata={"a": "canary-metadata"})):
            shown.append(repr(event))
        result = await agent.run("canary-query", context=Own())
        shown.append(repr(result) + repr(result.tool_calls))

    model.says([("work", {"note": "canary-argument"})], "canary-answer", "canary-answer")
    agent = model.agent(work, instructions="canary-instructions", interceptors=[Looks()])
    asyncio.run(main(agent))
    shown += [repr(InterceptResult.stop("canary-response")), repr(agent)]
    assert len(shown) > 10
    assert [one for one in shown if "canary" in one] == []


def test_content_is_switched_once(model, otelier_spans, monkeypatch):
    """A mode set after switching on reaches neither the agent's spans nor those of its calls."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    model.says("Hello!")
    model.agent().run("canary").wait()
    assert "canary" not in repr([span.attributes for span in otelier_spans.records])


def test_switching_on_again_reads_the_mode(model, otelier_spans, monkeypatch):
    """Agents and their calls have content from then on, both."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    otelier.init(tracer_provider=otelier_spans.tracer_provider)
    model.says("Hello!")
    model.agent().run("canary").wait()
    shown = [span.name for span in otelier_spans.records if "canary" in repr(span.attributes)]
    assert sorted(shown) == ["chat gpt-4.1", "invoke_agent triage"]


def test_content_where_the_client_is_left_alone(model, otelier_spans, monkeypatch):
    """The mode is read when otelier is switched on, also where calls are not instrumented, and forgotten with it."""
    mode = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    otelier.shutdown()
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "otelier-openai")
    monkeypatch.setenv(mode, "span_only")
    otelier.activate()
    monkeypatch.setenv(mode, "no_content")
    assert content_gate().mode.on_span
    otelier.shutdown()
    assert not content_gate().mode.on_span
