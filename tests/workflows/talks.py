"""Scripted conversations of agents, and what can be seen of a run: the same whether it is plain or durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

import otelier
from otelier.agents import AgentResult
from otelier.errors import StepError
from otelier.interceptors import (
    Budget,
    Failover,
    Interceptor,
    InterceptResult,
    MaskPersonalData,
    Phase,
    StopExecution,
)
from tests.scripted import Model

Talk = Callable[[Model, "list[Any]"], "dict[str, Any]"]
TALKS: dict[str, Talk] = {}
"""What makes an agent and the other arguments of its run, and scripts its model. It may note what happens."""


def talk(make: Talk) -> Talk:
    """Add a conversation."""
    TALKS[make.__name__] = make
    return make


class Watch(Interceptor):
    """Notes what an interceptor is shown, counts in `state`, and answers as it is told, by phase."""

    def __init__(self, notes: list[Any], **answers: Any) -> None:
        self.notes = notes
        self.answers = answers

    async def intercept(self, phase, context):
        """Note, and answer."""
        context.state[self] = context.state.get(self, 0) + 1
        context.state.setdefault("phases", []).append(phase.value)
        shown = [context.model, context.tools, context.model_calls, context.tool_calls, context.input_tokens]
        error = None if context.error is None else type(context.error).__name__
        more = [context.tool_name, context.tool_args, context.tool_result, error, len(context.messages)]
        self.notes.append([phase.value, *shown, *more, context.state[self], list(context.state["phases"])])
        answer = self.answers.get(phase.value)
        if isinstance(answer, Exception):
            raise answer
        return answer(context) if callable(answer) else answer


def tools_of(notes: list[Any]) -> list[Any]:
    """Tools of each kind: they note that they are called."""

    @otelier.tool
    async def find(number: int) -> dict[str, Any]:
        """Find a parcel."""
        notes.append(["find", number])
        return {"parcel": number, "in": "Italy"}

    @otelier.tool
    def weigh(number: int) -> str:
        """Weigh a parcel."""
        notes.append(["weigh", number])
        return f"{number} kg"

    @otelier.tool
    async def breaks(why: str = "") -> str:
        """Break."""
        raise KeyError(why)

    @otelier.tool(on_error=lambda error: f"handled {type(error).__name__}")
    async def handled() -> str:
        """Break, and handle it."""
        raise LookupError("inside")

    @otelier.tool
    def leaves() -> str:
        """Exit."""
        raise SystemExit(3)

    @otelier.tool
    async def stops() -> str:
        """Stop the run."""
        raise StopExecution("stopped by a tool", reason="enough")

    @otelier.tool
    async def waits() -> str:
        """Wait without end."""
        await asyncio.Event().wait()
        return ""

    return [find, weigh, breaks, handled, leaves, stops, waits]


class Place(BaseModel):
    """Where a parcel is."""

    country: str
    days: int


PLACE = Place(country="Italy", days=2)


@talk
def text(model, notes):
    model.says("It is in Italy.")
    return {"agent": model.agent(instructions="Help.")}


@talk
def history(model, notes):
    model.says("Again.")
    earlier = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    return {"agent": model.agent(), "messages": earlier, "settings": {"temperature": 0}, "context": {"plan": "pro"}}


@talk
def tools(model, notes):
    model.says([("find", {"number": 1})], [("weigh", {"number": 2}), ("find", {"number": 3})], "Done.")
    return {"agent": model.agent(*tools_of(notes), interceptors=[Watch(notes)])}


@talk
def tools_that_fail(model, notes):
    asked = [("breaks", {"why": "not there"}), ("handled", {}), ("leaves", {}), ("nothing", {}), ("find", {"no": 1})]
    model.says([("breaks", "{"), *asked], "Done.")
    return {"agent": model.agent(*tools_of(notes), interceptors=[Budget(max_tool_calls=50)])}


@talk
def one_at_a_time(model, notes):
    model.says([("weigh", {"number": number}) for number in range(5)], "Done.")
    return {"agent": model.agent(*tools_of(notes), max_parallel_tools=1)}


@talk
def stopped_by_a_tool(model, notes):
    model.says([("find", {"number": 1})], [("waits", {}), ("stops", {})])
    return {"agent": model.agent(*tools_of(notes), interceptors=[Watch(notes)])}


def stopped_at(phase: Phase) -> None:
    def make(model, notes):
        model.says([("find", {"number": 1})], "Done.")
        stop = InterceptResult.stop("stopped", reason="told")
        return {"agent": model.agent(*tools_of(notes), interceptors=[Watch(notes, **{phase.value: stop})])}

    make.__name__ = f"stopped_at_{phase.value}"
    talk(make)


def failed_at(phase: Phase) -> None:
    def make(model, notes):
        model.says([("find", {"number": 1})], "Done.")
        failing = Watch(notes, **{phase.value: ValueError("broken", phase.value)})
        return {"agent": model.agent(*tools_of(notes), interceptors=[Watch(notes), failing])}

    make.__name__ = f"failed_at_{phase.value}"
    talk(make)


for _phase in (Phase.PRE_RUN, Phase.PRE_THINK, Phase.POST_THINK, Phase.PRE_ACT, Phase.POST_ACT, Phase.POST_RUN):
    stopped_at(_phase)
    failed_at(_phase)


@talk
def stopped_with_an_output(model, notes):
    stop = InterceptResult.stop(PLACE)
    return {"agent": model.agent(interceptors=[Watch(notes, pre_think=stop)], output_type=Place)}


@talk
def changes(model, notes):
    def think(context):
        if context.model_calls:
            return InterceptResult(modified_messages=context.messages[:1], modified_model="gpt-4.1-mini")
        return InterceptResult(modified_prompt="Be brief.", modified_tools=["find"], metadata={"noted": (1, 2)})

    def act(context):
        return InterceptResult.modify_args({"number": 9})

    def answered(context):
        changed = {"role": "assistant", "content": "Changed."}
        return InterceptResult.modify_messages([*context.messages[:-1], changed]) if context.model_calls > 1 else None

    model.says([("find", {"number": 1})], "Done.")
    run = InterceptResult(modified_model="gpt-4.1-nano", modified_tools=["weigh", "find"])
    watch = Watch(notes, pre_run=run, pre_think=think, pre_act=act, post_think=answered)
    return {"agent": model.agent(*tools_of(notes), interceptors=[watch, Watch(notes)], instructions="Help.")}


@talk
def changes_beside_each_other(model, notes):
    def acted(context):
        told = {"role": "system", "content": f"{context.tool_name} is done."}
        return InterceptResult(modified_messages=[told, *context.messages], modified_tool_result="changed")

    model.says([("find", {"number": 1}), ("find", {"number": 2}), ("weigh", {"number": 3})], "Done.")
    return {"agent": model.agent(*tools_of(notes), interceptors=[Watch(notes, post_act=acted)], max_parallel_tools=1)}


@talk
def skipped(model, notes):
    model.says([("find", {"number": 1}), ("weigh", {"number": 1})], "Done.")
    skip = InterceptResult.skip("not now")
    return {"agent": model.agent(*tools_of(notes), interceptors=[Watch(notes, pre_act=skip), Watch(notes)])}


@talk
def masked(model, notes):
    model.says([("weigh", {"number": 2})], "Written to <EMAIL_1>.")
    agent = model.agent(*tools_of(notes), interceptors=[MaskPersonalData(), Watch(notes)])
    return {"agent": agent, "query": "Write to ada@example.org."}


@talk
def failed_over(model, notes):
    model.server.fail(500)
    model.server.fail(429)
    model.says([("find", {"number": 1})])
    model.server.fail(503)
    model.says("Done.")
    failover = Failover("gpt-4.1-mini", "gpt-4.1-nano")
    return {"agent": model.agent(*tools_of(notes), interceptors=[failover, Watch(notes)])}


@talk
def not_failed_over(model, notes):
    import openai

    model.server.fail(429)
    model.server.fail(400)
    failover = Failover("gpt-4.1-mini", "gpt-4.1-nano", on=(openai.RateLimitError,))
    return {"agent": model.agent(interceptors=[failover, Watch(notes)])}


@talk
def saved_from_an_error(model, notes):
    model.server.fail(500)
    stop = InterceptResult.stop("Sorry.", reason="error")
    return {"agent": model.agent(interceptors=[Watch(notes, on_error=stop)])}


@talk
def an_object(model, notes):
    model.says([("find", {"number": 1})], PLACE.model_dump_json())
    return {"agent": model.agent(*tools_of(notes), output_type=Place, interceptors=[Watch(notes)])}


@talk
def a_corrected_object(model, notes):
    model.says('{"country": "Italy"}', PLACE.model_dump_json())
    return {"agent": model.agent(output_type=Place)}


@talk
def no_object(model, notes):
    model.says('{"country": "Italy"}', "Italy")
    return {"agent": model.agent(output_type=Place, interceptors=[Watch(notes)])}


@talk
def a_refused_object(model, notes):
    message = {"role": "assistant", "refusal": "No."}
    model.server.reply(body={"id": "c", "model": "gpt-4.1", "choices": [{"index": 0, "message": message}]})
    return {"agent": model.agent(output_type=Place, interceptors=[Watch(notes)])}


@talk
def no_answer(model, notes):
    model.server.reply(body={})
    return {"agent": model.agent()}


@talk
def too_many_steps(model, notes):
    model.says(*[[("find", {"number": number})] for number in range(3)])
    return {"agent": model.agent(*tools_of(notes), max_steps=2, interceptors=[Watch(notes)])}


@talk
def too_many_calls(model, notes):
    model.says([("find", {"number": number}) for number in range(3)])
    return {"agent": model.agent(*tools_of(notes), max_calls_per_answer=2, interceptors=[Watch(notes)])}


@talk
def too_many_questions(model, notes):
    model.says([("find", {"number": 1})])
    return {"agent": model.agent(*tools_of(notes), max_model_calls=1, interceptors=[Watch(notes)])}


@talk
def delegated(model, notes):
    specialist = model.agent(*tools_of(notes), name="specialist", interceptors=[Watch(notes)])
    model.says([("specialist", {"task": "find it"})], [("find", {"number": 1})], "In Italy.", "It is in Italy.")
    return {"agent": model.agent(subagents=[specialist], interceptors=[Watch(notes)])}


@talk
def delegated_from_a_thread(model, notes):
    specialist = model.agent(*tools_of(notes), name="specialist")

    @otelier.tool
    def asks(ctx: otelier.RunContext) -> str:
        """Ask."""
        notes.append([ctx.query, ctx.get("plan")])
        return specialist.run("find it").output

    model.says([("asks", {})], [("find", {"number": 1})], "In Italy.", "It is in Italy.")
    return {"agent": model.agent(asks), "context": {"plan": "pro"}}


@talk
def delegated_beyond_a_limit(model, notes):
    specialist = model.agent(*tools_of(notes), name="specialist", max_steps=1)
    model.says([("specialist", {"task": "find it"})], [("find", {"number": 1})])
    return {"agent": model.agent(subagents=[specialist], interceptors=[Watch(notes)])}


def arguments(made: dict[str, Any]) -> tuple[Any, str, dict[str, Any]]:
    """Agent, query and the other arguments of a run."""
    rest = dict(made)
    return rest.pop("agent"), rest.pop("query", "Where is my parcel?"), rest


def seen_of(result: AgentResult[Any] | Exception, *, is_durable: bool) -> Any:
    """What a caller sees of the end of a run, as plain data."""
    if isinstance(result, Exception):
        told = type(result).__name__, str(result)
        if isinstance(result, StepError) and is_durable:
            told = result.type, result.message
        facts = {name: repr(getattr(result, name, None)) for name in ("limit", "problems", "answer")}
        return [told, facts, *_progress(result)]
    output = result.output
    shown = [type(output).__name__, output.model_dump() if isinstance(output, BaseModel) else output]
    return [shown, result.finish_reason, result.context.query, result.context.metadata, *_progress(result)]


def _progress(of: Any) -> list[Any]:
    calls = [
        [call.id, call.name, dict(call.arguments), call.result, type(call.error).__name__, str(call.error)]
        for call in of.tool_calls
    ]
    return [of.messages, repr(of.usage), calls]
