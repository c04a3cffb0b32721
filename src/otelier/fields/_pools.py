"""Pools: a thread's job runs in the context of the code that submitted it, and what any job sets ends with it.

The patches of `concurrent.futures` stand at the item that a pool makes of a job, not at `submit`: that one is patched
by many, who put back what they had found there and not what came since.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, cast

from opentelemetry.context import Context, attach, get_current

from otelier.faults import report_fault
from otelier.fields._blocks import Frame
from otelier.fields._contexts import FIELDS, SPAN
from otelier.fields._lifetimes import MARK, Lease, with_lease, without_fields
from otelier.patches import Patches, PatchPoint

_CONTEXT = "_otelier_context"
_CARRIERS = {"logfire._internal.integrations.executors": "func"}
"""Modules of others' jobs that run a job in a context of their own making, and the argument that is the job."""


def _remember(wrapped: Callable[..., Any], item: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Around the making of an item, in the thread that submits the job."""
    wrapped(*args, **kwargs)
    setattr(item, _CONTEXT, get_current())


def _run_item(wrapped: Callable[..., Any], item: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around an item's `run`, in the pool's thread.

    The job alone runs in the submitter's context: callbacks of its future, which come after it, do not.
    """
    try:
        _bind(item, *args)
    except Exception as exc:
        report_fault("fields.pools", exc)
    return wrapped(*args, **kwargs)


def _bind(item: Any, worker: Any = None) -> None:
    submitters = item.__dict__.pop(_CONTEXT, None)
    if submitters is None:  # made before this patch was there, or bound already
        return
    if "fn" in item.__dict__:  # pragma: no cover -- before Python 3.14
        item.fn, item.kwargs = _bound(submitters, item.fn, item.kwargs)
        return
    # Since 3.14 the job is one value, which belongs to the kind of worker: another interpreter takes no context.
    if type(worker).__module__ == type(item).__module__:  # pragma: no cover -- as above
        fn, args, kwargs = item.task
        fn, kwargs = _bound(submitters, fn, kwargs)
        item.task = (fn, args, kwargs)


def _bound(submitters: Context, fn: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    inner = _CARRIERS.get(getattr(fn, "__module__", None) or "")
    if inner in kwargs:  # pragma: no cover -- beside logfire, in `make beside`
        kwargs = {**kwargs, inner: functools.partial(_run_job, submitters, kwargs[inner])}
    return functools.partial(_run_job, submitters, fn), kwargs


def _run_job(submitters: Context, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    frame = Frame(submitters)
    try:
        with frame:
            return fn(*args, **kwargs)
    finally:
        frame.end()


def _submit(wrapped: Callable[..., Any], pool: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around the methods of `multiprocessing.pool`; jobs for processes are left as they are."""
    if _is_thread_pool(pool):
        if args:
            args = (functools.partial(_run_job, get_current(), args[0]), *args[1:])
        elif "func" in kwargs:
            kwargs = {**kwargs, "func": functools.partial(_run_job, get_current(), kwargs["func"])}
    return wrapped(*args, **kwargs)


def _is_thread_pool(pool: Any) -> bool:
    return any(kind.__name__ == "ThreadPool" and kind.__module__ == _POOL for kind in type(pool).__mro__)


def _work(wrapped: Callable[..., Any], _self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around the loop of a worker that takes its jobs from a queue; a forked one is born in its starter's context."""
    return wrapped(_Inbox(args[0]), *args[1:], **kwargs) if args else wrapped(**kwargs)


class _Inbox:
    """A worker's queue: before each job of it everything is forgotten that the job before has set."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self._bare = without_fields(get_current())
        attach(self._bare)

    def get(self, *args: Any, **kwargs: Any) -> Any:
        job = self._queue.get(*args, **kwargs)
        attach(self._bare)
        return job

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)


_POOL = "multiprocessing.pool"
_POOLS = Patches(
    (
        PatchPoint("concurrent.futures.thread", "_WorkItem", "__init__", _remember),
        PatchPoint("concurrent.futures.thread", "_WorkItem", "run", _run_item),
        PatchPoint("concurrent.futures.process", "", "_process_worker", _work),
        PatchPoint(_POOL, "", "worker", _work),
        *(
            PatchPoint(_POOL, "Pool", method, _submit)
            for method in ("apply_async", "map", "map_async", "starmap", "starmap_async", "imap", "imap_unordered")
        ),
    ),
    place="fields.pools",
)


def carry_into_pools() -> None:
    """Make every pool of threads carry the context into its jobs, `run_in_executor` included, and no job leave any."""
    _POOLS.apply()


def stop_carrying() -> None:
    """Take the patches out again."""
    _POOLS.remove()


def is_carried() -> bool:
    """Return whether the patches are in place."""
    return _POOLS.are_in()


_THREAD_POOLS = ("concurrent.futures.thread", "concurrent.futures.process", "multiprocessing.pool")
"""Modules of pools, whose threads serve anybody: each job has the context that came with it."""


def _start(wrapped: Callable[..., Any], thread: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around `Thread.start`, in the thread that starts another one."""
    current = get_current()
    try:
        inside = _for_thread(current, thread)
        if inside is not current:
            # Whoever patched `start` before us, or above us, has taken the context already and keeps it there.
            members = cast("dict[str, Any]", vars(thread))
            for name, value in tuple(members.items()):
                if value is current:
                    setattr(thread, name, inside)
    except Exception as exc:
        report_fault("fields.threads", exc)
        inside = current
    if inside is current:
        return wrapped(*args, **kwargs)
    attach(inside)
    try:
        return wrapped(*args, **kwargs)
    finally:
        attach(current)


def _for_thread(current: Context, thread: Any) -> Context:
    state, span = current.get(FIELDS), current.get(SPAN)
    if state is None and getattr(span, MARK, None) is None:
        return current
    target = getattr(thread, "_target", None)
    if getattr(target, "__module__", None) in _THREAD_POOLS or type(thread).__module__ in _THREAD_POOLS:
        return without_fields(current)
    is_leased_alone = type(state) is Lease and state.own is None
    return current if is_leased_alone else with_lease(current, Lease.of(current))


# OpenTelemetry's instrumentation gives `Timer` a `start` of its own, which may lead past that of its base.
_STARTS = Patches(
    (PatchPoint("threading", owner, "start", _start) for owner in ("Thread", "Timer")), place="fields.threads"
)


def lease_to_threads() -> None:
    """Let a raw thread that inherits fields have them only while what they were set in is open."""
    _STARTS.apply()


def stop_leasing() -> None:
    """Take the patches out again."""
    _STARTS.remove()
