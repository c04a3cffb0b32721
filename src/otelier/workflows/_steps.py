"""Steps: functions that are done once, and whose results are recorded."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from otelier import names
from otelier.codec import error_to_json, from_plain, to_plain
from otelier.errors import RunCancelled, RunParked, WorkflowUseError
from otelier.faults import warn_once
from otelier.workflows._body import CURRENT_STEP, Body, StepScope, is_run_by
from otelier.workflows._calls import Call, Plan, Stopping
from otelier.workflows._handlers import return_hint
from otelier.workflows._payloads import checked_payload
from otelier.workflows.engines.protocol import Json, Op, Outcome


@dataclass(slots=True)
class _Attempt:
    limit: Op | None
    """Sleep that ends it."""
    step: Op
    pause: Op | None
    """Sleep before the next one."""
    raised: list[BaseException]
    """What it failed with, where it was executed in this life."""


def make_step(
    body: Body,
    name: str,
    function: Callable[..., Any],
    *,
    timeout_s: float | None,
    retries: int,
    backoff: float,
    load: Callable[[Json], Any] | None = None,
    dump: Callable[[Any], Json] | None = None,
    attributes: dict[str, Any] | None = None,
) -> Call[Any]:
    """Make all the ops of a step, and return the call of it.

    *dump* and *load* turn its result into plain data and back, where its annotation is not enough.
    """
    step_id = body.numbered(name)
    what = _result_of(step_id)
    returns = return_hint(_inner(function))
    write = dump or functools.partial(to_plain, as_type=returns, what=what)
    read = load or functools.partial(_read, returns, what)
    attempts: list[_Attempt] = []
    for number in range(1, retries + 2):
        limit = None if timeout_s is None else body.run.sleep(timeout_s)
        box: list[Op] = []
        raised: list[BaseException] = []
        step = body.run.step(
            step_id,
            functools.partial(
                _execute, body, step_id, number if retries else body.attempt, function, write, box, raised, attributes
            ),
        )
        box.append(step)
        pause = body.run.sleep(backoff * 2 ** (number - 1)) if number <= retries else None
        attempts.append(_Attempt(limit, step, pause, raised))
    return Call(body, f"ctx.step({step_id!r})", _step_plan(body, step_id, attempts, read, function, timeout_s))


def _result_of(step_id: str) -> str:
    return f"the result of step {step_id!r}"


def _read(returns: Any, what: str, plain: Json) -> Any:
    return plain if returns is None else from_plain(plain, returns, what=what)


def _step_plan(
    body: Body,
    step_id: str,
    attempts: list[_Attempt],
    read: Callable[[Json], Any],
    function: Callable[..., Any],
    timeout_s: float | None,
) -> Plan[Any]:
    for attempt in attempts:
        limit, step = attempt.limit, attempt.step
        ops = (step,) if limit is None else (limit, step)
        is_last = attempt.pause is None
        try:
            done = yield ops
        except Stopping:
            is_last = True
            done = yield ops
        if done is limit:
            body.give_up((step,))
            late = f"step {step_id!r} took longer than {timeout_s:g} s"
            if not inspect.iscoroutinefunction(_inner(function)):
                warn_once(
                    "workflows.thread_left",
                    "A step that took longer than its `timeout_s` goes on in its thread: a function that blocks cannot "
                    "be stopped. Give what it calls a limit of its own.",
                )
                late += "; a function that blocks goes on in its thread"
            error: Exception = TimeoutError(late)
        else:
            if limit is not None:
                body.run.cancel(limit)
            succeeded, value = step.value
            if succeeded:
                return read(value)
            error = body.error_of(value)
        if is_last or attempt.pause is None:
            raise error from (attempt.raised[0] if attempt.raised else None)
        yield (attempt.pause,)
    raise AssertionError("unreachable")


async def _execute(
    body: Body,
    step_id: str,
    attempt: int,
    function: Callable[..., Any],
    write: Callable[[Any], Json],
    box: list[Op],
    raised: list[BaseException],
    attributes: dict[str, Any] | None,
) -> Outcome:
    """Do the step, and return its outcome; this is what the engine calls."""
    CURRENT_STEP.set(StepScope(body, step_id, attempt))
    operation = body.spans.step(step_id, box[0], attributes)
    doing = asyncio.current_task()
    with operation:
        try:
            value = write(await _called(body, function))
            checked_payload(value, what=_result_of(step_id))
            operation.show({names.STEP_RESULT: value})
            return [True, value]
        except asyncio.CancelledError as exc:
            if _is_cancelled_from_outside(exc):
                operation.withheld = isinstance(body.run.stopped, RunParked)  # it will be executed again
                raise
            error: BaseException = exc  # of something that it waited for
        except (KeyboardInterrupt, SystemExit):  # the process ends: no outcome
            raise
        except BaseException as exc:  # also one of the user's own, which would end nobody's wait
            if isinstance(exc, GeneratorExit) and not is_run_by(doing):  # this is closed: no outcome
                raise
            error = exc
        operation.failure = error
        raised.append(error)
    return [False, error_to_json(error)]


async def _called(body: Body, function: Callable[..., Any]) -> Any:
    if inspect.iscoroutinefunction(_inner(function)):
        return await _apart(function())
    given = _Given(function)
    called = asyncio.ensure_future(body.host.call_in_thread(given.call))
    try:
        value = await _apart(asyncio.shield(called))
    except RuntimeError as exc:
        if type(exc) is RuntimeError and str(exc).startswith(_NO_LOOP):
            raise WorkflowUseError(
                "A step's function that is no `async def` runs in a thread, which has no event loop. Write `async def`."
            ) from exc
        raise
    except asyncio.CancelledError:
        if isinstance(body.run.stopped, RunCancelled):  # it cannot be stopped, and what it does is to be done whole
            await asyncio.wait((called,), timeout=_END_S)
        called.cancel()
        given.leave()
        raise
    return await _apart(value) if inspect.isawaitable(value) else value


_END_S: Final = 20.0
"""How long a function in a thread is given to end when its run is cancelled."""
_NO_LOOP: Final = ("no running event loop", "There is no current event loop in thread")


@dataclass(slots=True)
class _Given:
    """What a function gives in its thread; a coroutine that nobody waits for any more is closed."""

    function: Callable[..., Any]
    coroutine: Coroutine[Any, Any, Any] | None = None
    is_left: bool = False

    def call(self) -> Any:
        value = self.function()
        if inspect.iscoroutine(value):
            self.coroutine = value
            if self.is_left:
                value.close()
        return value

    def leave(self) -> None:
        self.is_left = True
        if self.coroutine is not None:
            self.coroutine.close()


def _inner(function: Any) -> Any:
    """Return the function that *function* calls: what is annotated, and tells whether it is to be awaited."""
    while isinstance(function, functools.partial):
        function = function.func  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not inspect.isroutine(function) and not isinstance(function, type):
        return getattr(function, "__call__", function)  # noqa: B004 -- its method, which is annotated
    return function


_CAN_TELL: Final = hasattr(asyncio.Task, "cancelling")
"""Whether a task knows that it was cancelled itself, and not what it waits for; Python 3.10 does not."""


async def _apart(awaitable: Any) -> Any:
    """Wait for *awaitable*; where a task cannot tell who was cancelled, in one of its own."""
    if _CAN_TELL:
        return await awaitable
    inner = asyncio.ensure_future(awaitable)
    try:
        await asyncio.wait((inner,))
    except asyncio.CancelledError:
        inner.cancel()
        await asyncio.wait((inner,))
        raise _Cancelled from None
    return inner.result()


class _Cancelled(asyncio.CancelledError):
    """The step itself was cancelled."""


def _is_cancelled_from_outside(error: BaseException) -> bool:
    task: Any = asyncio.current_task()
    return task.cancelling() > 0 if _CAN_TELL else isinstance(error, _Cancelled)
