"""`AgentRun` and `AgentStream`: a run as one result, and as a stream of events."""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextvars import copy_context
from types import TracebackType
from typing import Any, Final, Generic

from typing_extensions import Self

from otelier.agents._calls import SLOT, Slot, in_a_task, result_of
from otelier.agents._context import RunContext
from otelier.agents._results import AgentEvent, AgentResult, RunUsage, T, ToolResult
from otelier.agents._run import Run, current_run
from otelier.errors import AgentUseError
from otelier.telemetry import on_a_loop

Emit = Callable[[AgentEvent], None]

_GIVEN_UP: Final = "This run was given up before it began: nobody waits for it any more."


class AgentRun(Coroutine[Any, Any, AgentResult[T]], Generic[T]):
    """One run of an agent, not started yet: await it, or read `output` from code without an event loop.

    It is a coroutine, so `asyncio.create_task`, task groups and `asyncio.run` accept it. It runs once; after that it
    returns the same result, or raises the same exception, again. A run that is neither awaited nor read never runs,
    and a warning names the line that created it.

    Example:
        >>> import otelier
        >>> agent = otelier.Agent("triage", "gpt-4.1-nano")
        >>> agent.run("Where is my parcel?").output
        'Here is a short answer to: Where is my parcel?'
    """

    def __init__(self, name: str, start: Callable[[], Coroutine[Any, Any, AgentResult[T]]]) -> None:
        self._name = name
        self._start = start
        self._lock = threading.Lock()
        self._done: Future[AgentResult[T]] | None = None
        self._steps: Coroutine[Any, Any, AgentResult[T]] | None = None
        frame = sys._getframe(2)  # pyright: ignore[reportPrivateUsage] -- the caller of `Agent.run`
        self._line = (frame.f_code.co_filename, frame.f_lineno)
        self._is_refused = False
        """Whether its output was asked for where it cannot be had: that raised, and needs no warning besides."""

    def __await__(self) -> Generator[Any, None, AgentResult[T]]:
        return self._once().__await__()

    def send(self, value: Any, /) -> Any:
        """Continue to the next point where it waits; called by tasks."""
        return self._as_coroutine().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise *error* where it waits; called by tasks when they are cancelled."""
        try:
            return self._as_coroutine().throw(*error)
        finally:
            self._given_up()  # if it was before it began

    def close(self) -> None:
        """End it where it waits; a run that has not started never runs."""
        self._as_coroutine().close()
        self._given_up()

    def _as_coroutine(self) -> Coroutine[Any, Any, AgentResult[T]]:
        if self._steps is None:
            self._steps = self._once()
        return self._steps

    @property
    def output(self) -> T:
        """Output of the run; starts the run and waits for it.

        In a tool's thread, the work goes to the event loop of the tool's run.

        Raises:
            AgentUseError: on the thread of a running event loop, because the loop would wait for itself.
        """
        return self.wait().output

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The whole conversation; waits like `output`."""
        return self.wait().messages

    @property
    def usage(self) -> RunUsage:
        """Tokens and calls of the run; waits like `output`."""
        return self.wait().usage

    @property
    def tool_calls(self) -> list[ToolResult]:
        """Calls of the agent's tools; waits like `output`."""
        return self.wait().tool_calls

    @property
    def context(self) -> RunContext:
        """The run's own context; waits like `output`."""
        return self.wait().context

    def wait(self) -> AgentResult[T]:
        """Start the run, wait for it, and return its result.

        Raises:
            AgentUseError: on the thread of a running event loop.
        """
        if self._done is not None and self._done.done():
            return self._done.result()
        if on_a_loop():
            self._is_refused = True
            raise AgentUseError(
                f"Cannot wait for the run of agent {self._name!r} on the thread of its event loop: the loop would "
                f"stand still, and the run with it. Write `await agent.run(...)`."
            )
        slot, run = SLOT.get(), current_run()
        if slot is not None and slot.is_over:
            return self._given_up().result()
        if run is None:
            return asyncio.run(self._once())
        try:
            return _on_loop_of(run, slot, self._once)
        finally:
            self._given_up()  # if it was before it began

    async def _once(self) -> AgentResult[T]:
        with self._lock:
            first = self._done is None
            done = self._done = self._done or Future()
            if first:
                done.set_running_or_notify_cancel()  # who waits as well, and is cancelled, does not cancel it
        if not first:
            return await asyncio.wrap_future(done)
        try:
            result = await self._start()
        except BaseException as exc:
            done.set_exception(exc)
            raise
        done.set_result(result)
        return result

    def _given_up(self) -> Future[AgentResult[T]]:
        """Let a run that has not begun be over, and return how it ended."""
        with self._lock:
            if self._done is None:
                self._done = Future()
                self._done.set_exception(AgentUseError(_GIVEN_UP))
            return self._done

    def __del__(self) -> None:
        if getattr(self, "_done", self) is None and not self._is_refused:
            path, line = self._line
            warnings.warn_explicit(
                f"The run of agent {self._name!r} was never awaited, nor its `output` read: it never ran.",
                RuntimeWarning,
                path,
                line,
                source=self,
            )


def _on_loop_of(
    run: Run, slot: Slot | None, start: Callable[[], Coroutine[Any, Any, AgentResult[T]]]
) -> AgentResult[T]:
    """Do the work on the loop of *run*, in this thread's context, while this thread waits without its slot."""
    waiting: Future[AgentResult[T]] = Future()

    async def delegated() -> AgentResult[T]:
        if slot is None:
            return await start()
        slot.start_waiting()
        try:
            return await start()
        finally:
            await slot.stop_waiting()

    def begin() -> None:
        task = asyncio.ensure_future(in_a_task(delegated()))
        for under_way in (run.delegated, set[Any]() if slot is None else slot.runs):
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        task.add_done_callback(lambda done: _pass_on(waiting, done))
        if slot is not None and slot.is_over:
            task.cancel()

    run.loop.call_soon_threadsafe(begin, context=copy_context())
    return waiting.result()


def _pass_on(waiting: Future[AgentResult[T]], done: asyncio.Future[AgentResult[T]]) -> None:
    if done.cancelled():
        waiting.set_exception(AgentUseError(_GIVEN_UP))
        return
    try:
        waiting.set_result(result_of(done))
    except BaseException as exc:
        waiting.set_exception(exc)


class AgentStream(Generic[T]):
    """The events of one run, each as soon as it happens; the last is its `RunFinished`.

    The run has its own task, which starts when the first event is requested. It is cancelled when the stream is closed
    or dropped, or its `async with` block is left. An error that ends the run is raised where events are requested.

    Example:
        >>> import asyncio
        >>> import otelier
        >>> agent = otelier.Agent("triage", "gpt-4.1-nano")
        >>> async def words():
        ...     return [event.text async for event in agent.stream("Hello") if hasattr(event, "text")]
        >>> asyncio.run(words())[:2]
        ['Hello!', ' How']
    """

    def __init__(self, start: Callable[[Emit], Coroutine[Any, Any, AgentResult[T]]]) -> None:
        self._start = start
        self._events: asyncio.Queue[AgentEvent | None] | None = None
        self._task: asyncio.Task[AgentResult[T]] | None = None
        self._closed = False
        self._raised = False
        """Whether what ended the run was raised; it is raised once."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AgentEvent:
        if self._task is None or self._events is None:
            if self._closed:
                raise StopAsyncIteration
            self._begin()
        assert self._task is not None
        assert self._events is not None
        # A task is done a moment before its callback puts the end: only the end says that there is nothing more.
        event = await self._events.get()
        if event is not None:
            return event
        self._events.put_nowait(None)  # for whoever asks again, or waits beside
        raised, self._raised = self._raised, True
        if not raised and not self._task.cancelled():
            result_of(self._task)  # raises what ended it
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel the run if it is still running, and wait until its spans have ended.

        A run that has not started never runs.
        """
        self._closed = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def result(self) -> AgentResult[T]:
        """Result of the run, once its last event has been read.

        Raises:
            AgentUseError: if the run is not over.
        """
        if self._task is None or not self._task.done():
            raise AgentUseError("The streamed run is not over: read its events to the end first.")
        return result_of(self._task)

    def _begin(self) -> None:
        events: asyncio.Queue[AgentEvent | None] = asyncio.Queue()
        self._events = events
        self._task = asyncio.ensure_future(in_a_task(self._start(events.put_nowait)))  # type: ignore[assignment]
        assert self._task is not None

        def end(task: asyncio.Task[Any]) -> None:
            if not task.cancelled():
                task.exception()  # a stream that was left has nobody who looks at it
            events.put_nowait(None)

        self._task.add_done_callback(end)

    def __del__(self) -> None:
        task = getattr(self, "_task", None)
        if task is not None and not task.done() and not task.get_loop().is_closed():
            try:
                task.get_loop().call_soon_threadsafe(task.cancel)
            except RuntimeError:  # pragma: no cover -- closed in between
                pass
