"""Calls of a body: what `ctx.step`, `ctx.task` and the others return, alone or several at once.

A call has made all its ops when it is written. What it does with them is a plan: a generator that yields the ops it
waits for, is sent the one that is done, and returns the call's value. So one loop, in the order of the journal, drives
a call, or any number of them side by side, and a replay takes the same way.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from otelier.errors import RunStopped, WorkflowUseError
from otelier.workflows.engines.protocol import Op

T = TypeVar("T")
Plan: TypeAlias = "Generator[tuple[Op, ...], Op, T]"
"""What a call does: yields ops, is sent the next of them that is done, returns the value."""


class Stopping(Exception):  # noqa: N818 -- an order, and no error
    """Is thrown into a plan when nothing more is to begin: it ends, or yields once more what it has to wait for."""


class CallingBody(Protocol):
    """The body that makes a call, as the call uses it."""

    def expect(self, call: Call[Any]) -> None:
        """Expect that *call* will be waited for."""
        ...

    def waited(self, call: Call[Any]) -> None:
        """Take notice that *call* is waited for."""
        ...

    async def drive(self, plan: Plan[T]) -> T:
        """Follow *plan* to its end, and return its value."""
        ...


class Call(Generic[T]):
    """Something a body asked for: wait for it by `await`, or give it to `ctx.parallel` or `ctx.gather`.

    Nothing of it is done before. Awaited again it gives the same value.

    Example:
        >>> import asyncio
        >>> from otelier import workflow
        >>> @workflow
        ... async def report(ctx):
        ...     first, second = ctx.step("one", lambda: 1), ctx.step("two", lambda: 2)
        ...     return await ctx.parallel(first, second)
        >>> asyncio.run(report())
        [1, 2]
    """

    __slots__ = ("_body", "_error", "_is_over", "_is_taken", "_plan", "_value", "what")

    def __init__(self, body: CallingBody, what: str, plan: Plan[T]) -> None:
        self._body = body
        self._plan = plan
        self.what = what
        """How errors and warnings name it, such as `ctx.step('charge')`."""
        self._is_taken = False
        self._is_over = False
        self._value: Any = None
        self._error: BaseException | None = None
        body.expect(self)

    def __repr__(self) -> str:
        return f"<{self.what}>"

    def __await__(self) -> Generator[Any, Any, T]:
        return self._result().__await__()

    async def _result(self) -> T:
        if not self._is_over:
            plan = self.taken()
            try:
                self._value = await self._body.drive(plan)
            except (Exception, RunStopped) as exc:
                self._error = exc
            self._is_over = True
        if self._error is not None:
            raise self._error
        return self._value

    @property
    def is_taken(self) -> bool:
        """Whether somebody drives it, or did."""
        return self._is_taken

    def taken(self) -> Plan[T]:
        """Return its plan, for whoever drives it.

        Raises:
            WorkflowUseError: if somebody does already.
        """
        if self._is_taken:
            raise WorkflowUseError(f"{self.what} is waited for twice at once: wait for it in one place.")
        self._is_taken = True
        self._body.waited(self)
        return self._plan
