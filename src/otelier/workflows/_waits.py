"""Waits: for time, for signals, and for other runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final, cast

from otelier.errors import MissingExtraError, StreamElsewhere, WorkflowUseError
from otelier.workflows._body import Body
from otelier.workflows._calls import Call, Plan, Stopping
from otelier.workflows._checks import checked_name, checked_run_id, checked_seconds, checked_signal
from otelier.workflows._handlers import Handler, plain_input
from otelier.workflows._headers import entity_in, opened, sealed
from otelier.workflows._payloads import to_payload
from otelier.workflows.engines.protocol import Json, Op, Target

_NO_DEFAULT: Final = object()
_MAX_YEARS: Final = 100


def wait_for(body: Body, op: Op, what: str, span: str) -> Call[Any]:
    """Return the call that waits for *op*, with a span of the name *span*."""

    def plan() -> Plan[Any]:
        yield (op,)
        body.spans.waited(op, span)
        return op.value

    return Call(body, what, plan())


def make_timer(body: Body, delay_ms: float | None, cron: str | None, tz: str) -> Call[None]:
    """Return the call of `ctx.timer`."""
    if (delay_ms is None) == (cron is None):
        raise TypeError("ctx.timer takes `delay_ms=` or `cron=`, one of both.")
    seconds: float | Callable[[int], float]
    if delay_ms is not None:
        seconds = checked_seconds(delay_ms, "delay_ms") / 1000
    else:
        seconds = partial(_until, str(cron), tz)
        seconds(body.spans.now_ns)  # what cannot be read is refused here
    body.check("ctx.timer")
    return wait_for(body, body.run.sleep(seconds), "ctx.timer", "timer")


def _until(cron: str, tz: str, now_ns: int) -> float:
    """Return the seconds from a time, in nanoseconds since the epoch, to the next one that *cron* names."""
    try:
        from croniter import croniter
    except ImportError as exc:
        raise MissingExtraError(
            "ctx.timer(cron=...) needs croniter: install it by `pip install 'otelier[workflows]'`.", extra="workflows"
        ) from exc
    import zoneinfo

    if not isinstance(cast("Any", tz), str):
        raise TypeError(f"Cannot use a {type(tz).__name__} as `tz`: give text, such as 'Europe/Berlin'.")
    try:
        zone = zoneinfo.ZoneInfo(tz)
    except (KeyError, ValueError, OSError) as exc:
        raise ValueError(f"Cannot read tz={tz[:64]!r}: name a time zone, such as 'Europe/Berlin'.") from exc
    now = dt.datetime.fromtimestamp(now_ns / 1e9, zone)
    try:
        found = croniter(cron, now, max_years_between_matches=_MAX_YEARS).get_next(dt.datetime)
    except (ValueError, KeyError, TypeError) as exc:
        raise ValueError(
            f"Cannot read cron={cron[:64]!r}: write five fields, minute, hour, day, month and weekday, such as "
            f"'0 0 * * *'."
        ) from exc
    return max(0.0, found.timestamp() - now_ns / 1e9)


def call_target(body: Body, target: Target, payload: Json) -> Call[Any]:
    """Return the call that runs *target*, and gives its result."""
    if target.key is not None:
        _refuse_circle(body, target)
    number = body.run.made()
    op = body.run.call(target, payload, body.spans.headers_for(number, target))

    def plan() -> Plan[Any]:
        body.spans.called(op, target)
        try:
            yield (op,)
        except Stopping:
            body.give_up((op,))
            yield (op,)  # it ends when the run that it called has ended
            raise
        return body.value_of(op)

    shown = f"ctx.entity({target.handler!r})" if target.key is not None else f"ctx.task({target.handler!r})"
    return Call(body, shown, plan())


def _refuse_circle(body: Body, target: Target) -> None:
    chain, entity = body.spans.writes_above(), entity_in(target)
    if entity in chain:
        raise WorkflowUseError(
            f"{target.handler} of {target.key!r} would wait for itself: {' -> '.join([*chain, entity])}. An "
            f"entity has one writer at a time. Read the state here, or use `ctx.spawn`, which does not wait."
        )


def result_of(
    body: Body, make: Callable[[], Op], run_id: str, handler: Handler | None, timeout_s: float | None
) -> Call[Any]:
    """Return the call that waits for a run's result, by the op that *make* gives, for at most *timeout_s* seconds."""
    what = f"the result of {run_id}"
    seconds = None if timeout_s is None else checked_seconds(timeout_s, "timeout_s")
    body.check(what)
    limit, op = None if seconds is None else body.run.sleep(seconds), make()

    def plan() -> Plan[Any]:
        done = yield (op,) if limit is None else (limit, op)
        if done is limit:
            raise TimeoutError(f"{run_id} took longer than {seconds:g} s")
        if limit is not None:
            body.run.cancel(limit)
        value = body.value_of(op)
        return value if handler is None else handler.typed_result(value)

    return Call(body, what, plan())


def stream_in_body(run_id: str) -> StreamElsewhere:
    """Return the error for a body that would read what a run yields."""
    return StreamElsewhere(
        f"What {run_id} yields cannot be read in a body: a replay would not see the same pieces. Wait for `result()`, "
        f"the list of them."
    )


class Handle:
    """A child that was started: its result can be waited for, or not.

    Example:
        >>> import asyncio
        >>> from otelier import function, workflow
        >>> @function
        ... async def shrink(ctx, name: str):
        ...     return f"{name}-small"
        >>> @workflow
        ... async def upload(ctx):
        ...     handle = ctx.spawn(shrink, "a", key="a")
        ...     return await handle.result()
        >>> asyncio.run(upload())
        'a-small'
    """

    def __init__(self, body: Body, target: Target, payload: Json, run_id: str, handler: Handler) -> None:
        self._body = body
        self._handler = handler
        self.workflow_id: Final = run_id
        """Workflow id of the child."""
        number = body.run.made()
        headers = body.spans.headers_for(number, None)
        self._op = body.run.call(target, payload, headers, run_id=run_id, detached=True)
        body.spans.called(self._op, target)
        body.keep(self._op)

    def __repr__(self) -> str:
        return f"<Handle of {self.workflow_id}>"

    def result(self, timeout_s: float | None = None) -> Call[Any]:
        """Wait for the child's result, for at most *timeout_s* seconds.

        Raises:
            TimeoutError: when waited for, if it has not ended by then; the child goes on.
        """
        return result_of(self._body, lambda: self._op, self.workflow_id, self._handler, timeout_s)

    def stream(self) -> AsyncIterator[Any]:
        """Raise: what a child yields has no place in a body, which would see other pieces in a replay.

        Raises:
            StreamElsewhere: always.
        """
        raise stream_in_body(self.workflow_id)


class Signals:
    """Signals of a run: `await ctx.signal(name)` waits for one, `ctx.signal.emit` sends one."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def __call__(self, name: str, timeout_ms: float | None = None, default: Any = _NO_DEFAULT) -> Call[Any]:
        """Wait for the oldest signal of a name, sent before or after this.

        Args:
            name: Name of the signal.
            timeout_ms: Milliseconds to wait; `None` waits until it comes.
            default: Value where none comes in time; without it that is a `TimeoutError`.

        Raises:
            WorkflowUseError: inside a step, in another task than the body's, or while another wait for it is open.
        """
        body = self._body
        checked_signal(name)
        seconds = None if timeout_ms is None else checked_seconds(timeout_ms, "timeout_ms") / 1000
        body.check(f"ctx.signal({name!r})")
        stored = default if default is _NO_DEFAULT else to_payload(default, what=f"the default of signal {name!r}")
        op = body.run.signal(name, seconds)

        def plan() -> Plan[Any]:
            yield (op,)
            payload, link = opened(op.value)
            body.spans.waited(op, f"signal {name}", link=link, payload=payload, is_late=op.value is None)
            if op.value is not None:
                return payload
            if stored is _NO_DEFAULT:
                raise TimeoutError(f"no signal {name!r} came within {seconds:g} s")
            return stored

        return Call(body, f"ctx.signal({name!r})", plan())

    def emit(self, name: str, payload: Any = None, target_workflow_id: str | None = None) -> Call[None]:
        """Send a signal to a run, once.

        Args:
            name: Name of the signal.
            payload: What it says, as JSON holds it.
            target_workflow_id: Run that it is for; `None` is the root of this one's tree.

        Raises:
            CodecError: if *payload* has no form in JSON.
            UnknownRunError: when waited for, if there is no such run.
            RunEndedError: when waited for, if that run has ended.
        """
        body = self._body
        checked_signal(name)
        target = body.spans.root_run_id if target_workflow_id is None else checked_run_id(target_workflow_id)
        plain = to_payload(payload, what=f"the payload of signal {name!r}")
        body.check(f"ctx.signal.emit({name!r})")
        number = body.run.made()
        op = body.run.send(target, name, sealed(plain, body.spans.context_of(number)))

        def plan() -> Plan[None]:
            body.spans.emitted(op, name, plain)
            yield (op,)
            body.value_of(op)

        return Call(body, f"ctx.signal.emit({name!r})", plan())


class EntityProxy:
    """An entity, by type and key; its methods are calls."""

    def __init__(self, body: Body, type: str, key: str) -> None:
        self._body = body
        self._type = type
        self._key = key

    def __getattr__(self, method: str) -> Callable[..., Call[Any]]:
        if method.startswith("__"):
            raise AttributeError(method)
        name = checked_name(f"{self._type}.{method}", "a method's name")

        def call(*args: Any, **kwargs: Any) -> Call[Any]:
            body = self._body
            body.check(f"ctx.entity({self._type!r}, ...).{method}")
            service, handler = body.host.entity_method(name)
            payload: Json = (
                plain_input(args, kwargs, f"the input of {name}") if handler is None else handler.input_of(args, kwargs)
            )
            return call_target(body, Target(service, name, self._key), payload)

        return call
