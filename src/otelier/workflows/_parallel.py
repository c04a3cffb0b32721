"""Calls side by side: what `ctx.parallel` and `ctx.gather` do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from otelier.codec import error_to_json
from otelier.errors import WorkflowUseError
from otelier.workflows._body import Body
from otelier.workflows._calls import Call, Plan, Stopping
from otelier.workflows._checks import checked_count, checked_seconds
from otelier.workflows.engines.protocol import Op

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

_MAX_CALLS: Final = 10_000
_SHOWN: Final = 5
"""How many of several failures a message names."""
_NOTHING: Final = object()
"""Value of a branch that did not end."""


@dataclass(slots=True)
class _Branch:
    place: int
    call: Call[Any]
    plan: Plan[Any] | None = None
    ops: tuple[Op, ...] = ()
    value: Any = _NOTHING
    error: Exception | None = None


@dataclass(slots=True)
class _Branches:
    body: Body
    branches: list[_Branch]
    most: int
    """How many go on at once."""
    failures: list[Exception] = field(default_factory=list[Exception])
    begun: int = 0
    going: dict[int, _Branch] = field(default_factory=dict[int, "_Branch"])
    """Branches that were begun and are not over, by their place, in order."""
    waiting: dict[Op, _Branch] = field(default_factory=dict[Op, "_Branch"])
    """The ops that are waited for, with their branches; kept up, so that a result costs the same in any number."""

    def begin(self, *, after_failures: bool) -> None:
        """Begin branches in their order as far as there is room, and if others may still begin *after_failures*."""
        while self.begun < len(self.branches) and len(self.going) < self.most and (after_failures or not self.failures):
            branch = self.going[self.begun] = self.branches[self.begun]
            self.begun += 1
            try:
                branch.plan = branch.call.taken()
            except WorkflowUseError as exc:
                self._end(branch, exc)
            else:
                self.advance(branch, None)

    def advance(self, branch: _Branch, done: Op | Stopping | None) -> None:
        assert branch.plan is not None
        for op in branch.ops:
            self.waiting.pop(op, None)
        try:
            branch.ops = branch.plan.throw(done) if isinstance(done, Stopping) else branch.plan.send(done)  # type: ignore[arg-type]
        except StopIteration as stop:
            branch.value = stop.value
            self._end(branch, None)
        except Stopping:
            self._end(branch, None)
        except Exception as exc:
            self._end(branch, exc)
        for op in branch.ops:
            self.waiting[op] = branch

    def _end(self, branch: _Branch, error: Exception | None) -> None:
        branch.error, branch.ops = error, ()
        del self.going[branch.place]
        if error is not None:
            self.failures.append(error)

    def stop(self) -> None:
        """Begin nothing more: waits end here, tasks are cancelled, and steps that run are waited for."""
        for branch in list(self.going.values()):
            waited = branch.ops
            self.advance(branch, Stopping())
            self.body.give_up(tuple(op for op in waited if op not in branch.ops))


def make_parallel(
    body: Body,
    what: str,
    calls: Sequence[Call[Any]],
    most: int | None,
    return_exceptions: bool,
    timeout_s: float | None,
) -> Call[list[Any]]:
    """Return the call of *calls* side by side; errors name it *what*.

    Raises:
        TypeError: if one of them is no call.
        ValueError: if they are too many, or a number cannot be used.
        WorkflowUseError: if one is given twice or waited for already, or this stands where no call may be made.
    """
    body.check(what)
    for call in calls:
        if not isinstance(cast("Any", call), Call):
            raise TypeError(
                f"{what} was given a {type(call).__name__}: give calls of the context, such as `ctx.step(...)` or "
                f"`ctx.task(...)`, without `await`."
            )
    if len({id(call) for call in calls}) < len(calls):
        raise WorkflowUseError(f"{what} was given one call twice: make a call for each.")
    if taken := next((call for call in calls if call.is_taken), None):
        raise WorkflowUseError(f"{what} was given {taken.what}, which is waited for already: make a call for each.")
    if len(calls) > _MAX_CALLS:
        raise ValueError(f"{what} was given {len(calls):,} calls: {_MAX_CALLS:,} are the limit.")
    if most is not None and checked_count(most, "max_concurrency") == 0:
        raise ValueError("Cannot use 0 as `max_concurrency`: nothing would ever begin. Use 1 or more.")
    seconds = None if timeout_s is None else checked_seconds(timeout_s, "timeout_s")
    limit: Op | None = None if seconds is None else body.run.sleep(seconds)

    def late() -> TimeoutError:
        return TimeoutError(f"{what} took longer than {seconds:g} s")

    for call in calls:
        body.waited(call)  # by this one
    return Call(body, what, _side_by_side(body, calls, most, return_exceptions, limit, late))


def _side_by_side(
    body: Body,
    calls: Sequence[Call[Any]],
    most: int | None,
    return_exceptions: bool,
    limit: Op | None,
    timed_out: Callable[[], TimeoutError],
) -> Plan[list[Any]]:
    """Return the plan of *calls* side by side: their values in their order.

    After a failure nothing more begins, tasks are cancelled, and what runs ends; then it is raised, and several
    failures as an `ExceptionGroup`. At the time limit what runs is cancelled as well. With *return_exceptions* failures
    stand among the values.
    """
    all_of = _Branches(body, [_Branch(place, call) for place, call in enumerate(calls)], most or max(len(calls), 1))
    late: TimeoutError | None = None
    is_stopping = is_stopped = False
    while True:
        if not is_stopping:
            all_of.begin(after_failures=return_exceptions)
            if all_of.failures and not return_exceptions:
                all_of.stop()
                is_stopping = True
        waiting = all_of.waiting
        if not waiting:
            break
        try:
            done = yield (*waiting,) if limit is None else (limit, *waiting)
        except Stopping:
            all_of.stop()
            is_stopping = is_stopped = True
            continue
        if done is limit:
            late = timed_out()
            body.give_up(tuple(waiting))
            break
        all_of.advance(waiting[done], done)
    if limit is not None and late is None:
        body.run.cancel(limit)
    failures = [*all_of.failures, *([late] if late is not None else [])]
    if return_exceptions and not is_stopped:
        return [_value_or_error(branch, late) for branch in all_of.branches]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise ExceptionGroup(f"several calls failed side by side: {_shown(failures)}", failures)
    if is_stopped:
        raise Stopping
    return [branch.value for branch in all_of.branches]


def _shown(failures: Sequence[Exception]) -> str:
    shown = [f"{type(one).__name__}: {error_to_json(one)['message']}"[:200] for one in failures[:_SHOWN]]
    return "; ".join(shown if len(failures) <= _SHOWN else [*shown, "..."])


def _value_or_error(branch: _Branch, late: TimeoutError | None) -> Any:
    if branch.error is not None:
        return branch.error
    return late if branch.value is _NOTHING else branch.value


def named(names: list[str], plan: Plan[list[Any]]) -> Plan[dict[str, Any]]:
    """Return *plan* with its values by their names."""
    values = yield from plan
    return dict(zip(names, values))
