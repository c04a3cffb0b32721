"""Thread pools: a job runs in the context of the code that submitted it, and what it sets ends with it."""

from __future__ import annotations

import functools
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
    if not is_carried():
        _submit = ThreadPoolExecutor.submit
        ThreadPoolExecutor.submit = _submit_with_context


@on_reset
def stop_carrying() -> None:
    """Take the patch out again, unless somebody has patched above it."""
    if ThreadPoolExecutor.submit is _submit_with_context:
        ThreadPoolExecutor.submit = _submit


def is_carried() -> bool:
    """Tell whether the patch is in place, also below another library's."""
    current: Any = ThreadPoolExecutor.submit
    while current is not None and current is not _submit_with_context:
        current = getattr(current, "__wrapped__", None)
    return current is not None
