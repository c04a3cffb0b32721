"""Calls of a body: what `ctx.step`, `ctx.task` and the others return, alone or several at once.

A call has made all its ops when it is written. What it does with them is a plan: a generator that yields the ops it
waits for, is sent the one that is done, and returns the call's value. So one loop, in the order of the journal, drives
a call, or any number of them side by side, and a replay takes the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from otelier.errors import ReplayError, RunStopped, WorkflowUseError
from otelier.workflows.engines.protocol import Op, Run

T = TypeVar("T")
Plan: TypeAlias = "Generator[tuple[Op, ...], Op, T]"
"""What a call does: yields ops, is sent the next of them that is done, returns the value."""


class Stopping(Exception):  # noqa: N818 -- it tells what is to be done, and is no error
    """Is thrown into a plan when nothing more is to begin: it ends, or yields once more what it has to wait for."""


class Calling(Protocol):
    """What calls need of the body that makes them."""

    run: Run
    limits: dict[Op, Callable[[], TimeoutError]]
    """Time limits of the attempts that go on, outermost first: what their sleeps raise when they are done."""

    @property
    def called(self) -> str:
        """Name of the handler whose code runs."""
        ...

    def expect(self, call: Call[Any]) -> None:
        """Expect that *call* will be waited for."""
        ...

    def waited(self, call: Call[Any]) -> None:
        """Take notice that *call* is waited for."""
        ...

    def waiting(self, ops: tuple[Op, ...]) -> None:
        """Take notice that the body waits for *ops*."""
        ...

    def advanced(self, op: Op) -> None:
        """Take notice that *op* is done, and was waited for."""
        ...

    def give_up(self, ops: Sequence[Op]) -> None:
        """Give up all of *ops* that were begun."""
        ...

    def is_here(self) -> bool:
        """Return whether this code is the body's own."""
        ...

    async def settle(self) -> None:
        """Wait until all is recorded that the body has seen already."""
        ...

    async def next(self, ops: Sequence[Op]) -> Op:
        """Return the next of *ops* that is done."""
        ...

    async def turn(self, done: Op) -> None:
        """Wait until tasks beside the body's have seen what was recorded before *done*."""
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

    def __init__(self, body: Calling, what: str, plan: Plan[T]) -> None:
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
                self._value = await drive(self._body, plan)
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


async def drive(body: Calling, plan: Plan[T]) -> T:
    """Do what *plan* says, within the time limits of the attempt, and return its value.

    Raises:
        TimeoutError: if a time limit of the attempt is reached first.
        ReplayError: if somebody else than the engine cancels the wait.
    """
    try:
        await body.settle()
        ops = next(plan)
        while True:
            limits = body.limits
            body.waiting(ops)
            if limits and _were_cut(ops, limits):
                raise _cut(body)
            try:
                done = await body.next((*limits, *ops) if limits else ops)
                if not body.is_here():
                    await body.turn(done)
            except asyncio.CancelledError:
                body.give_up(ops)
                raise _cut(body) from None
            except WorkflowUseError:  # they were given up in an earlier life, as above
                raise _cut(body) from None
            body.advanced(done)
            if limits and done in limits:
                body.give_up(ops)
                late = limits[done]
                raise late()
            ops = plan.send(done)
    except StopIteration as stop:
        return stop.value
    finally:
        plan.close()


def _were_cut(ops: Sequence[Op], limits: Iterable[Op]) -> bool:
    """Return whether an earlier life gave all of *ops* up, and did so before a time limit that was reached later."""
    reached = min((limit.ended_ns or 0 for limit in limits if limit.done()), default=None)
    return all(op.is_given_up and (reached is None or (op.ended_ns or 0) < reached) for op in ops)


def _cut(body: Calling) -> ReplayError:
    return ReplayError(
        f"A wait in the body of {body.called} was cancelled from outside, as `asyncio.timeout`, `wait_for` or a "
        f"task group do: a replay would decide otherwise. Use `timeout_s=` of the call or of the handler, which is "
        f"recorded."
    )
