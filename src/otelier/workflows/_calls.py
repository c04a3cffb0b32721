"""Calls of a body: what `ctx.step`, `ctx.task` and the others return, alone or several at once.

A call has made all its ops when it is written. What it does with them is a plan: a generator that yields the ops it
waits for, is sent the one that is done, and returns the call's value. So one loop, in the order of the journal, drives
a call, or any number of them side by side, and a replay takes the same way.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from otelier.errors import ReplayError, WorkflowUseError
from otelier.workflows.engines.protocol import Op, Run

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

if TYPE_CHECKING:
    from otelier.workflows._body import Body

T = TypeVar("T")
Plan: TypeAlias = "Generator[tuple[Op, ...], Op, T]"
"""What a call does: yields ops, is sent the next of them that is done, returns the value."""


class Call(Generic[T]):
    """Something a body asked for: wait for it by `await`, or give it to `ctx.parallel` or `ctx.gather`.

    Nothing of it is done before. Awaited again it gives the same value.
    """

    __slots__ = ("_body", "_error", "_is_over", "_is_taken", "_plan", "_value", "what")

    def __init__(self, body: Body, what: str, plan: Plan[T]) -> None:
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
            except Exception as exc:
                self._error = exc
            self._is_over = True
        if self._error is not None:
            raise self._error
        return self._value

    def error_in(self, op: Op) -> Exception:
        """Return the error that the outcome in *op* holds."""
        return self._body.error_of(op.value[1])

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


async def drive(body: Body, plan: Plan[T]) -> T:
    """Do what *plan* says, within the time limits of the attempt, and return its value.

    Raises:
        TimeoutError: if a time limit of the attempt is reached first.
        ReplayError: if somebody else than the engine cancels the wait.
    """
    run = body.run
    try:
        ops = next(plan)
        while True:
            limits = body.limits
            body.spans.waiting(ops)
            try:
                done = await run.next((*limits, *ops) if limits else ops)
            except asyncio.CancelledError:
                give_up(run, ops)
                raise ReplayError(
                    f"A wait in the body of {body.handler.name} was cancelled from outside, as `asyncio.timeout`, "
                    f"`wait_for` or a task group do: a replay would decide otherwise. Use `timeout_s=` of the call or "
                    f"of the handler, which is recorded."
                ) from None
            body.advanced(done)
            if limits and done in limits:
                give_up(run, ops)
                late = limits[done]
                raise late()
            ops = plan.send(done)
    except StopIteration as stop:
        return stop.value
    finally:
        plan.close()


def give_up(run: Run, ops: Iterable[Op]) -> None:
    """Give up all of *ops* that were begun."""
    for op in ops:
        if op.began_ns is not None and not op.done():
            run.cancel(op)


_NOTHING: Final = object()
"""Value of a branch that did not end."""


@dataclass(slots=True)
class _Branch:
    call: Call[Any]
    plan: Plan[Any] | None = None
    ops: tuple[Op, ...] = ()
    value: Any = _NOTHING
    error: Exception | None = None
    is_over: bool = False


@dataclass(slots=True)
class _Branches:
    """Several calls side by side."""

    run: Run
    branches: list[_Branch]
    most: int
    """How many go on at once."""
    failures: list[Exception] = field(default_factory=list[Exception])

    def begin(self, *, others: bool) -> None:
        """Begin branches in their order as far as there is room, and if *others* may still begin."""
        going = sum(branch.plan is not None and not branch.is_over for branch in self.branches)
        for branch in self.branches:
            if not others or going >= self.most:
                return
            if branch.plan is None:
                branch.plan = branch.call.taken()
                self.advance(branch, None)
                going += not branch.is_over

    def advance(self, branch: _Branch, done: Op | None) -> None:
        assert branch.plan is not None
        try:
            branch.ops = next(branch.plan) if done is None else branch.plan.send(done)
        except StopIteration as stop:
            branch.value, branch.is_over, branch.ops = stop.value, True, ()
        except Exception as exc:
            branch.error, branch.is_over, branch.ops = exc, True, ()
            self.failures.append(exc)

    def waiting(self) -> dict[Op, _Branch]:
        """Return the ops that are waited for, with their branches, in the order of the branches."""
        return {op: branch for branch in self.branches for op in branch.ops}

    def stop(self) -> None:
        """Begin nothing more: waits end here, tasks are cancelled, and steps that run are waited for."""
        for branch in self.branches:
            if branch.plan is None or branch.is_over:
                continue
            branch.plan.close()
            give_up(self.run, [op for op in branch.ops if op.kind != "step"])
            branch.ops = tuple(op for op in branch.ops if op.kind in ("step", "call") and op.began_ns is not None)
            branch.is_over = not branch.ops


def side_by_side(
    run: Run,
    calls: Sequence[Call[Any]],
    *,
    most: int | None,
    return_exceptions: bool,
    limit: Op | None,
    timed_out: Callable[[], TimeoutError],
) -> Plan[list[Any]]:
    """Return the plan of *calls* side by side: their values in their order.

    After a failure nothing more begins, tasks are cancelled, and what runs ends; then it is raised, and several
    failures as an `ExceptionGroup`. With *return_exceptions* failures stand among the values.
    """
    all_of = _Branches(run, [_Branch(call) for call in calls], most or max(len(calls), 1))
    all_of.begin(others=True)
    late: TimeoutError | None = None
    while waiting := all_of.waiting():
        done = yield ((limit,) if limit is not None else ()) + tuple(waiting)
        if done is limit:
            late = timed_out()
            break
        all_of.advance(waiting[done], done)
        if all_of.failures and not return_exceptions:
            break
        all_of.begin(others=True)
    if waiting := all_of.waiting():
        yield from _ended(all_of, late)
    if limit is not None and late is None:
        give_up(run, [limit])
    if return_exceptions:
        return [_value_or_error(branch, late) for branch in all_of.branches]
    failures = [*all_of.failures, *([late] if late is not None else [])]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup("several calls failed side by side", failures)
    return [branch.value for branch in all_of.branches]


def _ended(all_of: _Branches, late: TimeoutError | None) -> Generator[tuple[Op, ...], Op, None]:
    """Wait for what cannot be stopped: steps that run, and tasks until they are cancelled."""
    all_of.stop()
    while waiting := all_of.waiting():
        done = yield tuple(waiting)
        branch = waiting[done]
        branch.ops = tuple(op for op in branch.ops if op is not done)
        branch.is_over = not branch.ops
        if done.kind == "step" and late is None and not done.value[0]:
            error = branch.call.error_in(done)
            branch.error = error
            all_of.failures.append(error)


def _value_or_error(branch: _Branch, late: TimeoutError | None) -> Any:
    if branch.error is not None:
        return branch.error
    return late if branch.value is _NOTHING else branch.value
