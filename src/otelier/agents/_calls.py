"""Calls of tools in a run: arguments, phases, span, and the result for the model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.context import get_current
from pydantic_core import to_json

from otelier import llm, names
from otelier.agents._conversation import NOT_MADE
from otelier.agents._functions import call_function, call_on_error, slot_of
from otelier.agents._results import ToolFinished, ToolResult, ToolStarted
from otelier.agents._run import Moment, Run, RunTool, find_stop
from otelier.agents._telemetry import ToolPoint, agent_span, log_failure, result_content
from otelier.agents._tool import MAX_RESULT_CHARS, Tool
from otelier.codec import whole_text
from otelier.errors import AgentLimitError, ToolArgumentsError, ToolError
from otelier.interceptors import Phase
from otelier.llm.functions import unknown_tool
from otelier.redaction import cut_text, redact_start
from otelier.telemetry import Failure, errors_in, failure_of, fit_text

_UNKNOWN = "unknown"
"""Name of a tool that is not there: the one asked for is the model's invention, and endless."""
_ENDS_ALL: Final = ("max_steps", "max_model_calls")
"""Limits that end the runs around the one that reached them, too."""
_MAX_MEMBERS: Final = 8
"""Errors of a group that the model is shown."""
_FAILURES: Final = (Exception, asyncio.CancelledError, SystemExit)
"""What fails a call, and no more than that: what a tool waited for may have been cancelled, and argparse exits."""


class FunctionTool:
    """A function as a run offers and calls it."""

    def __init__(self, tool: Tool[..., Any]) -> None:
        self._tool = tool
        self.name = tool.name
        self.max_result_chars = tool.max_result_chars
        self.to_param = tool.to_param

    @property
    def description(self) -> str:
        """The description for spans."""
        return fit_text(self._tool.description, lines=True) or ""

    async def call(self, arguments: Mapping[str, Any], run: Run) -> object:
        """Call the function, as soon as the run has a slot for it."""
        bound = self._tool.bind(arguments, self._tool.context_for(run.context, given=run.context_given))
        async with slot_of(run.limiter):
            return await call_function(self._tool, bound)

    async def on_error(self, error: BaseException, run: Run) -> object:
        """Return the result that the tool's own `on_error` gives; `None` where it has none."""
        if self._tool.on_error is None:
            return None
        async with slot_of(run.limiter):
            return await call_on_error(self._tool, self._tool.on_error, error)


async def make_call(run: Run, asked: llm.ToolCall) -> ToolResult:
    """Make one call that the model asked for, with its phases, and return what came of it.

    Raises:
        StopExecution: if the tool or an interceptor stops the run.
        ToolError: if the tool asks for another kind of context than the run's.
    """
    tools = run.offered_tools()
    tool = tools.get(asked.name)
    moment = Moment(tool_name=asked.name)
    fault: Exception | None = None
    try:
        moment.arguments = asked.arguments
    except ToolArgumentsError as exc:
        fault = exc
    if tool is None:
        fault = unknown_tool(asked.name, tools)
    await run.ask(Phase.PRE_ACT, moment)
    run.emit(ToolStarted, call_id=asked.id, name=asked.name, arguments=moment.arguments)
    if not moment.is_skipped:
        moment.error = fault
        await _execute(run, tool, asked.id, moment)
    elif moment.result is None:
        moment.result = NOT_MADE
    await run.ask(Phase.POST_ACT, moment)
    assert moment.result is not None
    call = ToolResult(
        id=asked.id, name=asked.name, arguments=moment.arguments, result=moment.result, error=moment.error
    )  # fmt: skip
    run.emit(ToolFinished, call=call)
    return call


async def _execute(run: Run, tool: RunTool | None, call_id: str, moment: Moment) -> None:
    name, agent = _UNKNOWN if tool is None else tool.name, run.spec.name
    run.executed_tools += 1
    attributes: dict[str, Any] = {
        names.OPERATION: names.EXECUTE_TOOL,
        names.TOOL_NAME: name,
        names.TOOL_TYPE: names.FUNCTION,
        names.AGENT_NAME: agent,
    }
    fitting_id = fit_text(call_id)
    if fitting_id is not None:
        attributes[names.TOOL_CALL_ID] = fitting_id
    if tool is not None and tool.description:
        attributes[names.TOOL_DESCRIPTION] = tool.description
    point = ToolPoint(agent, name)
    with agent_span(f"{names.EXECUTE_TOOL} {name}", attributes, get_current(), point, run.gate) as opened:
        opened.show({names.TOOL_ARGUMENTS: moment.arguments})
        try:
            if moment.error is not None or tool is None:
                raise moment.error or unknown_tool(name, ())
            moment.result = _result_text(await tool.call(moment.arguments, run), tool.max_result_chars)
        except _FAILURES as exc:
            _raise_what_ends(run, exc)
            moment.error, moment.result = await _failed(run, tool, call_id, moment.error, exc)
            opened.failure = Failure(type="unknown_tool") if tool is None else failure_of(moment.error)
        if run.gate.mode.on_span:
            opened.show({names.TOOL_RESULT: result_content(moment.result)})


async def _failed(
    run: Run, tool: RunTool | None, call_id: str, fault: BaseException | None, error: BaseException
) -> tuple[BaseException, str]:
    """Return the error of a call, and its result for the model; whoever wrote the tool gets a log record.

    A *fault*, and arguments that do not fit, are the model's own mistakes: they are no failure of the tool.
    """
    result: object = None
    if tool is not None and error is not fault and not isinstance(error, ToolArgumentsError):
        log_failure(tool.name, call_id, error, run.gate)
        try:
            result = await tool.on_error(error, run)
        except _FAILURES as exc:
            _raise_what_ends(run, exc)
            error = exc
            log_failure(tool.name, call_id, error, run.gate)
    limit = MAX_RESULT_CHARS if tool is None else tool.max_result_chars
    return error, error_text(error, limit) if result is None else _result_text(result, limit)


def _raise_what_ends(run: Run, error: BaseException) -> None:
    """Raise *error*, or the stop in it, if it ends the run."""
    if isinstance(error, asyncio.CancelledError) and run.is_giving_up:
        raise error
    if (stop := find_stop(error)) is not None:
        raise stop from None
    if isinstance(error, ToolError):
        raise error
    if isinstance(error, AgentLimitError) and error.limit in _ENDS_ALL:
        raise error  # or each run around it could ask for the same again, and all of them without end


def _result_text(result: object, max_chars: int) -> str:
    """Return *result* as the text that the model gets."""
    if isinstance(result, str):
        return _cut(result, max_chars)
    try:
        return _cut(to_json(result, fallback=str, inf_nan_mode="strings").decode(), max_chars)
    except Exception:  # what holds itself, or cannot even be made text
        return _cut(f"{type(result).__name__} object that cannot be shown", max_chars)


def _cut(text: str, max_chars: int) -> str:
    """Return *text* at most so long, and without halves of characters, which no request can carry."""
    return cut_text(whole_text(text), max_chars)


def error_text(error: BaseException, max_chars: int) -> str:
    """Return the text that a model gets of *error*: class and message, redacted; of a group the errors inside.

    Example:
        >>> error_text(KeyError("postgres://app:s3cret@db/orders"), 100)
        "Error: KeyError: 'postgres://app:[REDACTED:password]@db/orders'"
    """
    text = _line_of(error)
    members = errors_in(error)
    if members != [error]:
        more = len(members) - _MAX_MEMBERS
        text += f" [{'; '.join(map(_line_of, members[:_MAX_MEMBERS]))}{f'; and {more} more' if more > 0 else ''}]"
    return whole_text(redact_start(f"Error: {text}", max_chars))


def _line_of(error: BaseException) -> str:
    return f"{type(error).__name__}: {failure_of(error).message or ''}"
