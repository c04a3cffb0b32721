"""The loop of a run: ask the model, call the tools it asks for, until it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from otelier import llm
from otelier.agents._calls import make_call
from otelier.agents._functions import in_a_task, result_of
from otelier.agents._given import step_settings
from otelier.agents._results import TextDelta, ToolCall
from otelier.agents._run import Run
from otelier.errors import AgentLimitError, AnswerError, RefusalError, UnfinishedAnswerError
from otelier.interceptors import Phase, StopExecution

_MAX_RETRIES: Final = 64
"""How often one question may be asked again of another model: more than anybody lists, and not without end."""
_MEND: Final = "This does not match the required schema: {}. Answer again with only the JSON that matches it."


async def work(run: Run) -> Any:
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
        await run.ask(Phase.POST_RUN, output=output)
    except StopExecution as stop:
        return stop.response
    except Exception as exc:
        return await _stopped_by(run, exc)
    return output


async def _until_stopped(run: Run) -> Any:
    try:
        await run.ask(Phase.PRE_RUN)
        while True:
            answer, fault = await _step(run)
            if answer.tool_calls:
                await _act(run, answer.tool_calls)
            elif fault is None:
                run.finish_reason = answer.finish_reason
                return answer.text or answer.refusal or "" if run.output_type is None else answer.object
            elif run.is_told or not fault.problems:
                raise fault
            else:
                run.is_told = True
                run.conversation.add({"role": "user", "content": _MEND.format("; ".join(fault.problems))})
    except StopExecution as stop:
        run.stopped = run.stopped or ("act", stop.reason)
        return stop.response


async def _stopped_by(run: Run, exc: Exception) -> Any:
    """Ask about an error that ends the run, once; a stop gives an output in its place."""
    if run.told is not exc:
        try:
            await _ask_about(run, exc)
        except StopExecution as stop:
            return stop.response
    raise exc


async def _ask_about(run: Run, exc: Exception) -> Mapping[str, Any]:
    run.told = exc
    try:
        return await run.ask(Phase.ON_ERROR, error=exc)
    except StopExecution:
        raise
    except Exception as fault:
        run.told = fault  # an interceptor that fails at this is not asked about its own failure
        raise


_Read = tuple[llm.Answer[Any], AnswerError | None]
"""An answer, and why its text is not the output that the agent promises."""


async def _step(run: Run) -> _Read:
    """Ask the model once; returns its answer, as interceptors left it."""
    most = run.limits.max_steps
    if run.steps >= most:
        raise AgentLimitError(
            f"Agent {run.identity.name!r} gave {run.steps} answers and still asks for tools: a run ends after "
            f"`max_steps={most}`. Raise it, or tell the model when it is done.",
            limit="max_steps",
        )
    run.step_model = run.step_tools = None
    await run.ask(Phase.PRE_THINK)
    answer, fault = await _think(run)
    run.steps += 1
    message = answer.message
    run.conversation.add(message)
    await run.ask(Phase.POST_THINK, model_response=message)
    last = run.messages[-1] if run.messages else message
    if last is message or last.get("role") != "assistant":
        return answer, fault
    try:
        changed = llm.read_message(last, schema=run.output_type)
        return replace(changed, finish_reason=answer.finish_reason), None
    except AnswerError as exc:
        return exc.answer, exc


async def _think(run: Run) -> _Read:
    for attempt in range(_MAX_RETRIES + 1):
        try:
            return await _question(run)
        except StopExecution:
            raise
        except Exception as exc:
            facts = await _ask_about(run, exc)
            if "retry" not in facts or attempt == _MAX_RETRIES:
                raise
            run.step_model = facts["retry"]
    raise AssertionError("the last attempt returns or raises")


async def _question(run: Run) -> _Read:
    try:
        answer = await _answer(run)
    except AnswerError as exc:
        if exc.answer is None:
            raise
        run.count(exc.answer.usage)
        if isinstance(exc, (RefusalError, UnfinishedAnswerError)):
            raise
        return exc.answer, exc
    run.count(answer.usage)
    return answer, None


async def _answer(run: Run) -> llm.Answer[Any]:
    model, offered = run.step_model or run.model, run.offered()
    asked: dict[str, Any] = {"schema": run.output_type, "tools": offered.values(), "client": run.client}
    options = step_settings(run, offered)
    run.begin_question()
    if run.emit is None:
        return await llm.generate(run.messages, model, **asked, **options)
    async with llm.stream(run.messages, model, **asked, **options) as stream:
        async for chunk in stream:
            if chunk.text:
                run.tell(TextDelta, text=chunk.text)
        return await stream.collect()


async def _act(run: Run, calls: Sequence[llm.ToolCall]) -> None:
    """Make all calls at once and add their results to the conversation, in the order of the calls."""
    most = run.limits.max_calls_per_answer
    if len(calls) > most:
        raise AgentLimitError(
            f"The model of agent {run.identity.name!r} asks for {len(calls)} calls of tools in one answer: none was "
            f"made, because a run ends at more than `max_calls_per_answer={most}`. Raise it, or tell the model to ask "
            f"for fewer at once.",
            limit="max_calls_per_answer",
        )
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
        done: list[ToolCall] = [
            task.result() for task in tasks if not task.cancelled() and task.exception() is None
        ]  # fmt: skip
        run.tool_calls += done
        run.conversation.add(*({"role": "tool", "tool_call_id": call.id, "content": call.result} for call in done))
