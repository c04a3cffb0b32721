"""`AgentStream`: a run that tells what happens in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic

from typing_extensions import Self

from otelier.agents._functions import in_a_task, result_of
from otelier.agents._results import AgentEvent, AgentResult, T
from otelier.errors import AgentUseError

Emit = Callable[[AgentEvent], None]


class AgentStream(Generic[T]):
    """The events of one run, each as soon as it is known; the last is its `RunFinished`.

    The run has a task of its own, which starts with the first event that is asked for. It is cancelled when the
    stream is closed, dropped, or left as a `with` block. What ends the run is raised where events are asked for.

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
        self._told = False
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
        told, self._told = self._told, True
        if not told and not self._task.cancelled():
            result_of(self._task)  # raises what ended it
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel the run, if it is still under way, and wait until its spans have ended.

        A run that has not begun never will.
        """
        self._closed = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def result(self) -> AgentResult[T]:
        """What the run came to, once its last event was read.

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
            except RuntimeError:
                pass  # closed in between
