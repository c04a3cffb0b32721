"""Thread pools: a job runs in the context of the code that submitted it, and what it sets ends with it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from opentelemetry.context import Context, attach, get_current

from otelier.signals import on_reset

P = ParamSpec("P")
R = TypeVar("R")

_submit = ThreadPoolExecutor.submit


@functools.wraps(_submit)
def _submit_with_context(
    self: ThreadPoolExecutor, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> Future[R]:
    return _submit(self, _run_job, get_current(), fn, *args, **kwargs)


def _run_job(submitters: Context, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    former = get_current()
    attach(submitters)
    try:
        return fn(*args, **kwargs)
    finally:
        attach(former)


def carry_into_executors() -> None:
    """Make every `ThreadPoolExecutor` carry the context into its jobs, `run_in_executor` included."""
    global _submit
    if is_carried():
        return
    # Below the wrappers of others: they take theirs out by looking at the top only.
    lowest = _lowest_wrapper()
    if lowest is None:
        _submit = ThreadPoolExecutor.submit
        ThreadPoolExecutor.submit = _submit_with_context
    else:
        _submit = lowest.__wrapped__
        lowest.__wrapped__ = _submit_with_context


@on_reset
def stop_carrying() -> None:
    """Take the patch out again, unless somebody has replaced it."""
    lowest = _lowest_wrapper()
    if lowest is not None and lowest.__wrapped__ is _submit_with_context:
        lowest.__wrapped__ = _submit
    elif ThreadPoolExecutor.submit is _submit_with_context:
        ThreadPoolExecutor.submit = _submit


def is_carried() -> bool:
    """Tell whether the patch is in place, also below another library's."""
    lowest = _lowest_wrapper()
    return (ThreadPoolExecutor.submit if lowest is None else lowest.__wrapped__) is _submit_with_context


def _lowest_wrapper() -> Any:
    """Return the lowest of the wrappers that other libraries have put around `submit`; `None` without one."""
    # They are all wrapt's; importing it for nothing would cost more than this room.
    wrapt = sys.modules.get("wrapt")
    lowest: Any = None
    wrapper: Any = vars(ThreadPoolExecutor)["submit"]
    while wrapt is not None and isinstance(wrapper, wrapt.FunctionWrapper):
        lowest, wrapper = wrapper, wrapper.__wrapped__
    return lowest
