"""Durable agents: results, errors, interceptors and spans as in a plain run, and the same again in a replay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import otelier
from otelier import testing
from otelier.errors import CodecError, StepError, WorkflowUseError
from otelier.interceptors import Interceptor
from otelier.workflows import Worker, workflow
from otelier.workflows.engines.local import LocalEngine, Options
from tests.scripted import model, scripted
from tests.workflows.engines.serving import opened, until
from tests.workflows.talks import TALKS, Watch, arguments, seen_of, tools_of

__all__ = ["model"]


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Gets what is exported, which a span that is withheld is not."""
    made, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(made))
    testing.reset()
    otelier.init(strict=True, tracer_provider=provider)
    yield made
    testing.reset()
    provider.shutdown()


async def plainly(made: dict[str, Any]) -> Any:
    """What a plain run gives."""
    agent, query, rest = arguments(made)
    try:
        result: Any = await agent.run(query, **rest)
    except Exception as exc:
        result = exc
    return seen_of(result, is_durable=False)


def durable(made: dict[str, Any], seen: list[Any]) -> Any:
    """A workflow that runs the agent and then waits for a signal; what each life sees of the run goes to *seen*."""
    agent, query, rest = arguments(made)

    @workflow
    async def talking(ctx):
        try:
            result: Any = await ctx.agent(agent, query, **rest)
        except Exception as exc:
            result = exc
        await ctx.step("note", lambda: None)  # what is before it is replayed, to the end
        seen.append(seen_of(result, is_durable=True))
        await ctx.signal("go")

    return talking


async def in_two_lives(made: dict[str, Any], place: str, seen: list[Any]) -> None:
    """Run it durably, end its worker, and let another one replay it."""
    handler = durable(made, seen)
    async with opened(place) as engine:
        async with Worker("desk", modules=[handler], engine=engine) as worker:
            await worker.start(handler, workflow_id="r-1")
            await until(lambda: len(seen) == 1)
        async with Worker("desk", modules=[handler], engine=engine) as worker:
            handle = await worker.start(handler, workflow_id="r-1")
            await engine.signal("r-1", "go", {"payload": None})
            await handle.result()
    assert len(seen) == 2


def sent(model) -> list[Any]:
    """What was asked."""
    return [request.body for request in model.server.requests]


_OF_STEPS = ("run_step", "invoke_workflow", "wait_signal")
_OF_WORKFLOWS = ("otelier.run.id", "otelier.workflow.id", "server.port")


_CLASS_LOST = ("not_failed_over",)
"""Where the error is of a class that cannot be made again: a `StepError` stands for it."""


def tree_of(exporter: InMemorySpanExporter, name: str) -> list[Any]:
    """The spans of agents, tools and models, each with its ancestors among them and what it carries; forgets them."""
    left_out = (*_OF_WORKFLOWS, "error.type") if name in _CLASS_LOST else _OF_WORKFLOWS
    by_id = {span.context.span_id: span for span in exporter.get_finished_spans()}
    assert len(by_id) == len(exporter.get_finished_spans())
    exporter.clear()

    def path(span: ReadableSpan) -> list[str]:
        above = [] if span.parent is None else path(by_id[span.parent.span_id])
        return above if span.name.startswith(_OF_STEPS) else [*above, span.name]

    def carried(span: ReadableSpan) -> list[Any]:
        found = {name: value for name, value in (span.attributes or {}).items() if name not in left_out}
        return sorted(found.items(), key=lambda pair: pair[0])

    ours = [span for span in by_id.values() if not span.name.startswith(_OF_STEPS)]
    return sorted([path(span), span.status.status_code.name, carried(span)] for span in ours)


@pytest.mark.parametrize("place", ["file", pytest.param("restate", marks=pytest.mark.restate)], indirect=True)
@pytest.mark.parametrize("name", TALKS)
def test_a_durable_run_gives_what_a_plain_one_gives_also_in_a_replay(place, exporter, name):
    """Result or error, conversation, usage, calls, questions, what interceptors see, and spans are equal."""
    with scripted() as model:
        notes: list[Any] = []
        expected = asyncio.run(plainly(TALKS[name](model, notes)))
        asked = sent(model)
    plain_tree = tree_of(exporter, name)
    with scripted() as model:
        seen: list[Any] = []
        noted: list[Any] = []
        asyncio.run(in_two_lives(TALKS[name](model, noted), place, seen))
        assert sent(model) == asked
    assert seen == [expected, expected]
    assert noted == notes
    assert tree_of(exporter, name) == plain_tree


def in_a_workflow(body: Any, **options: Any) -> Any:
    """Run *body* as a workflow on an engine of its own."""
    return asyncio.run(workflow(**options)(body)() if options else workflow(body)())


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("text", object(), "object"), (3, 1, "key of type int"), ("text", float("nan"), "nan")],
)
def test_state_that_json_cannot_hold_is_refused_at_once(model, key, value, words):
    """The run ends with a sentence before the model is asked."""

    class Odd(Interceptor):
        async def intercept(self, phase, context):
            context.state[key] = value

    agent = model.agent(interceptors=[Odd()])

    async def asking(ctx):
        with pytest.raises(CodecError, match=words):
            await ctx.agent(agent, "Where is it?")

    in_a_workflow(asking)
    assert sent(model) == []


def test_state_is_seen_at_once_as_it_will_be_found_again(model):
    """A tuple is a list in the next phase, in the first life, too."""
    found = []

    class Tuples(Interceptor):
        async def intercept(self, phase, context):
            found.append(context.state.setdefault("numbers", (1, 2)))

    model.says("Here.")
    agent = model.agent(interceptors=[Tuples()])
    in_a_workflow(lambda_of(agent))
    assert found == [(1, 2), [1, 2], [1, 2], [1, 2]]


def lambda_of(agent: otelier.Agent) -> Any:
    """A body that runs an agent and gives its output."""

    async def asking(ctx):
        return (await ctx.agent(agent, "Where is it?")).output

    return asking


def test_an_agent_stands_in_the_body(model):
    """In a step, or in another task, it would have no numbers of its own: that is refused, as what is no agent is."""
    agent = model.agent()

    async def asking(ctx):
        async def inside():
            return await ctx.agent(agent, "Where is it?")

        with pytest.raises(WorkflowUseError, match=r"ctx.agent\('triage'\) stands inside a step"):
            await ctx.step("inside", inside)
        with pytest.raises(WorkflowUseError, match="another task"):
            await asyncio.gather(ctx.agent(agent, "Where is it?"))
        with pytest.raises(TypeError, match="was given a str"):
            await ctx.agent("triage", "Where is it?")

    in_a_workflow(asking)
    assert sent(model) == []


def test_steps_are_named_in_the_order_of_the_answer(model, otelier_spans):
    """Calls of one answer have their numbers before any runs; an agent's span hangs between run and steps."""
    notes: list[Any] = []
    model.says([("weigh", {"number": 1}), ("find", {"number": 2}), ("find", {"number": 3}), ("no_tool", {})], "Done.")
    model.says("Again.")
    agent = model.agent(*tools_of(notes))

    async def asking(ctx):
        await ctx.agent(agent, "Where is it?")
        await ctx.agent(agent, "And now?")

    in_a_workflow(asking)
    steps = [span for span in otelier_spans.spans if span.name.startswith("run_step")]
    in_order = sorted(steps, key=lambda span: span.start_time or 0)
    names = [span.name.removeprefix("run_step ") for span in in_order]
    assert names[:1] + sorted(names[1:5]) + names[5:] == [
        "think", "find", "find#2", "unknown", "weigh", "think#2", "think#3"
    ]  # fmt: skip
    by_id = {span.context.span_id: span for span in otelier_spans.spans}
    above = {(by_id[span.parent.span_id].name, span.name) for span in otelier_spans.spans if span.parent}
    assert above == {
        ("invoke_workflow asking", "invoke_agent triage"),
        *(("invoke_agent triage", span.name) for span in steps),
        *((f"run_step {name}", "chat gpt-4.1") for name in ("think", "think#2", "think#3")),
        *((f"run_step {name}", "execute_tool find") for name in ("find", "find#2")),
        ("run_step weigh", "execute_tool weigh"),
        ("run_step unknown", "execute_tool unknown"),
    }
    assert [span.name for span in otelier_spans.spans].count("invoke_agent triage") == 2


def test_a_time_limit_of_the_handler_ends_an_agent(model, otelier_spans):
    """Its tool is cancelled, which is no failure of the tool, and no interceptor is asked about it."""
    notes: list[Any] = []
    model.says([("waits", {}), ("find", {"number": 1})])
    agent = model.agent(*tools_of(notes), interceptors=[Watch(notes)])

    async def asking(ctx):
        await ctx.agent(agent, "Where is it?")

    with pytest.raises(TimeoutError, match="asking took longer than 1 s"):
        in_a_workflow(asking, timeout_s=1)
    phases = [note[0] for note in notes if note[0] != "find"]
    assert phases == ["pre_run", "pre_think", "post_think", "pre_act", "pre_act", "post_act"]
    assert [log for log in otelier_spans.logs if log.event_name != "otelier.agent.registered"] == []


def test_a_cancelled_run_ends_its_agent(model, otelier_spans):
    """Its tool is cancelled, and the spans of agent and tool have ended."""
    notes: list[Any] = []
    model.says([("waits", {})])
    agent = model.agent(*tools_of(notes), interceptors=[Watch(notes)])

    @workflow
    async def asking(ctx):
        await ctx.agent(agent, "Where is it?")

    async def main():
        async with Worker("desk", modules=[asking], engine=LocalEngine()) as worker:
            handle = await worker.start(asking, workflow_id="r-1")
            await until(lambda: any(note[0] == "pre_act" for note in notes))
            await worker.engine.cancel("r-1")
            with pytest.raises(StepError):
                await handle.result()

    asyncio.run(main())
    assert [note[0] for note in notes] == ["pre_run", "pre_think", "post_think", "pre_act"]
    assert [log for log in otelier_spans.logs if log.event_name != "otelier.agent.registered"] == []
    assert {"invoke_agent triage", "execute_tool waits"} <= {span.name for span in otelier_spans.spans}


def test_an_agent_goes_on_in_another_worker(model, exporter, tmp_path):
    """A worker that leaves in the midst of a call parks the run; the next repeats the call, and asks nothing again."""
    called: list[str] = []

    @otelier.tool
    async def slow() -> str:
        """Wait, the first time."""
        called.append("slow")
        if len(called) == 1:
            await asyncio.Event().wait()
        return "at last"

    model.says([("slow", {})], "Done.")
    agent = model.agent(slow)

    @workflow
    async def asking(ctx):
        return (await ctx.agent(agent, "Where is it?")).output

    async def main():
        for life in (1, 2):
            engine = LocalEngine(str(tmp_path / "runs.db"), options=Options(stop_s=0.1))
            async with Worker("desk", modules=[asking], engine=engine) as worker:
                handle = await worker.start(asking, workflow_id="r-1")
                await until(lambda life=life: len(called) == life)
                if life == 2:
                    assert await handle.result() == "Done."
            await engine.close()

    asyncio.run(main())
    assert len(sent(model)) == 2
    names = [span.name for span in exporter.get_finished_spans()]
    assert sorted(name for name in names if name.startswith(("invoke", "run_step"))) == [
        "invoke_agent triage", "invoke_workflow asking", "run_step slow", "run_step think", "run_step think#2"
    ]  # fmt: skip
