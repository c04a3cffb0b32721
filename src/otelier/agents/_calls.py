"""One call of a tool: its arguments, its span, and what the model is told."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from opentelemetry.context import get_current
from pydantic_core import to_json

from otelier import llm, names
from otelier.agents._content import result_content
from otelier.agents._events import ToolFinished, ToolStarted
from otelier.agents._permit import PERMIT, Permit
from otelier.agents._points import ToolPoint
from otelier.agents._results import AgentResult, ToolCall
from otelier.agents._run import Offer, Run
from otelier.agents._spans import span_of
from otelier.agents._stops import stop_in
from otelier.agents._tool import MAX_RESULT_CHARS, Tool
from otelier.errors import AgentLimitError, ToolArgumentsError, ToolError
from otelier.interceptors import Phase, StopExecution
from otelier.llm.functions import unknown_tool
from otelier.signals import Failure, failure_of, fit_text, in_thread

_UNKNOWN = "unknown"
"""Name of a tool that is not there: the one asked for is the model's invention, and endless."""


class FunctionOffer:
    """A function as a run offers it."""

    __slots__ = ("_tool",)

    def __init__(self, tool: Tool[..., Any]) -> None:
        self._tool = tool

    @property
    def name(self) -> str:
        """Name that the model calls it by."""
        return self._tool.name

    @property
    def description(self) -> str:
        """What spans tell of it, and the model, too."""
        return self._tool.description

    @property
    def max_result_chars(self) -> int:
        """Longest result that the model is told."""
        return self._tool.max_result_chars

    def to_param(self) -> dict[str, Any]:
        """Return the tool as chat completions take it."""
        return self._tool.to_param()

    async def call(self, arguments: Mapping[str, Any], run: Run) -> object:
        """Call the function, as soon as the run has a place for it."""
        tool = self._tool
        bound = tool.bind(arguments, tool.context_for(run.context, given=run.given))
        permit = Permit(run.limiter)
        PERMIT.set(permit)  # the call has a task, and so a context, of its own
        await permit.take()
        try:
            called = _called(tool, bound)
            if tool.timeout_s is None:
                return await called
            return await _in_time(asyncio.ensure_future(called), tool.timeout_s)
        finally:
            permit.end()


async def _called(tool: Tool[..., Any], bound: Callable[[], Any]) -> object:
    """Call the function, and wait for what it returns in place of a result: an awaitable, or a generator's items."""
    most = tool.max_result_chars  # an item takes a character at least

    def in_its_thread() -> Any:
        result = bound()
        return list(islice(cast("Iterator[Any]", result), most)) if isinstance(result, Iterator) else result

    result: Any = bound() if tool.is_async else await in_thread(in_its_thread, f"otelier-tool-{tool.name}")
    while inspect.isawaitable(result):  # a plain function may hand on what an async one returned, and both a run
        result = await result
    if isinstance(result, Iterator):
        return list(islice(cast("Iterator[Any]", result), most))
    # The rest of it is the delegated run's own affair, with a whole context in it.
    return cast("AgentResult[Any]", result).output if isinstance(result, AgentResult) else result


async def _in_time(task: asyncio.Future[Any], timeout_s: float) -> object:
    try:
        await asyncio.wait([task], timeout=timeout_s)
        if task.done():
            return task.result()
        raise TimeoutError(f"It took more than {timeout_s:g} s.")
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=1)  # for its own clean-up


@dataclass(slots=True)
class _Outcome:
    arguments: dict[str, Any] = field(repr=False)
    result: str = field(default="", repr=False)
    error: BaseException | None = field(default=None, repr=False)


async def make_call(run: Run, asked: llm.ToolCall) -> ToolCall:
    """Make one call as the model asked for it, with its phases, and return what came of it.

    Raises:
        StopExecution: if the tool or an interceptor stops the run.
        ToolError: if the tool asks for another kind of context than the run's.
    """
    name, call_id = asked.name, asked.id
    offer = run.offered().get(name)
    arguments: dict[str, Any] = {}
    fault: Exception | None = None
    try:
        arguments = asked.arguments
    except ToolArgumentsError as exc:
        fault = exc
    if offer is None:
        fault = unknown_tool(name, run.offered())
    facts = await run.ask(Phase.PRE_ACT, tool_name=name, tool_args=arguments)
    outcome = _Outcome(facts["tool_args"], error=fault)
    run.tell(ToolStarted, call_id=call_id, name=name, arguments=outcome.arguments)
    if "skip" in facts:
        said = facts["skip"].final_response
        outcome.result = "The call was not made." if said is None else said
        outcome.error = None
    else:
        await _execute(run, offer, call_id, outcome)
    facts = await run.ask(
        Phase.POST_ACT,
        tool_name=name,
        tool_args=outcome.arguments,
        tool_result=outcome.result,
        error=outcome.error,
    )
    call = ToolCall(
        id=call_id, name=name, arguments=outcome.arguments, result=facts["tool_result"], error=outcome.error
    )  # fmt: skip
    run.tell(ToolFinished, call=call)
    return call


async def _execute(run: Run, offer: Offer | None, call_id: str, outcome: _Outcome) -> None:
    name = _UNKNOWN if offer is None else offer.name
    agent = run.identity.name or ""
    run.calls += 1
    attributes: dict[str, Any] = {
        names.OPERATION: names.EXECUTE_TOOL,
        names.TOOL_NAME: name,
        names.TOOL_TYPE: names.FUNCTION,
        names.AGENT_NAME: agent,
    }
    told_id = fit_text(call_id)
    if told_id is not None:
        attributes[names.TOOL_CALL_ID] = told_id
    if offer is not None and offer.description:
        attributes[names.TOOL_DESCRIPTION] = offer.description
    with span_of(f"{names.EXECUTE_TOOL} {name}", attributes, get_current(), ToolPoint(agent, name)) as opened:
        opened.show({names.TOOL_ARGUMENTS: outcome.arguments})
        try:
            if outcome.error is not None or offer is None:
                raise outcome.error or unknown_tool(name, ())
            outcome.result = _told(await offer.call(outcome.arguments, run), offer.max_result_chars)
        except (StopExecution, ToolError):
            raise
        except (Exception, asyncio.CancelledError) as exc:
            if isinstance(exc, asyncio.CancelledError) and run.is_giving_up:
                raise
            if (stop := stop_in(exc)) is not None:
                raise stop from None
            if isinstance(exc, AgentLimitError) and exc.limit == "max_steps":
                raise  # or each run around it could ask for the same again, and all of them without end
            # A cancellation of something that only the tool waited for is an error like others.
            outcome.error = exc
            limit = MAX_RESULT_CHARS if offer is None else offer.max_result_chars
            outcome.result = _cut(f"Error: {type(exc).__name__}: {failure_of(exc).message or ''}", limit)
            opened.failure = Failure(type="unknown_tool") if offer is None else failure_of(exc)
        if run.gate.mode.on_span:
            opened.show({names.TOOL_RESULT: result_content(outcome.result)})


def _told(result: object, max_chars: int) -> str:
    """Return *result* as the text that the model is told."""
    if isinstance(result, str):
        return _cut(result, max_chars)
    try:
        return _cut(to_json(result, fallback=str, inf_nan_mode="constants").decode(), max_chars)
    except Exception:  # what holds itself, or cannot even be made text
        return _cut(f"{type(result).__name__} object that cannot be shown", max_chars)


def _cut(text: str, max_chars: int) -> str:
    """Return *text* at most so long, and without halves of characters, which no request can carry."""
    text = text.encode(errors="replace").decode()
    over = len(text) - max_chars
    text = text[: max(max_chars, 0)]
    return f"{text} [cut: {over} characters]" if over > 0 else text
