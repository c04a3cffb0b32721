"""Calls of tools in a run: arguments, phases, span, and the result for the model.

Each call of a function has a slot of its run, a thread or a task of its own, and a time limit.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from itertools import islice
from typing import Any, Final, TypeVar, cast

from opentelemetry.context import get_current
from pydantic_core import to_json

from otelier import llm, names
from otelier.agents._conversation import NOT_MADE
from otelier.agents._results import AgentResult, ToolFinished, ToolResult, ToolStarted
from otelier.agents._run import Moment, Run, RunTool, find_stop
from otelier.agents._telemetry import ToolPoint, agent_span, log_failure, result_content
from otelier.agents._tool import MAX_RESULT_CHARS, OnError, Tool, is_awaited
from otelier.codec import whole_text
from otelier.errors import AgentLimitError, ToolArgumentsError, ToolError
from otelier.interceptors import Phase
from otelier.llm.functions import unknown_tool
from otelier.redaction import cut_text, redact_start
from otelier.telemetry import Failure, errors_in, failure_of, fit_text, in_thread

UNKNOWN = "unknown"
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
    name, agent = UNKNOWN if tool is None else tool.name, run.spec.name
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
        return _sendable_text(result, max_chars)
    try:
        return _sendable_text(to_json(result, fallback=str, inf_nan_mode="strings").decode(), max_chars)
    except Exception:  # what holds itself, or cannot even be made text
        return _sendable_text(f"{type(result).__name__} object that cannot be shown", max_chars)


def _sendable_text(text: str, max_chars: int) -> str:
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


R = TypeVar("R")

_CLEAN_UP_S = 1.0
"""Seconds that an async tool which is late has for its own clean-up."""


class Slot:
    """A slot of a run's limiter, given back while its holder waits for another run.

    Used on the run's loop only. A holder may wait for several runs at once, in threads of its own.
    """

    __slots__ = ("_held", "_limiter", "_waits", "is_over", "runs")

    def __init__(self, limiter: asyncio.Semaphore) -> None:
        self._limiter = limiter
        self._held = False
        self._waits = 0
        self.is_over = False
        """Whether the call is over, though a thread of it may go on."""
        self.runs: set[asyncio.Future[Any]] = set()
        """Runs that the call waits for in threads."""

    async def take(self) -> None:
        """Wait for a slot, unless the call is over or waits for another run again."""
        if self.is_over:
            return
        await self._limiter.acquire()
        if self._held or self._waits or self.is_over:
            self._limiter.release()
        else:
            self._held = True

    def start_waiting(self) -> None:
        """Give the slot back for as long as another run is waited for."""
        self._waits += 1
        self._leave()

    async def stop_waiting(self) -> None:
        """Take a slot again, if nothing else is waited for."""
        self._waits -= 1
        if not self._waits:
            await self.take()

    def end(self) -> None:
        """Give the slot back for good: the call is over, and nobody waits for the runs that it delegated."""
        self.is_over = True
        self._leave()
        for run in self.runs:
            run.cancel()

    def _leave(self) -> None:
        if self._held:
            self._held = False
            self._limiter.release()


SLOT: Final[ContextVar[Slot | None]] = ContextVar("otelier-agents-slot", default=None)
"""The slot of the call of a tool that is under way."""


@asynccontextmanager
async def slot_of(limiter: asyncio.Semaphore) -> AsyncGenerator[None]:
    """Hold a slot of *limiter*, as soon as there is one, until the block ends."""
    slot = Slot(limiter)
    SLOT.set(slot)  # the call has a task, and so a context, of its own
    await slot.take()
    try:
        yield
    finally:
        slot.end()


class ExitError(Exception):
    """Brings a `SystemExit` out of a task, which would end its loop, to whoever waits for the task."""

    def __init__(self, exit: SystemExit) -> None:
        super().__init__()
        self.exit = exit


async def in_a_task(work: Coroutine[Any, Any, R]) -> R:
    """Return what *work* gives, in a task that `result_of` is asked for.

    Raises:
        ExitError: if it raises `SystemExit`.
        BaseException: what else it raises, unchanged.
    """
    try:
        return await work
    except SystemExit as exc:
        raise ExitError(exc) from None


def result_of(task: asyncio.Future[R]) -> R:
    """Return the result of a task that is done, or raise what ended it."""
    try:
        return task.result()
    except ExitError as exc:
        raise exc.exit from None


async def call_function(tool: Tool[..., Any], bound: Callable[[], Any]) -> object:
    """Call the function that *bound* is, and wait for what it returns in place of a result.

    That is an awaitable, or the items of a generator.

    Raises:
        TimeoutError: if it takes longer than it may.
        BaseException: what it raises, unchanged.
    """
    return await _call_in_time(tool, bound, is_async=tool.is_async, timeout_s=tool.timeout_s)


async def call_on_error(tool: Tool[..., Any], on_error: OnError, error: BaseException) -> object:
    """Call the `on_error` of *tool* with *error*, as its function is called.

    Raises:
        BaseException: what it raises, unchanged.
    """
    return await _call_in_time(tool, partial(on_error, error), is_async=is_awaited(on_error), timeout_s=None)


async def _call_in_time(
    tool: Tool[..., Any], bound: Callable[[], Any], *, is_async: bool, timeout_s: float | None
) -> object:  # fmt: skip
    called = _called_function(tool, bound, is_async)
    in_this_task = timeout_s is None and not is_async  # a thread cannot cancel it
    return await (called if in_this_task else _in_own_task(called, timeout_s))


async def _awaited(result: Any) -> Any:
    """Return what *result* comes to: itself, or what its awaitable gives."""
    while inspect.isawaitable(result):  # a plain function may hand on what an async one returned, and both a run
        result = await result
    return result


async def _called_function(tool: Tool[..., Any], bound: Callable[[], Any], is_async: bool) -> object:
    most = tool.max_result_chars  # an item takes a character at least

    def in_its_thread() -> Any:
        result = bound()
        return list(islice(cast("Iterator[Any]", result), most)) if isinstance(result, Iterator) else result

    result: Any = bound() if is_async else await in_thread(in_its_thread, f"otelier-tool-{tool.name}")
    if inspect.isawaitable(result):
        result = await (_awaited(result) if is_async else _in_own_task(_awaited(result), None))
    if isinstance(result, Iterator):
        return list(islice(cast("Iterator[Any]", result), most))
    # The rest of it is the delegated run's own affair, with a whole context in it.
    return cast("AgentResult[Any]", result).output if isinstance(result, AgentResult) else result


async def _in_own_task(work: Coroutine[Any, Any, Any], timeout_s: float | None) -> Any:
    """Wait for *work* in a task of its own: one that cancels its own task then cancels nothing else."""
    task = asyncio.ensure_future(_outcome_of(work))
    try:
        await asyncio.wait([task], timeout=timeout_s)
        if not task.done():
            raise TimeoutError(f"It took more than {timeout_s:g} s.")
        result, error = task.result()
        if error is not None:
            raise error
        return result
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=None if timeout_s is None else _CLEAN_UP_S)


async def _outcome_of(work: Coroutine[Any, Any, Any]) -> tuple[Any, BaseException | None]:
    """Return what *work* gives, or raises, so that its task never fails.

    asyncio logs the message of an error that nobody waits for any more, and ends its loop over a `SystemExit`.
    """
    try:
        return await work, None
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as exc:
        return None, exc
