"""The loop of a run: ask the model, call the tools it asks for, until it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

from otelier.agents._calls import make_call
from otelier.agents._events import TextDelta
from otelier.agents._model import Answer, question
from otelier.agents._results import ToolCall
from otelier.agents._run import Run
from otelier.errors import AgentLimitError
from otelier.interceptors import Phase, StopExecution

_MAX_RETRIES: Final = 8
"""How often one question may be asked again of another model."""


async def work(run: Run) -> str:
    """Run all phases and return the output.

    Raises:
        AgentLimitError: if the model asks for tools in more answers than the run may have.
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


async def _until_stopped(run: Run) -> str:
    try:
        await run.ask(Phase.PRE_RUN)
        while True:
            message = await _step(run)
            calls = cast("Sequence[Mapping[str, Any]]", message.get("tool_calls") or ())
            if not calls:
                return str(message.get("content") or "")
            await _act(run, calls)
    except StopExecution as stop:
        run.stopped = run.stopped or ("act", stop.reason)
        return stop.response


async def _stopped_by(run: Run, exc: Exception) -> str:
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


async def _step(run: Run) -> Mapping[str, Any]:
    """Ask the model once; returns its message, as interceptors left it."""
    if run.steps >= run.max_steps:
        raise AgentLimitError(
            f"Agent {run.identity.name!r} gave {run.steps} answers and still asks for tools: a run ends after "
            f"`max_steps={run.max_steps}`. Raise it, or tell the model when it is done.",
            limit="max_steps",
        )
    run.step_model = run.step_tools = None
    await run.ask(Phase.PRE_THINK)
    answer = await _think(run)
    run.steps += 1
    run.count(answer.input_tokens, answer.output_tokens)
    message = answer.message()
    run.messages.append(message)
    await run.ask(Phase.POST_THINK, model_response=message)
    last = run.messages[-1] if run.messages else message
    return last if last.get("role") == "assistant" else message


async def _think(run: Run) -> Answer:
    told = None if run.emit is None else partial(_tell_text, run)
    for attempt in range(_MAX_RETRIES + 1):
        request: dict[str, Any] = {"model": run.step_model or run.model, "messages": list(run.messages)}
        tools = [offer.definition for offer in run.offered().values()]
        if tools:
            request["tools"] = tools
        run.questions += 1
        try:
            return await question(run.client, request, told)
        except StopExecution:
            raise
        except Exception as exc:
            facts = await _ask_about(run, exc)
            if "retry" not in facts or attempt == _MAX_RETRIES:
                raise
            run.step_model = facts["retry"]
    raise AssertionError("the last attempt returns or raises")


def _tell_text(run: Run, text: str) -> None:
    run.tell(TextDelta, text=text)


async def _act(run: Run, calls: Sequence[Mapping[str, Any]]) -> None:
    """Make all calls at once and add their results to the conversation, in the order of the calls."""
    tasks = [asyncio.ensure_future(make_call(run, call)) for call in calls]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done():
                task.result()  # raises the first error there is
    finally:
        # With what tools delegated from their threads: such a tool may have been given up on, its thread goes on.
        pending = [task for task in (*tasks, *run.delegated) if not task.done()]
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)
        done: list[ToolCall] = [
            task.result() for task in tasks if not task.cancelled() and task.exception() is None
        ]  # fmt: skip
        run.tool_calls += done
        run.messages += [{"role": "tool", "tool_call_id": call.id, "content": call.result} for call in done]
