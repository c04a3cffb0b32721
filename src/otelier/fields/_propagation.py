"""Carrying the caller's context where it does not go by itself: raw threads, callbacks, other processes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MethodType
from typing import Any, ParamSpec, TypeVar

from opentelemetry.context import Context, get_current
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from otelier.fields._blocks import Frame, run_in
from otelier.fields._contexts import BAGGAGE, not_ours, with_state
from otelier.fields._inheritance import born_state
from otelier.fields._state import UNSET, State

P = ParamSpec("P")
R = TypeVar("R")

_trace_context = TraceContextTextMapPropagator()


def propagate(fn: Callable[P, R]) -> Callable[P, R]:
    """Return *fn* bound to the current context: its fields, span and baggage.

    Use it for raw threads, callbacks and other processes; tasks and thread pools inherit the context anyway. The result
    is called like *fn*, from anywhere, any number of times; values that *fn* sets end with that call. If *fn* can be
    pickled, so can the result: another process then gets the fields, the span as a remote parent, and the
    application's baggage entries that are text.

    Args:
        fn: A plain, async, generator or async generator function, or another callable.

    Raises:
        TypeError: if *fn* is a class or cannot be called.

    Example:
        >>> import threading
        >>> import otelier
        >>> with otelier.context(user_id="u-1"):
        ...     thread = threading.Thread(target=otelier.propagate(lambda: print(otelier.get_context().user_id)))
        >>> thread.start(); thread.join()
        u-1
    """
    return _Bound(fn, get_current())


class _Bound:
    """A callable with the context it runs in."""

    def __init__(self, function: Callable[..., Any], inside: Context) -> None:
        self._function = function
        self._inside = inside
        self._run = run_in(function, lambda: Frame(inside))
        functools.update_wrapper(self, self._run)
        self.__wrapped__ = function
        # No function can be pickled with what it is bound to, so this is an object. With these it is a function to
        # `inspect`, on every Python, and so async for frameworks that look.
        self.__code__ = self._run.__code__
        self.__defaults__ = None
        self.__kwdefaults__ = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._run(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method it is given its instance, as a function is."""
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> tuple[Any, ...]:
        state = born_state(self._inside)
        carrier: dict[str, str] = {}
        _trace_context.inject(carrier, self._inside)
        bag: Any = self._inside.get(BAGGAGE) or {}
        own = {key: value for key, value in not_ours(bag).items() if isinstance(value, str)}
        return _rebound, (self._function, None if state is UNSET else state, carrier, own)


def _rebound(
    function: Callable[..., Any], state: State | None, carrier: dict[str, str], own_baggage: dict[str, str]
) -> Callable[..., Any]:
    """Make a bound callable anew in the process that it was sent to."""
    inside = Context({**_trace_context.extract(carrier, Context()), BAGGAGE: own_baggage})
    return _Bound(function, inside if state is None else with_state(inside, state))
