"""One call of a tool: its arguments, its span, and what the model is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.context import get_current
from pydantic_core import to_json

from otelier import llm, names
from otelier.agents._content import result_content
from otelier.agents._failures import stop_in, tell_failure, told_of
from otelier.agents._functions import call_function, call_on_error
from otelier.agents._operations import ToolPoint, agent_span
from otelier.agents._results import ToolCall, ToolFinished, ToolStarted
from otelier.agents._run import PERMIT, Offer, Permit, Run
from otelier.agents._tool import MAX_RESULT_CHARS, Tool
from otelier.codec import whole_text
from otelier.errors import AgentLimitError, ToolArgumentsError, ToolError
from otelier.interceptors import Phase
from otelier.llm.functions import unknown_tool
from otelier.redaction import cut_text
from otelier.telemetry import Failure, failure_of, fit_text

_UNKNOWN = "unknown"
"""Name of a tool that is not there: the one asked for is the model's invention, and endless."""
_ENDS_ALL: Final = ("max_steps", "max_model_calls")
"""Limits that end the runs around the one that reached them, too."""
_FAILURES: Final = (Exception, asyncio.CancelledError, SystemExit)
"""What fails a call, and no more than that: what a tool waited for may have been cancelled, and argparse exits."""


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
        """What spans tell of it."""
        return fit_text(self._tool.description, lines=True) or ""

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
        async with _place(run):
            return await call_function(tool, bound)

    async def on_error(self, error: BaseException, run: Run) -> object:
        """Return what the model is told of an error that the function raised; `None` where nobody says."""
        if self._tool.on_error is None:
            return None
        async with _place(run):
            return await call_on_error(self._tool, self._tool.on_error, error)


@asynccontextmanager
async def _place(run: Run) -> AsyncGenerator[None]:
    """Hold one of the run's places for functions, as soon as there is one."""
    permit = Permit(run.limiter)
    PERMIT.set(permit)  # the call has a task, and so a context, of its own
    await permit.take()
    try:
        yield
    finally:
        permit.end()


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
    point = ToolPoint(agent, name)
    with agent_span(f"{names.EXECUTE_TOOL} {name}", attributes, get_current(), point, run.gate) as opened:
        opened.show({names.TOOL_ARGUMENTS: outcome.arguments})
        try:
            if outcome.error is not None or offer is None:
                raise outcome.error or unknown_tool(name, ())
            outcome.result = _told(await offer.call(outcome.arguments, run), offer.max_result_chars)
        except _FAILURES as exc:
            _raise_what_ends(run, exc)
            await _fail(run, offer, call_id, outcome, exc)
            assert outcome.error is not None
            opened.failure = Failure(type="unknown_tool") if offer is None else failure_of(outcome.error)
        if run.gate.mode.on_span:
            opened.show({names.TOOL_RESULT: result_content(outcome.result)})


async def _fail(run: Run, offer: Offer | None, call_id: str, outcome: _Outcome, error: BaseException) -> None:
    """Write down what is told of *error*: to the model, and to whoever looks for the place where it was raised."""
    told: object = None
    # What the model itself did wrong is told to it, and is no failure of the tool.
    if offer is not None and error is not outcome.error and not isinstance(error, ToolArgumentsError):
        tell_failure(offer.name, call_id, error, run.gate)
        try:
            told = await offer.on_error(error, run)
        except _FAILURES as exc:
            _raise_what_ends(run, exc)
            error = exc
            tell_failure(offer.name, call_id, error, run.gate)
    limit = MAX_RESULT_CHARS if offer is None else offer.max_result_chars
    outcome.error = error
    outcome.result = told_of(error, limit) if told is None else _told(told, limit)


def _raise_what_ends(run: Run, error: BaseException) -> None:
    """Raise *error*, or the stop in it, if the model is not told of it."""
    if isinstance(error, asyncio.CancelledError) and run.is_giving_up:
        raise error
    if (stop := stop_in(error)) is not None:
        raise stop from None
    if isinstance(error, ToolError):
        raise error
    if isinstance(error, AgentLimitError) and error.limit in _ENDS_ALL:
        raise error  # or each run around it could ask for the same again, and all of them without end


def _told(result: object, max_chars: int) -> str:
    """Return *result* as the text that the model is told."""
    if isinstance(result, str):
        return _cut(result, max_chars)
    try:
        return _cut(to_json(result, fallback=str, inf_nan_mode="strings").decode(), max_chars)
    except Exception:  # what holds itself, or cannot even be made text
        return _cut(f"{type(result).__name__} object that cannot be shown", max_chars)


def _cut(text: str, max_chars: int) -> str:
    """Return *text* at most so long, and without halves of characters, which no request can carry."""
    return cut_text(whole_text(text), max_chars)
