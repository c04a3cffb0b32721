"""Handlers: functions that run as workflows, as functions of a service, or as methods of an entity."""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
import typing
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from types import FunctionType
from typing import Any, Final, TypeVar, cast

from otelier import errors
from otelier.codec import error_from_json, from_plain
from otelier.errors import StepError
from otelier.workflows._checks import checked_count, checked_name, checked_seconds, checked_service
from otelier.workflows._payloads import to_payload
from otelier.workflows.engines.protocol import Json, Kind

Function = TypeVar("Function", bound="Callable[..., Any]")


_ARGUMENTS: Final = "otelier.arguments"
"""Key of an input that is several arguments without names, for a handler that is known elsewhere only."""


_made: weakref.WeakSet[Handler] = weakref.WeakSet()
"""All handlers of this process that are still in use."""


_hints: Final[weakref.WeakKeyDictionary[FunctionType, Mapping[str, Any]]] = weakref.WeakKeyDictionary()
"""Types of functions: making them of their texts takes 20 us, and a step asks each time."""
_numbers: Final = itertools.count()


class _Calling:
    """Holds what calls a handler as a function: that needs a worker, which is made of handlers, so it is set later."""

    call: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]


_calling: Final = _Calling()


def be_called_by(call: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> None:
    """Let *call* be called where a handler is called as a function."""
    _calling.call = call


class Handler:
    """A function that a worker runs, and that is run at once where it is called.

    Called with or without its first parameter, the context: in the body of a run it runs as a part of that body;
    outside of one, as a run of its own on an engine in memory.

    Attributes:
        name: What it is called by: the function's name, for an entity `Type.method`.
        kind: `workflow`, `function`, or for an entity `write` or `read`.
        service: The service it belongs to; `None` is that of its worker.
        retries: How often its body runs again after a failure.
        backoff: Seconds before the first retry; each later one waits twice as long.
        timeout_s: Seconds that an attempt may take; `None` for no limit.

    Example:
        >>> from otelier import workflow
        >>> @workflow(retries=2, timeout_s=60)
        ... async def order(ctx, order_id: str):
        ...     return await ctx.step("charge", lambda: f"charged {order_id}")
        >>> order, order.name, order.kind, order.retries
        (<workflow order>, 'order', 'workflow', 2)
    """

    def __init__(
        self,
        function: Callable[..., Any],
        kind: Kind,
        *,
        name: str | None = None,
        service: str | None = None,
        retries: int = 0,
        backoff: float = 1.0,
        timeout_s: float | None = None,
        owner: type | None = None,
    ) -> None:
        if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
            raise TypeError(
                f"Cannot make a {kind} of {_called(function)}: a body waits for its steps. Write it as `async def`, "
                f"and put what blocks into `ctx.step`."
            )
        self.function = function
        self.kind: Kind = kind
        self.name = checked_name(function.__name__ if name is None else name, "a handler's name")
        self.service = None if service is None else checked_service(service)
        self.retries = checked_count(retries, "retries")
        self.backoff = checked_seconds(backoff, "backoff")
        self.timeout_s = None if timeout_s is None else checked_seconds(timeout_s, "timeout_s")
        self.owner = owner
        """Class that it is a method of; an instance is made for each call."""
        if not _takes(function, 1 if owner is None else 2):
            raise TypeError(
                f"Cannot make a {kind} of {_called(function)}: it has no place for the context. Write `ctx` as its "
                f"first parameter."
            )
        functools.update_wrapper(self, function)
        self.number = next(_numbers)
        """Place in the order in which handlers were defined."""
        _made.add(self)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any] | AsyncIterator[Any]:
        return _calling.call(self, args, kwargs)

    @property
    def yields(self) -> bool:
        """Whether it is an async generator: its result is the list of what it yields."""
        return inspect.isasyncgenfunction(self.function)

    @functools.cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Its parameters after the context, and after `self`."""
        found = list(inspect.signature(self.function).parameters.items())
        return dict(found[2 if self.owner is not None else 1 :])

    @functools.cached_property
    def _hints(self) -> Mapping[str, Any]:
        return type_hints(self.function)

    @property
    def returns(self) -> Any:
        """Type of its result as annotated; `None` where it is plain data."""
        return None if self.yields else self._hints.get("return")

    def call(self, ctx: Any, args: Iterable[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call the function itself with the context *ctx*."""
        first = () if self.owner is None else (self.owner(),)
        return self.function(*first, ctx, *args, **kwargs)

    def input_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Json:
        """Return what is stored of arguments, as plain data.

        Raises:
            TypeError: if they do not fit the function.
            CodecError: if one of them has no form in JSON.
        """
        signature = inspect.Signature(list(self.parameters.values()))
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as exc:
            raise TypeError(f"Cannot call {self.kind} {self.name}: {exc}.") from None
        named = {name: value for name, value in bound.arguments.items() if self._takes_one(name)}
        if len(named) < len(bound.arguments):
            return plain_input(args, kwargs, f"the input of {self.name}")
        if not named:
            return None
        what = f"the input of {self.name}"
        return {name: to_payload(value, self._hints.get(name), what=what) for name, value in named.items()}

    def arguments_of(self, payload: Json) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments that an input means, with their types as annotated.

        A dict whose keys fit the parameters is passed by name, anything else is the one argument.

        Raises:
            TypeError: if it does not fit the function.
            CodecError: if a value does not fit its annotation.
        """
        if payload is None and not self._required():
            return (), {}
        if isinstance(payload, dict):
            members = cast("dict[str, Any]", payload)
            if members.keys() == {_ARGUMENTS}:
                args, kwargs = members[_ARGUMENTS]
                bound = inspect.Signature(list(self.parameters.values())).bind(*args, **kwargs)
                members = {name: value for name, value in bound.arguments.items() if self._takes_one(name)}
                if len(members) < len(bound.arguments):
                    return tuple(args), dict(kwargs)
            if self._fits(members):
                return (), {name: self._typed(name, value) for name, value in members.items()}
        if len(self.parameters) == 0 or len(self._required()) > 1:
            shown = ", ".join(self.parameters) or "none"
            raise TypeError(
                f"Cannot call {self.kind} {self.name}: its input does not fit its parameters ({shown}). "
                f"Give a dict with their names as keys."
            )
        name, parameter = next(iter(self.parameters.items()))
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            return (), {name: self._typed(name, payload)}
        return (self._typed(name, payload),), {}

    def result_of(self, value: Any) -> Json:
        """Return its result as plain data.

        Raises:
            CodecError: if it has no form in JSON.
        """
        return to_payload(value, self.returns, what=f"the result of {self.name}")

    def typed_result(self, plain: Json) -> Any:
        """Return a stored result with its type as annotated."""
        return plain if self.returns is None else from_plain(plain, self.returns, what=f"the result of {self.name}")

    def _takes_one(self, name: str) -> bool:
        kind = self.parameters[name].kind
        return kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD) and (
            kind is not inspect.Parameter.POSITIONAL_ONLY
        )

    def _required(self) -> list[str]:
        return [
            name
            for name, one in self.parameters.items()
            if one.default is inspect.Parameter.empty
            and one.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        ]

    def _fits(self, members: Mapping[str, Any]) -> bool:
        open_ended = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in self.parameters.values())
        names = {name for name in self.parameters if self._takes_one(name)}
        return set(self._required()) <= members.keys() and (open_ended or members.keys() <= names)

    def _typed(self, name: str, value: Json) -> Any:
        hint = self._hints.get(name)
        return value if hint is None else from_plain(value, hint, what=f"`{name}` of {self.name}")


def known_handlers() -> list[Handler]:
    """Return the handlers of this process that are still in use, in the order in which they were defined."""
    return sorted(_made, key=lambda one: one.number)


def workflow(
    function: Any = None,
    *,
    name: str | None = None,
    service: str | None = None,
    retries: int = 0,
    backoff: float = 1.0,
    timeout_s: float | None = None,
) -> Any:
    """Make a function a workflow: its body goes on where it was after a crash.

    Args:
        function: An `async def` whose first parameter is the context.
        name: What it is called by; the function's name if `None`.
        service: Service that it belongs to; that of its worker if `None`.
        retries: How often its body runs again after a failure.
        backoff: Seconds before the first retry; each later one waits twice as long.
        timeout_s: Seconds that an attempt may take; `None` for no limit.

    Raises:
        TypeError: if it is no `async def`.

    Example:
        >>> import asyncio
        >>> from otelier import workflow
        >>> @workflow
        ... async def greet(ctx, name: str):
        ...     return await ctx.step("greet", lambda: f"Hello {name}")
        >>> asyncio.run(greet("Ada"))
        'Hello Ada'
    """
    return _decorate(function, "workflow", name, service, retries, backoff, timeout_s)


def function(
    function: Any = None,
    *,
    name: str | None = None,
    service: str | None = None,
    retries: int = 0,
    backoff: float = 1.0,
    timeout_s: float | None = None,
) -> Any:
    """Make a function a function of a service, which workflows call by `ctx.task` and `ctx.spawn`.

    Its arguments are those of `workflow`.

    Example:
        >>> import asyncio
        >>> from otelier import function
        >>> @function(retries=2)
        ... async def double(ctx, number: int):
        ...     return 2 * number
        >>> asyncio.run(double(21))
        42
    """
    return _decorate(function, "function", name, service, retries, backoff, timeout_s)


def _decorate(
    function: Any, kind: Kind, name: str | None, service: str | None, retries: int, backoff: float, limit: float | None
) -> Any:
    def make(one: Callable[..., Any]) -> Handler:
        return Handler(one, kind, name=name, service=service, retries=retries, backoff=backoff, timeout_s=limit)

    return make if function is None else make(function)


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Return whether *function* can be given *count* arguments by place, beside those with names."""
    kinds = [one.kind for one in inspect.signature(function).parameters.values()]
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(kind in by_place for kind in kinds) >= count


def type_hints(function: Any) -> Mapping[str, Any]:
    """Return the annotations of a function as types, `Any` left out; none where they are unknown."""
    # A function inside of another one may be made anew each time, and its types may hold it.
    is_kept = isinstance(function, FunctionType) and "<locals>" not in function.__qualname__
    if is_kept and (known := _hints.get(function)) is not None:
        return known
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception:  # names that only a type checker imports, or that are not known yet
        return {}
    found = {name: hint for name, hint in hints.items() if hint is not Any}
    if is_kept:
        _hints[function] = found
    return found


def return_hint(function: Any) -> Any:
    """Return what a function is annotated to return, as a type; `None` where it has no annotation, or `Any`."""
    try:
        if "return" not in function.__annotations__:
            return None
    except Exception:  # as above, or it has none
        return None
    return type_hints(function).get("return")


def plain_input(args: tuple[Any, ...], kwargs: Mapping[str, Any], what: str) -> Json:
    """Return the input for a handler whose parameters are not known here.

    Raises:
        CodecError: if an argument has no form in JSON.
    """
    if not args:
        return to_payload(dict(kwargs), what=what) if kwargs else None
    if len(args) == 1 and not kwargs:
        return to_payload(args[0], what=what)
    return {_ARGUMENTS: [to_payload(list(args), what=what), to_payload(dict(kwargs), what=what)]}


def read_error(stored: Mapping[str, Json], handlers: Iterable[Handler]) -> Exception:
    """Return the error that a stored outcome has: of its class where that is ours or in a module of *handlers*."""
    names = dict.fromkeys(handler.__module__ for handler in handlers)
    modules = [errors, *(module for name in names if (module := sys.modules.get(name)) is not None)]
    error = error_from_json(stored, modules)
    return error or StepError(str(stored.get("message") or ""), type=str(stored.get("type")))


def _called(function: object) -> str:
    return getattr(function, "__qualname__", None) or f"a {type(function).__name__}"
