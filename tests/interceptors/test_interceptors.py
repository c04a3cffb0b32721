"""Interceptors: every phase, every field of their answers, stops, errors and state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import openai
import pytest

from otelier import tool
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


def test_phases_of_a_run_with_two_calls(model):
    """POST_THINK comes before the PRE_ACT of its calls; PRE_ACT and POST_ACT come once for each."""
    notes = At()
    model.says([("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})], "Done.")
    model.agent(add, interceptors=[notes]).run("Go").wait()
    assert notes.phases[:3] == ["pre_run", "pre_think", "post_think"]
    assert sorted(notes.phases[3:7]) == ["post_act", "post_act", "pre_act", "pre_act"]
    assert notes.phases[7:] == ["pre_think", "post_think", "post_run"]
    last = notes.seen[-1]
    assert (last.output, last.model_calls, last.tool_calls, last.input_tokens) == ("Done.", 2, 2, 20)
    acted = {(one.phase.value, one.tool_args["a"], one.tool_result) for one in notes.seen if one.tool_name}
    assert acted == {("pre_act", 1, None), ("pre_act", 3, None), ("post_act", 1, "3"), ("post_act", 3, "7")}


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ON_ERROR])
@pytest.mark.parametrize("raised", [False, True])
def test_a_stop_ends_the_run_with_its_response(model, otelier_spans, phase, raised):
    """From any phase, by an answer or by `StopExecution`; the span says where and why, and is no error."""

    def stop(context):
        if raised:
            raise StopExecution("Stopped.", reason="quota")
        return InterceptResult.stop("Stopped.", reason="quota")

    first, second = At(phase, stop), At()
    model.says([("add", {"a": 1, "b": 2})], "Done.")
    assert model.agent(add, interceptors=[first, second]).run("Go").output == "Stopped."
    span = otelier_spans.find("invoke_agent triage")
    assert span.attributes["otelier.agent.stop.phase"] == phase.value
    assert span.attributes["otelier.agent.stop.reason"] == "quota"
    assert span.status.is_ok
    assert phase.value not in second.phases
    assert first.phases[-1] == "post_run"


def test_messages_prompt_model_and_tools_are_modified(model):
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
    agent.run("My password is hunter2").wait()
    (request,) = model.server.requests
    assert (request.model, request.instructions, request.prompt) == (
        "gpt-4.1-mini", "Be brief.", "My password is ***",
    )  # fmt: skip
    assert "tools" not in request.body


def test_a_modified_question_holds_for_one_question_only(model):
    """Model and tools of PRE_THINK are those of this question; those of PRE_RUN are the run's."""
    once = At(Phase.PRE_THINK, lambda one: InterceptResult.use_model("gpt-4.1-mini") if not one.model_calls else None)
    model.says([("add", {"a": 1, "b": 1})], "Done.")
    model.agent(add, interceptors=[once]).run("Go").wait()
    assert [request.model for request in model.server.requests] == ["gpt-4.1-mini", "gpt-4.1"]


def test_an_answer_is_modified(model):
    """POST_THINK may replace what the model said, also as the output."""

    def mask(context):
        return InterceptResult.modify_messages([*context.messages[:-1], {"role": "assistant", "content": "Masked."}])

    model.says("The key is 7.")
    assert model.agent(interceptors=[At(Phase.POST_THINK, mask)]).run("Key?").output == "Masked."


@pytest.mark.parametrize("arguments", [{"a": 5, "b": 5}, {}])
def test_arguments_are_modified(model, arguments):
    """Also to none at all."""
    interceptor = At(Phase.PRE_ACT, always(InterceptResult.modify_args(arguments)))
    model.says([("add", {"a": 1, "b": 2})], "Done.")
    result = model.agent(add, interceptors=[interceptor]).run("Go").wait()
    assert result.tool_calls[0].arguments == arguments
    assert model.told()[0].startswith("10" if arguments else "Error: ToolArgumentsError: The arguments of tool 'add'")


def test_a_call_is_skipped_and_a_result_replaced(model, otelier_spans):
    """The model is told the interceptor's words; a call that was not made has no span."""
    skip = At(Phase.PRE_ACT, lambda one: InterceptResult.skip("Not today.") if one.tool_args["a"] == 1 else None)
    change = At(Phase.POST_ACT, lambda one: InterceptResult.modify_result("?") if one.tool_args["a"] == 3 else None)
    model.says([("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})], "Done.")
    model.agent(add, interceptors=[skip, change]).run("Go").wait()
    assert model.told() == ["Not today.", "?"]
    assert [span.name for span in otelier_spans.records].count("execute_tool add") == 1


def test_an_error_of_the_model_is_asked_about(model, otelier_spans):
    """ON_ERROR sees it once; a model to ask instead makes the run go on, a stop ends it well."""
    notes = At()
    model.server.fail(400)
    with pytest.raises(openai.BadRequestError):
        model.agent(interceptors=[notes]).run("Hello").wait()
    assert notes.phases == ["pre_run", "pre_think", "on_error"]
    assert isinstance(notes.seen[-1].error, openai.BadRequestError)

    model.server.fail(400)
    over = At(Phase.ON_ERROR, always(InterceptResult.use_model("gpt-4.1-mini")))
    assert model.agent(interceptors=[over]).run("Hello").output
    assert model.server.requests[-1].model == "gpt-4.1-mini"

    model.server.fail(400)
    stop = At(Phase.ON_ERROR, always(InterceptResult.stop("Sorry.")))
    assert model.agent(interceptors=[stop]).run("Hello").output == "Sorry."


def test_a_tools_error_is_shown_and_ends_nothing(model):
    """POST_ACT sees what the tool raised; ON_ERROR is for what ends the run."""

    @tool
    def fails() -> str:
        raise KeyError("x")

    notes = At()
    model.says([("fails", {})], "Done.")
    assert model.agent(fails, interceptors=[notes]).run("Go").output == "Done."
    assert "on_error" not in notes.phases
    assert [type(one.error) for one in notes.seen if one.phase is Phase.POST_ACT] == [KeyError]


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.ON_ERROR])
def test_an_interceptor_that_raises_ends_the_run(model, otelier_spans, phase):
    """Its exception passes unchanged, and the others are asked about it."""

    def fail(context):
        raise ZeroDivisionError

    notes = At()
    model.says([("add", {"a": 1, "b": 2})], "Done.")
    with pytest.raises(ZeroDivisionError):
        model.agent(add, interceptors=[At(phase, fail), notes]).run("Go").wait()
    assert otelier_spans.find("invoke_agent triage").attributes["error.type"] == "ZeroDivisionError"
    assert ("on_error" in notes.phases) is (phase is not Phase.POST_RUN)


def test_an_answer_of_another_kind_is_a_clear_error(model):
    """It names the interceptor."""
    with pytest.raises(TypeError, match=r"At\.intercept returned bool"):
        model.agent(interceptors=[At(Phase.PRE_RUN, always(True))]).run("Hello").wait()


def test_plain_methods_may_answer_too(model):
    """An interceptor that awaits nothing need not be `async`."""

    class Plain(Interceptor):
        def intercept(self, phase, context):
            return InterceptResult.stop("No.")

    assert model.agent(interceptors=[Plain()]).run("Hello").output == "No."


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


def test_the_context_it_is_shown_is_a_copy(model):
    """Changing messages or arguments in place changes nothing: answers do."""

    def spoil(context):
        context.messages.clear()
        if context.tool_args:
            context.tool_args.clear()

    model.says([("add", {"a": 1, "b": 2})], "Done.")
    result = model.agent(add, interceptors=[At(phase, spoil) for phase in Phase]).run("Go").wait()
    assert (len(result.messages), result.tool_calls[0].result) == (4, "3")
