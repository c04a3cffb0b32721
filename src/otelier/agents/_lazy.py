"""`AgentRun`: a run that starts when it is awaited or read."""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Final, Generic

from otelier.agents._context import RunContext
from otelier.agents._functions import in_a_task, result_of
from otelier.agents._results import AgentResult, T, ToolCall, Usage
from otelier.agents._run import PERMIT, Permit, Run, current_run
from otelier.errors import AgentUseError
from otelier.telemetry import on_a_loop

_GIVEN_UP: Final = "This run was given up before it began: nobody waits for it any more."


class AgentRun(Coroutine[Any, Any, AgentResult[T]], Generic[T]):
    """One run of an agent, not started yet: await it, or read `output` from code without an event loop.

    It is a coroutine, so that `asyncio.create_task`, task groups and `asyncio.run` take it. It runs once; after that
    it gives the same result, or raises the same exception, again. A run that is never awaited nor read never ran, and
    warns with the line that made it.

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
        """Whether its output was asked for where it cannot be had: who was told so needs no warning besides."""

    def __await__(self) -> Generator[Any, None, AgentResult[T]]:
        return self._once().__await__()

    def send(self, value: Any, /) -> Any:
        """Go on to the next point where it waits; a task does this."""
        return self._as_coroutine().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise *error* where it waits; a task does this when it is cancelled."""
        try:
            return self._as_coroutine().throw(*error)
        finally:
            self._given_up()  # if it was before it began

    def close(self) -> None:
        """End it where it waits; one that has not begun never will."""
        self._as_coroutine().close()
        self._given_up()

    def _as_coroutine(self) -> Coroutine[Any, Any, AgentResult[T]]:
        if self._steps is None:
            self._steps = self._once()
        return self._steps

    @property
    def output(self) -> T:
        """What the run came to; starts the run and waits for it.

        In a tool's thread the work goes to the loop of the run that the tool belongs to.

        Raises:
            AgentUseError: on the thread of a running event loop, which would wait for itself.
        """
        return self.wait().output

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The whole conversation; waits like `output`."""
        return self.wait().messages

    @property
    def usage(self) -> Usage:
        """What the run used; waits like `output`."""
        return self.wait().usage

    @property
    def tool_calls(self) -> list[ToolCall]:
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
        permit, run = PERMIT.get(), current_run()
        if permit is not None and permit.is_over:
            return self._given_up().result()
        if run is None:
            return asyncio.run(self._once())
        try:
            return _on_loop_of(run, permit, self._once)
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
    run: Run, permit: Permit | None, start: Callable[[], Coroutine[Any, Any, AgentResult[T]]]
) -> AgentResult[T]:
    """Do the work on the loop of *run*, in this thread's context, while this thread waits without its place."""
    waiting: Future[AgentResult[T]] = Future()

    async def delegated() -> AgentResult[T]:
        if permit is None:
            return await start()
        permit.start_waiting()
        try:
            return await start()
        finally:
            await permit.stop_waiting()

    def begin() -> None:
        task = asyncio.ensure_future(in_a_task(delegated()))
        for under_way in (run.delegated, set[Any]() if permit is None else permit.runs):
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        task.add_done_callback(lambda done: _settle(waiting, done))
        if permit is not None and permit.is_over:
            task.cancel()

    run.loop.call_soon_threadsafe(begin, context=copy_context())
    return waiting.result()


def _settle(waiting: Future[AgentResult[T]], done: asyncio.Future[AgentResult[T]]) -> None:
    if done.cancelled():
        waiting.set_exception(AgentUseError(_GIVEN_UP))
        return
    try:
        waiting.set_result(result_of(done))
    except BaseException as exc:
        waiting.set_exception(exc)
