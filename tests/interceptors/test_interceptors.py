"""Interceptors: every phase, every field of their answers, stops, errors and state."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import anyio
import openai
import pytest

from otelier import tool
from otelier.agents._conversation import NOT_MADE
from otelier.errors import ToolError
from otelier.interceptors import InterceptContext, Interceptor, InterceptResult, Phase, StopExecution


class At(Interceptor):
    """Answers at one phase, and notes all of them."""

    def __init__(self, phase: Phase | None = None, answer: Callable[[InterceptContext], Any] | None = None) -> None:
        self.phase, self.answer = phase, answer
        self.seen: list[InterceptContext] = []

    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult | None:
        assert phase is context.phase
        self.seen.append(context)
        return self.answer(context) if phase is self.phase and self.answer else None

    @property
    def phases(self) -> list[str]:
        return [context.phase.value for context in self.seen]


def always(result: InterceptResult) -> Callable[[InterceptContext], InterceptResult]:
    return lambda context: result


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def test_phases_of_a_run_with_two_calls(model, finish):
    """POST_THINK comes before the PRE_ACT of its calls; PRE_ACT and POST_ACT come once for each."""
    notes = At()
    model.says([("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})], "Done.")
    finish(model.agent(add, interceptors=[notes]), "Go")
    assert notes.phases[:3] == ["pre_run", "pre_think", "post_think"]
    assert sorted(notes.phases[3:7]) == ["post_act", "post_act", "pre_act", "pre_act"]
    assert notes.phases[7:] == ["pre_think", "post_think", "post_run"]
    last = notes.seen[-1]
    assert (last.output, last.model_calls, last.tool_calls, last.input_tokens) == ("Done.", 2, 2, 20)
    acted = {(one.phase.value, one.tool_args["a"], one.tool_result) for one in notes.seen if one.tool_name}
    assert acted == {("pre_act", 1, None), ("pre_act", 3, None), ("post_act", 1, "3"), ("post_act", 3, "7")}


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ON_ERROR])
@pytest.mark.parametrize("raised", [False, True])
def test_a_stop_ends_the_run_with_its_response(model, finish, otelier_spans, phase, raised):
    """From any phase, by an answer or by `StopExecution`; the span says where and why, and is no error."""

    def stop(context):
        if raised:
            raise StopExecution("Stopped.", reason="quota")
        return InterceptResult.stop("Stopped.", reason="quota")

    first, second = At(phase, stop), At()
    model.says([("add", {"a": 1, "b": 2})], "Done.")
    assert finish(model.agent(add, interceptors=[first, second]), "Go").output == "Stopped."
    span = otelier_spans.find("invoke_agent triage")
    assert span.attributes["otelier.agent.stop.phase"] == phase.value
    assert span.attributes["otelier.agent.stop.reason"] == "quota"
    assert span.status.is_ok
    assert phase.value not in second.phases
    assert first.phases[-1] == "post_run"


def test_messages_prompt_model_and_tools_are_modified(model, finish):
    """What the model is sent is what the interceptors left of it."""

    def no_secrets(context):
        clean = [{**one, "content": str(one["content"]).replace("hunter2", "***")} for one in context.messages]
        return InterceptResult.modify_messages(clean)

    interceptors = [
        At(Phase.PRE_THINK, no_secrets),
        At(Phase.PRE_RUN, always(InterceptResult.modify_prompt("Be brief."))),
        At(Phase.PRE_THINK, always(InterceptResult.use_model("gpt-4.1-mini"))),
        At(Phase.PRE_THINK, always(InterceptResult.modify_tools([]))),
    ]
    agent = model.agent(add, instructions="Be long.", interceptors=interceptors)
    finish(agent, "My password is hunter2")
    (request,) = model.server.requests
    assert (request.model, request.instructions, request.prompt) == (
        "gpt-4.1-mini", "Be brief.", "My password is ***",
    )  # fmt: skip
    assert "tools" not in request.body


def test_a_modified_question_holds_for_one_question_only(model, finish):
    """Model and tools of PRE_THINK are those of this question; those of PRE_RUN are the run's."""
    once = At(Phase.PRE_THINK, lambda one: InterceptResult.use_model("gpt-4.1-mini") if not one.model_calls else None)
    model.says([("add", {"a": 1, "b": 1})], "Done.")
    finish(model.agent(add, interceptors=[once]), "Go")
    assert [request.model for request in model.server.requests] == ["gpt-4.1-mini", "gpt-4.1"]


def test_an_answer_is_modified(model, finish):
    """POST_THINK may replace what the model said, also as the output."""

    def mask(context):
        return InterceptResult.modify_messages([*context.messages[:-1], {"role": "assistant", "content": "Masked."}])

    model.says("The key is 7.")
    assert finish(model.agent(interceptors=[At(Phase.POST_THINK, mask)]), "Key?").output == "Masked."


def test_a_reason_that_is_no_text(model, finish, otelier_spans):
    """Such as a number or the member of an enum: it is told as text."""
    stop = At(Phase.PRE_RUN, always(InterceptResult.stop("No.", reason=404)))
    assert finish(model.agent(interceptors=[stop]), "Go").output == "No."
    assert otelier_spans.find("invoke_agent triage").attributes["otelier.agent.stop.reason"] == "404"


@pytest.mark.parametrize("arguments", [{"a": 5, "b": 5}, {}])
def test_arguments_are_modified(model, finish, arguments):
    """Also to none at all."""
    interceptor = At(Phase.PRE_ACT, always(InterceptResult.modify_args(arguments)))
    model.says([("add", {"a": 1, "b": 2})], "Done.")
    result = finish(model.agent(add, interceptors=[interceptor]), "Go")
    assert result.tool_calls[0].arguments == arguments
    assert model.told()[0].startswith("10" if arguments else "Error: ToolArgumentsError: The arguments of tool 'add'")


def test_a_call_is_skipped_and_a_result_replaced(model, finish, otelier_spans):
    """The model is told the interceptor's words; a call that was not made has no span."""
    skip = At(Phase.PRE_ACT, lambda one: InterceptResult.skip("Not today.") if one.tool_args["a"] == 1 else None)
    change = At(Phase.POST_ACT, lambda one: InterceptResult.modify_result("?") if one.tool_args["a"] == 3 else None)
    model.says([("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})], "Done.")
    finish(model.agent(add, interceptors=[skip, change]), "Go")
    assert model.told() == ["Not today.", "?"]
    assert [span.name for span in otelier_spans.records].count("execute_tool add") == 1


def test_an_error_of_the_model_is_asked_about(model, finish, otelier_spans):
    """ON_ERROR sees it once; a model to ask instead makes the run go on, a stop ends it well."""
    notes = At()
    model.server.fail(400)
    with pytest.raises(openai.BadRequestError):
        finish(model.agent(interceptors=[notes]), "Hello")
    assert notes.phases == ["pre_run", "pre_think", "on_error"]
    assert isinstance(notes.seen[-1].error, openai.BadRequestError)

    model.server.fail(400)
    over = At(Phase.ON_ERROR, always(InterceptResult.use_model("gpt-4.1-mini")))
    assert finish(model.agent(interceptors=[over]), "Hello").output
    assert model.server.requests[-1].model == "gpt-4.1-mini"

    model.server.fail(400)
    stop = At(Phase.ON_ERROR, always(InterceptResult.stop("Sorry.")))
    assert finish(model.agent(interceptors=[stop]), "Hello").output == "Sorry."


def test_a_tools_error_is_shown_and_ends_nothing(model, finish):
    """POST_ACT sees what the tool raised; ON_ERROR is for what ends the run."""

    @tool
    def fails() -> str:
        raise KeyError("x")

    notes = At()
    model.says([("fails", {})], "Done.")
    assert finish(model.agent(fails, interceptors=[notes]), "Go").output == "Done."
    assert "on_error" not in notes.phases
    assert [type(one.error) for one in notes.seen if one.phase is Phase.POST_ACT] == [KeyError]


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ON_ERROR])
def test_an_interceptor_that_raises_ends_the_run(model, finish, otelier_spans, phase):
    """Its exception passes unchanged, and the others are asked about it."""

    def fail(context):
        raise ZeroDivisionError

    notes = At()
    model.says([("add", {"a": 1, "b": 2})], "Done.")
    with pytest.raises(ZeroDivisionError):
        finish(model.agent(add, interceptors=[At(phase, fail), notes]), "Go")
    assert otelier_spans.find("invoke_agent triage").attributes["error.type"] == "ZeroDivisionError"
    assert notes.phases.count("on_error") == 1
    assert otelier_spans.open_spans == ()


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("streams", [False, True])
def test_an_interceptor_that_exits_ends_the_run_and_not_the_loop(model, otelier_spans, phase, streams):
    """Whoever waits for the run may catch the `SystemExit`, at each phase, and the loop goes on."""

    async def drained(events):
        async for _ in events:
            pass

    async def main():
        agent = model.agent(add, interceptors=[At(phase, lambda context: sys.exit(3))])
        with pytest.raises(SystemExit, match="3"):
            await (drained(agent.stream("Go")) if streams else agent.run("Go"))
        await asyncio.sleep(0)
        return "went on"

    model.says([("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})])
    if phase is Phase.ON_ERROR:
        model.server.fail(400)
    else:
        model.says("Done.")
    assert asyncio.run(main()) == "went on"
    assert otelier_spans.find("invoke_agent triage").attributes["error.type"] == "SystemExit"
    assert otelier_spans.open_spans == ()


@pytest.mark.parametrize("way", ["subagent", "plain tool", "async tool"])
def test_an_exit_in_a_delegated_run_is_a_failed_call(model, finish, way):
    """The model of the run around it is told, and that run goes on."""
    specialist = model.agent(name="specialist", interceptors=[At(Phase.PRE_THINK, lambda context: sys.exit(3))])

    @tool(name="specialist")
    def plainly(task: str) -> str:
        return specialist.run(task).output

    @tool(name="specialist")
    async def later(task: str) -> str:
        return (await specialist.run(task)).output

    agents = {
        "subagent": model.agent(subagents=[specialist]),
        "plain tool": model.agent(plainly),
        "async tool": model.agent(later),
    }
    model.says([("specialist", {"task": "t"})], "Done.")
    assert finish(agents[way], "Go").tool_calls[0].result == "Error: SystemExit: 3"


def test_an_answer_of_another_kind_is_a_clear_error(model):
    """It names the interceptor."""
    with pytest.raises(TypeError, match=r"At\.intercept returned bool"):
        model.agent(interceptors=[At(Phase.PRE_RUN, always(True))]).run("Hello").wait()


def test_plain_methods_may_answer_too(model, finish):
    """An interceptor that awaits nothing need not be `async`."""

    class Plain(Interceptor):
        def intercept(self, phase, context):
            return InterceptResult.stop("No.")

    assert finish(model.agent(interceptors=[Plain()]), "Hello").output == "No."


def test_state_is_of_one_run(model):
    """What interceptors keep in `state` is there in the next phase, and in no other run, also at once."""

    def count(context):
        context.state["asked"] = context.state.get("asked", 0) + 1
        return InterceptResult.ok(**{context.task: True})

    def check(context):
        return InterceptResult.stop(f"{context.state['asked']} {context.state[context.task]} {len(context.state)}")

    agent = model.agent(add, interceptors=[At(Phase.PRE_THINK, count), At(Phase.POST_RUN, check)])
    model.server.reply(tool_calls=[("add", {"a": 1, "b": 2})], when=lambda one: not one.answers_tool, times=None)

    async def main():
        return await asyncio.gather(*(agent.run(f"task {number}") for number in range(20)))

    assert {result.output for result in asyncio.run(main())} == {"2 True 2"}


def test_the_context_it_is_shown_is_its_own(model, finish):
    """Messages and arguments refuse to be changed in place, at any depth, and the error says what to do instead."""

    def spoil(context):
        with pytest.raises(TypeError, match="modify_messages"):
            context.messages[0].update(content="x")
        for call in context.messages[-1].get("tool_calls", ()):
            with pytest.raises(TypeError, match="modify_messages"):
                call["function"]["arguments"] = "{}"
        if context.tool_args:
            with pytest.raises(TypeError, match="modify_args"):
                context.tool_args.clear()
            with pytest.raises(TypeError, match="modify_args"):
                context.tool_args["b"].append(3)

    @tool
    def total(a: int, b: list[int]) -> int:
        return a + sum(b)

    model.says([("total", {"a": 1, "b": [2]})], "Done.")
    result = finish(model.agent(total, interceptors=[At(phase, spoil) for phase in Phase]), "Go")
    assert (len(result.messages), result.tool_calls[0].result) == (4, "3")


def test_what_it_is_shown_is_made_once(model, finish):
    """Six interceptors at each phase read the same messages and arguments, not a copy each."""
    notes = [At() for _ in range(6)]
    model.says([("add", {"a": 1, "b": 2})], "Done.")
    finish(model.agent(add, interceptors=notes), "Go")
    for seen in zip(*(one.seen for one in notes)):
        assert len({id(context.messages) for context in seen}) == 1
        assert len({id(context.tool_args) for context in seen}) == 1
    assert len({id(context.messages[0]) for context in notes[0].seen}) == 1


def test_changed_arguments_are_the_tools_own(model, finish):
    """Parts of the read-only arguments that go into changed ones reach the tool as plain dicts and lists."""
    kinds: list[type] = []

    @tool
    def keep(items: Any) -> str:
        kinds.extend((type(items), type(items["a"])))
        return "kept"

    change = At(Phase.PRE_ACT, lambda context: InterceptResult.modify_args(dict(context.tool_args)))
    model.says([("keep", {"items": {"a": [1]}})], "Done.")
    finish(model.agent(keep, interceptors=[change]), "Go")
    assert kinds == [dict, list]


def test_phases_with_a_subagent(model, finish):
    """Each run asks its own agent's interceptors, at the phases of any run; state is not shared."""
    outer, inner = At(), At()
    specialist = model.agent(add, name="specialist", interceptors=[inner])
    model.says([("specialist", {"task": "Add."})], [("add", {"a": 1, "b": 2})], "Three.", "Done.")
    finish(model.agent(subagents=[specialist], interceptors=[outer]), "Go")
    whole = [
        "pre_run", "pre_think", "post_think", "pre_act", "post_act", "pre_think", "post_think", "post_run",
    ]  # fmt: skip
    assert outer.phases == inner.phases == whole
    assert {one.agent.name for one in outer.seen} == {"triage"}
    assert {one.agent.name for one in inner.seen} == {"specialist"}
    assert {id(one.state) for one in outer.seen}.isdisjoint({id(one.state) for one in inner.seen})
    assert (inner.seen[0].task, inner.seen[0].run_context.query) == ("Add.", "Go")


def test_interceptors_are_asked_in_order(model, finish):
    """The next one sees what those before it changed, until one stops the run."""
    first = At(Phase.PRE_THINK, always(InterceptResult.modify_prompt("First.")))
    second = At(Phase.PRE_THINK, lambda one: InterceptResult.modify_prompt(one.messages[0]["content"] + " Second."))
    third = At(Phase.PRE_THINK, always(InterceptResult.stop("Enough.")))
    last = At()
    result = finish(model.agent(interceptors=[first, second, third, last]), "Go")
    assert (result.output, result.messages[0]["content"]) == ("Enough.", "First. Second.")
    assert last.phases == ["pre_run", "post_run"]


def test_tools_and_model_of_the_whole_run(model, finish):
    """Those of PRE_RUN hold for every question, and for what the model may call."""

    @tool
    def delete() -> str:
        raise AssertionError("called")

    interceptors = [
        At(Phase.PRE_RUN, always(InterceptResult.modify_tools(["add"]))),
        At(Phase.PRE_RUN, always(InterceptResult.use_model("gpt-4.1-mini"))),
    ]
    model.says([("add", {"a": 1, "b": 2}), ("delete", {})], "Done.")
    result = finish(model.agent(add, delete, interceptors=interceptors), "Go")
    assert result.tool_calls[0].result == "3"
    assert "only 'add'" in result.tool_calls[1].result
    for request in model.server.requests:
        assert request.model == "gpt-4.1-mini"
        assert [one["function"]["name"] for one in request.body["tools"]] == ["add"]


@pytest.mark.parametrize("phase", [Phase.PRE_RUN, Phase.PRE_THINK])
def test_tools_are_chosen_by_name_or_as_tools(model, finish, phase):
    """A tool itself means its name."""

    @tool
    def delete() -> str:
        raise AssertionError("called")

    model.says("Done.")
    finish(model.agent(add, delete, interceptors=[At(phase, always(InterceptResult.modify_tools([add])))]), "Go")
    assert [one["function"]["name"] for one in model.server.requests[0].body["tools"]] == ["add"]


@pytest.mark.parametrize("phase", [Phase.PRE_RUN, Phase.PRE_THINK])
def test_a_tool_that_the_agent_does_not_have_ends_the_run(model, finish, phase):
    """A misspelt name would else leave the run without its tool, and nobody would know why."""
    choose = At(phase, always(InterceptResult.modify_tools(["add", "unheard-of"])))
    with pytest.raises(ToolError, match="'unheard-of': agent 'triage' has no such tool, only 'add'"):
        finish(model.agent(add, interceptors=[choose]), "Go")
    assert not model.server.requests


@pytest.mark.parametrize("odd", ["add", None, 3, [add, 3], [print], [...], {"add": add}], ids=repr)
def test_neither_names_nor_tools(odd):
    """What cannot choose tools is refused where the answer is made, by the method and by the field."""
    with pytest.raises(TypeError, match="Cannot offer a"):
        InterceptResult.modify_tools(odd)
    if odd is not None:
        with pytest.raises(TypeError, match="Cannot offer a"):
            InterceptResult(modified_tools=odd)


def test_what_is_for_another_phase_changes_nothing(model, finish):
    """Arguments, results, skips and models outside of their phases are no error and have no effect."""
    everything = InterceptResult(
        skip_action=True, modified_tool_args={"a": 9, "b": 9}, modified_tool_result="?", modified_model="other"
    )
    odd = [At(phase, always(everything)) for phase in (Phase.POST_THINK, Phase.POST_RUN)]
    model.says([("add", {"a": 1, "b": 2})], "Done.")
    assert finish(model.agent(add, interceptors=odd), "Go").tool_calls[0].result == "3"
    assert {request.model for request in model.server.requests} == {"gpt-4.1"}


@pytest.mark.parametrize("way", ["tool", "interceptor"])
def test_a_stop_in_a_subagent_ends_that_run_only(model, finish, otelier_spans, way):
    """Its response is the delegation's result; the run around it goes on."""

    @tool
    def stops() -> str:
        raise StopExecution("No more.", reason="quota")

    stop = At(Phase.PRE_ACT, always(InterceptResult.stop("No more.", reason="quota")))
    specialist = model.agent(stops, name="specialist", interceptors=[stop] if way == "interceptor" else [])
    model.says([("specialist", {"task": "t"})], [("stops", {})], "Done.")
    result = finish(model.agent(subagents=[specialist]), "Go")
    assert (result.output, result.tool_calls[0].result) == ("Done.", "No more.")
    inner = otelier_spans.find("invoke_agent specialist")
    assert inner.attributes["otelier.agent.stop.reason"] == "quota"
    assert "otelier.agent.stop.reason" not in otelier_spans.find("invoke_agent triage").attributes
    assert all(span.status.is_ok for span in otelier_spans.spans)


def test_a_stop_out_of_a_tool_that_delegates_ends_the_run_around_it(model, finish, otelier_spans):
    """A plain tool that raises it after its subagent's run stops its own."""
    specialist = model.agent(name="specialist")

    @tool
    def ask() -> str:
        raise StopExecution(specialist.run("t").output)

    model.says([("ask", {})], "Inner.")
    assert finish(model.agent(ask), "Go").output == "Inner."
    assert otelier_spans.find("invoke_agent triage").attributes["otelier.agent.stop.phase"] == "act"
    assert otelier_spans.find("execute_tool ask").status.is_ok


@pytest.mark.parametrize("way", ["tool", "interceptor"])
def test_a_stop_in_a_task_group_is_a_stop(model, finish, otelier_spans, way):
    """A task group raises what its tasks raised in a group; the stop in it ends the run all the same."""

    async def stop():
        raise StopExecution("No more.", reason="quota")

    async def fail():
        raise ConnectionError("gone")

    @tool
    async def searches() -> str:
        async with anyio.create_task_group() as outer, anyio.create_task_group() as inner:
            outer.start_soon(fail)
            inner.start_soon(stop)
        return "found"

    class Searches(Interceptor):
        async def intercept(self, phase, context):
            if phase is Phase.PRE_ACT and way == "interceptor":
                await searches()

    model.says([("searches", {})])
    agent = model.agent(searches, interceptors=[Searches()])
    assert finish(agent, "Go").output == "No more."
    span = otelier_spans.find("invoke_agent triage")
    assert span.attributes["otelier.agent.stop.reason"] == "quota"
    assert span.attributes["otelier.agent.stop.phase"] == ("act" if way == "tool" else "pre_act")
    assert all(span.status.is_ok for span in otelier_spans.spans)


def test_a_stop_below_the_client_is_a_stop(model, finish, otelier_spans):
    """Also out of the client's own code it is no error of the model's: ON_ERROR is not asked."""

    class Client:
        class chat:
            class completions:
                @staticmethod
                def create(**arguments):
                    raise StopExecution("Closed.")

    notes = At()
    assert finish(model.agent(client=Client, interceptors=[notes]), "Go").output == "Closed."
    assert notes.phases == ["pre_run", "pre_think", "post_run"]
    assert otelier_spans.find("invoke_agent triage").status.is_ok


def test_an_interceptor_that_fails_at_an_error(model, finish, otelier_spans):
    """It is asked once; its own error is the run's, with the first one as its context."""
    asked = []

    def fail(context):
        asked.append(context.error)
        raise ZeroDivisionError

    model.server.fail(400)
    with pytest.raises(ZeroDivisionError) as caught:
        finish(model.agent(interceptors=[At(Phase.ON_ERROR, fail)]), "Go")
    assert [type(one) for one in asked] == [openai.BadRequestError]
    assert caught.value.__context__ is asked[0]
    assert otelier_spans.find("invoke_agent triage").attributes["error.type"] == "ZeroDivisionError"


@pytest.mark.parametrize("phase", [Phase.PRE_ACT, Phase.POST_ACT])
def test_an_interceptor_that_raises_about_one_call_ends_the_others(model, finish, otelier_spans, phase):
    """Calls under way beside it are cancelled, in subagents too, and no span stays open."""
    begun = threading.Event()

    @tool
    async def waits() -> str:
        begun.set()
        await asyncio.Event().wait()
        return ""

    async def fail(phase_now, context):
        if phase_now is phase and context.tool_name == "add":
            await asyncio.to_thread(begun.wait)
            raise ZeroDivisionError

    breaks = Interceptor()
    breaks.intercept = fail
    specialist = model.agent(waits, name="specialist")
    model.server.reply(tool_calls=[("add", {"a": 1, "b": 2}), ("specialist", {"task": "t"})])
    model.server.reply(tool_calls=[("waits", {})])
    with pytest.raises(ZeroDivisionError):
        finish(model.agent(add, subagents=[specialist], interceptors=[breaks]), "Go")
    assert otelier_spans.open_spans == ()
    cancelled = otelier_spans.find("invoke_agent specialist")
    assert cancelled.attributes["otelier.cancelled"] is True
    assert otelier_spans.find("invoke_agent triage").attributes["error.type"] == "ZeroDivisionError"


def test_an_error_in_a_subagent_is_asked_about_there_and_told_to_the_model(model, finish):
    """ON_ERROR comes in the run that fails; for the run around it the delegation is a tool that failed."""
    outer, inner = At(), At()
    specialist = model.agent(name="specialist", interceptors=[inner])
    model.says([("specialist", {"task": "t"})])
    model.server.fail(400)
    model.says("Done.")
    assert finish(model.agent(subagents=[specialist], interceptors=[outer]), "Go").output == "Done."
    assert inner.phases == ["pre_run", "pre_think", "on_error"]
    assert "on_error" not in outer.phases
    (acted,) = [one for one in outer.seen if one.phase is Phase.POST_ACT]
    assert isinstance(acted.error, openai.BadRequestError)


def test_an_interceptor_that_overrides_nothing(model, finish):
    """The base class lets every phase go on."""
    model.says("Done.")
    assert finish(model.agent(interceptors=[Interceptor()]), "Go").output == "Done."


def test_a_stop_at_an_error(model, finish):
    """A run that would end with an error ends with the response of an interceptor that stops it there."""

    def stop(context):
        raise StopExecution("Try again later.")

    model.server.fail(400)
    assert finish(model.agent(interceptors=[At(Phase.ON_ERROR, stop)]), "Go").output == "Try again later."


def test_what_it_is_shown_can_be_stored(model, finish):
    """Messages that are copied or pickled are plain ones, which may be changed."""
    stored = []

    def store(context):
        stored.append(pickle.loads(pickle.dumps(context.messages)))
        stored.append(copy.deepcopy(context.messages))

    model.says([("unknown", {})], "Done.")
    finish(model.agent(interceptors=[At(Phase.PRE_THINK, store)]), "Go")
    assert {type(message) for one in stored for message in one} == {dict}
    (call,) = stored[-1][1]["tool_calls"]
    call["function"]["name"] = "mine"
    stored[-1][1]["tool_calls"].append(call)
    assert stored[0] == ({"role": "user", "content": "Go"},)


def test_a_call_that_is_skipped_without_a_word(model, finish):
    """The model is told of a call that an interceptor skipped, also where it gave no result."""
    made = []

    @tool
    def search() -> str:
        made.append(True)
        return "found"

    model.says([("search", {})], "Done.")
    finish(model.agent(search, interceptors=[At(Phase.PRE_ACT, lambda _: InterceptResult.skip())]), "Go")
    assert (made, model.told()) == ([], [NOT_MADE])
