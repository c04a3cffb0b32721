"""The loop of a run: ask the model, call the tools it asks for, until it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

from otelier import llm
from otelier.agents._calls import in_a_task, make_call, result_of
from otelier.agents._results import TextDelta, ToolResult
from otelier.agents._run import Moment, Read, Run
from otelier.errors import AgentLimitError, AnswerError, RefusalError, UnfinishedAnswerError
from otelier.interceptors import Phase, StopExecution

_MAX_RETRIES: Final = 64
"""Most models that one question is asked of, after the first: an interceptor may name them without end."""
_CORRECTION: Final = "This does not match the required schema: {}. Answer again with only the JSON that matches it."


async def run_loop(run: Run) -> Any:
    """Run all phases and return the output.

    Raises:
        AgentLimitError: if the model asks for tools in more answers than the run may have.
        AnswerError: if the provider sends no answer, or the output is not what the agent promises.
        Exception: what the client, or an interceptor, raises, unchanged.
    """
    try:
        output = await _until_stopped(run)
    except Exception as exc:
        output = await _stopped_by(run, exc)
    try:
        await run.steps.ask(run, Phase.POST_RUN, Moment(output=output))
    except StopExecution as stop:
        return stop.response
    except Exception as exc:
        return await _stopped_by(run, exc)
    return output


async def _until_stopped(run: Run) -> Any:
    try:
        await run.steps.ask(run, Phase.PRE_RUN, Moment())
        while True:
            answer, fault = await _thought(run)
            if answer.tool_calls:
                _check_calls(run, answer.tool_calls)
                await run.steps.call(run, answer.tool_calls)
            elif fault is None:
                run.finish_reason = answer.finish_reason
                return answer.text or answer.refusal or "" if run.spec.output_type is None else answer.object
            elif run.correction_sent or not fault.problems:
                raise fault
            else:
                run.correction_sent = True
                run.conversation.add({"role": "user", "content": _CORRECTION.format("; ".join(fault.problems))})
    except StopExecution as stop:
        run.stopped = run.stopped or ("act", stop.reason)
        return stop.response


async def _stopped_by(run: Run, exc: Exception) -> Any:
    """Ask about an error that ends the run, once; a stop gives an output in its place."""
    if run.reported_error is not exc:
        try:
            await _ask_about_error(run, exc)
        except StopExecution as stop:
            return stop.response
    raise exc


async def _ask_about_error(run: Run, exc: Exception) -> str | None:
    """Ask the interceptors about an error; returns the model that one of them wants to ask instead."""
    run.reported_error = exc
    moment = Moment(error=exc)
    try:
        await run.steps.ask(run, Phase.ON_ERROR, moment)
    except StopExecution:
        raise
    except Exception as fault:
        run.reported_error = fault  # an interceptor that fails at this is not asked about its own failure
        raise
    return moment.retry_model


async def _thought(run: Run) -> Read:
    """Ask the model, and after an error the models that interceptors name; returns the answer."""
    most = run.spec.limits.max_steps
    if run.answers >= most:
        raise AgentLimitError(
            f"Agent {run.spec.name!r} gave {run.answers} answers and still asks for tools: a run ends after "
            f"`max_steps={most}`. Raise it, or tell the model when it is done.",
            limit="max_steps",
        )
    run.step_model = run.step_tools = None
    for attempt in range(_MAX_RETRIES + 1):
        try:
            return await run.steps.think(run, again=attempt > 0)
        except Exception as exc:
            if exc is not run.failed_question:
                raise  # by an interceptor
            retry_model = await _ask_about_error(run, exc)
            if retry_model is None or attempt == _MAX_RETRIES:
                raise
            run.step_model = retry_model
    raise AssertionError("the last attempt returns or raises")


async def think(run: Run, *, again: bool) -> Read:
    """Ask the model once; returns its answer, as interceptors left it."""
    run.failed_question = None
    if not again:
        await run.ask(Phase.PRE_THINK)
    answer, fault = await _ask_model(run)
    run.answers += 1
    message = answer.message
    run.conversation.add(message)
    await run.ask(Phase.POST_THINK, Moment(model_response=message))
    last = run.messages[-1] if run.messages else message
    if last is message or last.get("role") != "assistant":
        return answer, fault
    try:
        changed = llm.read_message(last, schema=run.spec.output_type)
        return replace(changed, finish_reason=answer.finish_reason), None
    except AnswerError as exc:
        return exc.answer, exc


async def _ask_model(run: Run) -> Read:
    try:
        answer = await _answer(run)
    except StopExecution:
        raise
    except AnswerError as exc:
        if exc.answer is not None:
            run.count_answer(exc.answer.usage)
            if not isinstance(exc, (RefusalError, UnfinishedAnswerError)):
                return exc.answer, exc
        run.failed_question = exc
        raise
    except Exception as exc:
        run.failed_question = exc
        raise
    run.count_answer(answer.usage)
    return answer, None


async def _answer(run: Run) -> llm.Answer[Any]:
    model, offered = run.step_model or run.model, run.offered_tools()
    asked: dict[str, Any] = {"schema": run.spec.output_type, "tools": offered.values(), "client": run.spec.client}
    options = _step_settings(run, offered)
    run.count_model_call()
    if run.on_event is None:
        return await llm.generate(run.messages, model, **asked, **options)
    async with llm.stream(run.messages, model, **asked, **options) as stream:
        async for chunk in stream:
            if chunk.text:
                run.emit(TextDelta, text=chunk.text)
        return await stream.collect()


def _check_calls(run: Run, calls: Sequence[llm.ToolCall]) -> None:
    """Raise where one answer asks for more calls than it may."""
    most = run.spec.limits.max_calls_per_answer
    if len(calls) > most:
        raise AgentLimitError(
            f"The model of agent {run.spec.name!r} asks for {len(calls)} calls of tools in one answer: none was "
            f"made, because a run ends at more than `max_calls_per_answer={most}`. Raise it, or tell the model to ask "
            f"for fewer at once.",
            limit="max_calls_per_answer",
        )


async def call_tools(run: Run, calls: Sequence[llm.ToolCall]) -> None:
    """Make all calls at once and add their results to the conversation, in the order of the calls."""
    tasks = [asyncio.ensure_future(in_a_task(make_call(run, call))) for call in calls]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                result_of(task)  # raises the first error there is
    finally:
        # With what tools delegated from their threads: such a tool may have been given up on, its thread goes on.
        pending = [task for task in (*tasks, *run.delegated) if not task.done()]
        run.is_giving_up = True
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
        run.is_giving_up = False
        done: list[ToolResult] = [
            task.result() for task in tasks if not task.cancelled() and task.exception() is None
        ]  # fmt: skip
        add_results(run, done)


def add_results(run: Run, done: Sequence[ToolResult]) -> None:
    """Add the results of calls to the run and its conversation."""
    run.tool_calls += done
    run.conversation.add(*({"role": "tool", "tool_call_id": call.id, "content": call.result} for call in done))


class LiveSteps:
    """Does each step as it comes, and records nothing."""

    def think(self, run: Run, *, again: bool) -> Awaitable[Read]:
        """Ask the model."""
        return think(run, again=again)

    def call(self, run: Run, calls: Sequence[llm.ToolCall]) -> Awaitable[None]:
        """Make the calls of one answer."""
        return call_tools(run, calls)

    def ask(self, run: Run, phase: Phase, moment: Moment) -> Awaitable[None]:
        """Ask the interceptors."""
        return run.ask(phase, moment)


LIVE: Final = LiveSteps()


_FREE: Final = ("auto", "none")
"""Choices that force no call; all others do, also those of other vendors, such as `any`."""


def _step_settings(run: Run, offered: Collection[str]) -> dict[str, Any]:
    """Return the settings of the next question, for which the tools named *offered* are offered.

    What a provider refuses beside the rest of that question is left out, and so is a choice that would make the model
    call tools for ever: it holds until one was called.
    """
    settings = dict(run.settings)
    if not offered:
        settings.pop("tool_choice", None)
        settings.pop("parallel_tool_calls", None)
    elif "tool_choice" in settings:
        choice = _choice(settings.pop("tool_choice"), offered, is_held=not run.tool_calls)
        if choice is not None:
            settings["tool_choice"] = choice
    if run.on_event is None:
        settings.pop("stream_options", None)
    return settings


def _choice(choice: object, offered: Collection[str], *, is_held: bool) -> object:
    """Return *choice* with those tools only that are offered, and forcing a call only while *is_held*; else `None`."""
    if not isinstance(choice, (str, Mapping)):
        return choice
    given = cast("str | Mapping[str, Any]", choice)
    kind = given if isinstance(given, str) else given.get("type")
    if kind in _FREE:
        return given
    if kind == "allowed_tools" and not isinstance(given, str):
        return _allowed(given, offered, is_held=is_held)
    name = None if isinstance(given, str) else _named_tool(given)
    return given if is_held and (name is None or name in offered) else None


def _allowed(choice: Mapping[str, Any], offered: Collection[str], *, is_held: bool) -> object:
    """Return a list of allowed tools with those that are offered; it still holds when it forces a call no more."""
    inner = choice.get("allowed_tools")
    # The Responses API, and servers that follow it, have no object inside.
    allowed = cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else choice
    tools: object = allowed.get("tools")
    given = cast("list[Any]", tools) if isinstance(tools, (list, tuple)) else []
    left: list[Any] = [one for one in given if isinstance(one, Mapping) and _named_tool(cast("Any", one)) in offered]
    if not left:
        return None
    held: dict[str, Any] = {**allowed, "tools": left}
    if not is_held:
        held["mode"] = "auto"
    return held if allowed is choice else {**choice, "allowed_tools": held}


def _named_tool(tool: Mapping[str, Any]) -> str | None:
    """Return the name of the tool that is meant, in the form of any API; `None` where it is none by name."""
    inner = tool.get("function") or tool.get("custom")
    name: object = (cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else tool).get("name")
    return name if isinstance(name, str) else None
