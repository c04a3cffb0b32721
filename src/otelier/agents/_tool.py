"""`tool`: a function that a model may call."""

from __future__ import annotations

import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, ParamSpec, TypeVar, Union, cast, overload

from otelier.agents._context import RunContext
from otelier.errors import ToolError
from otelier.llm.functions import Signature, Unresolved, enclosing_locals, param_of, resolve_annotation, unwrap_partial

CONTEXT_NAME: Final = "ctx"
_UNIONS: Final = (Union, types.UnionType)
_OURS: Final = types.SimpleNamespace(RunContext=RunContext)
_KNOWN: Final = {**vars(typing), "typing": typing, "RunContext": RunContext, "otelier": _OURS}
"""What an annotation may mean where its module imports `RunContext` for type checkers only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextParameter:
    """The parameter that is given the run's context."""

    name: str
    kind: type[RunContext]
    """The class it must be of."""
    optional: bool
    """Whether the function does without one."""


def context_parameter(parameter: inspect.Parameter, annotation: Any) -> ContextParameter | None:
    """Return what *parameter* wants of the run's context, by its annotation or its name; `None` for any other."""
    if isinstance(annotation, Unresolved):
        annotation = resolve_annotation(annotation.text, _KNOWN)
    kind, optional = _context_type(annotation)
    if kind is None and parameter.name == CONTEXT_NAME:
        kind = RunContext
    if kind is None:
        return None
    optional = optional or parameter.default is not parameter.empty
    return ContextParameter(name=parameter.name, kind=kind, optional=optional)


def _context_type(annotation: Any) -> tuple[type[RunContext] | None, bool]:
    """Return the kind of context that *annotation* asks for, `None` when it asks for none, and whether it may lack."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _context_type(annotation.__origin__)
    if origin in _UNIONS:
        members = typing.get_args(annotation)
        kinds = [one for one in (_context_type(member)[0] for member in members) if one is not None]
        # Of several kinds the function looks itself which one it got.
        return (kinds[0] if len(kinds) == 1 else RunContext if kinds else None), type(None) in members
    kind = annotation if origin is None else origin
    is_context = isinstance(kind, type) and issubclass(kind, RunContext)
    return (cast("type[RunContext]", kind) if is_context else None), False


P = ParamSpec("P")
R = TypeVar("R")

MAX_RESULT_CHARS: Final = 100_000
"""Longest result that a model gets, unless the tool sets another limit."""
OnError = Callable[[BaseException], object]
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Tool(Generic[P, R]):
    """A function that a model may call, with its description and schema; your code can call it like the function.

    Example:
        >>> import otelier
        >>> @otelier.tool
        ... def add(a: int, b: int = 1) -> int:
        ...     '''Add two numbers.'''
        ...     return a + b
        >>> add(2, 3), add.name, add.description
        (5, 'add', 'Add two numbers.')
        >>> add.parameters["properties"]["b"]
        {'default': 1, 'type': 'integer'}
    """

    __wrapped__: Callable[P, R]
    """The plain function, as it was."""

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout_s: float | None = None,
        max_result_chars: int = MAX_RESULT_CHARS,
        on_error: OnError | None = None,
    ) -> None:
        self._around = enclosing_locals(function)
        if isinstance(function, Tool):
            other = cast("Tool[P, R]", function)
            self._around = other._around
            name, description, function = name or other.name, description or other._description, other.__wrapped__
            on_error = on_error or other.on_error
        if not callable(function) and not hasattr(function, "__get__"):
            raise ToolError(
                f"Cannot offer an object of type {type(function).__name__} as a tool: it cannot be called. Pass "
                f"functions, or what `tool` made; a name is given as `@tool(name=...)`."
            )
        functools.update_wrapper(self, function)
        written = unwrap_partial(function)
        self.name: str = name or getattr(written, "__name__", type(written).__name__)
        """Name that the model calls it by."""
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ToolError(
                f"Cannot name a tool {self.name!r}: models take 1 to 64 letters, digits, `_` and `-`. "
                f"Pass `name=` to `tool`."
            )
        if inspect.isasyncgenfunction(function):
            raise ToolError(
                f"Cannot offer {self.name!r} as a tool: it gives its result in pieces, and a model takes one. Return "
                f"it, or make a list of what it yields."
            )
        for limit, value, fits in (
            ("timeout_s", timeout_s, timeout_s is None or timeout_s > 0),
            ("max_result_chars", max_result_chars, max_result_chars >= 0),
        ):
            if not fits:
                raise ToolError(
                    f"Cannot limit tool {self.name!r} by `{limit}={value}`: no call could return anything. Give more."
                )
        if on_error is not None and not callable(on_error):
            raise ToolError(
                f"`on_error` of tool {self.name!r} is a {type(on_error).__name__}: it must be a function that takes "
                f"the exception and returns the result for the model."
            )
        self.on_error = on_error
        """Takes what a call raised and returns the result for the model; with `None` that is its class and message."""
        self.timeout_s = timeout_s
        """Seconds that a call may take; `None` waits as long as it takes."""
        self.max_result_chars = max_result_chars
        """Longest result in characters; the rest is cut off, with a note that says so."""
        self._description = description
        self.is_async = is_awaited(function)
        """Whether it is awaited; if not, each call has a thread."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        return self.__wrapped__(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Tool[..., R]:
        """Return the tool of a method, bound to the object that it is read from, as its function would be."""
        bind: Any = getattr(self.__wrapped__, "__get__", None)
        bound = self.__wrapped__ if bind is None else bind(instance, owner)
        if bound is self.__wrapped__:
            return self
        made: Tool[..., R] = Tool(
            bound,
            name=self.name,
            description=self._description,
            timeout_s=self.timeout_s,
            max_result_chars=self.max_result_chars,
            on_error=self.on_error,
        )
        made._around = self._around
        return made

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    @functools.cached_property
    def _read(self) -> tuple[Signature, ContextParameter | None]:
        """What the function takes, and which context; annotations that are text are resolved when this is first read.

        Raises:
            ToolError: if the function cannot be called by a model.
        """
        found: list[ContextParameter] = []

        def hides(parameter: inspect.Parameter, annotation: Any) -> bool:
            wanted = context_parameter(parameter, annotation)
            if wanted is not None:
                found.append(wanted)
            return wanted is not None

        signature = Signature(self.__wrapped__, self.name, hides, self._around)
        if len(found) > 1:
            raise ToolError(
                f"Cannot offer {self.name!r} as a tool: both {found[0].name!r} and {found[1].name!r} would be given "
                f"the run's context. Keep one of them."
            )
        return signature, (found[0] if found else None)

    @property
    def description(self) -> str:
        """Description for the model: the docstring, without its sections about parameters and results."""
        return self._read[0].description if self._description is None else self._description

    @property
    def parameters(self) -> dict[str, Any]:
        """JSON schema of the parameters, without the context."""
        return self._read[0].schema

    def to_param(self) -> dict[str, Any]:
        """Return the tool in the format of chat completions."""
        return param_of(self.name, self.description, self.parameters)

    def bind(self, arguments: Mapping[str, Any], context: object = None) -> Callable[[], R]:
        """Return the function with *arguments*, checked and converted, and with its *context*: ready to be called.

        Raises:
            ToolArgumentsError: if they do not fit.
        """
        signature, wanted = self._read
        args, kwargs = signature.bind(arguments, None if wanted is None else {wanted.name: context})
        return functools.partial(self.__wrapped__, *args, **kwargs)

    def context_for(self, context: RunContext, *, given: bool) -> RunContext | None:
        """Return what the function gets as its context.

        Args:
            context: The run's.
            given: Whether the run was given one, or had to make it.

        Raises:
            ToolError: if the function asks for a class that the run's context is not of.
        """
        wanted = self._read[1]
        if wanted is None or (wanted.optional and not given):
            return None
        if isinstance(context, wanted.kind):
            return context
        if wanted.optional:
            return None
        raise ToolError(
            f"Tool {self.name!r} asks for a {wanted.kind.__name__}, but the run's context is a "
            f"{type(context).__name__}. Pass `context={wanted.kind.__name__}(...)` to the run."
        )


def is_awaited(function: object) -> bool:
    """Tell whether *function*, or an object that is called like one, is `async`."""
    call = getattr(function, "__call__", None)  # noqa: B004 -- an object's own
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float | None = None,
    max_result_chars: int = MAX_RESULT_CHARS,
    on_error: OnError | None = None,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float | None = None,
    max_result_chars: int = MAX_RESULT_CHARS,
    on_error: OnError | None = None,
) -> Tool[P, R] | Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a tool of a function, plain or `async`, so that an agent's model may call it.

    The model receives the function's name, its docstring and a JSON schema of its parameters. A parameter that is named
    `ctx`, or annotated with `RunContext`, a subclass of it or an optional one, is hidden from the model and receives
    the run's context. If that parameter has a default or an optional annotation, it is `None` in a run without a
    context, or with one of another class.

    A plain function runs in its own thread, an `async` one in its own task on the run's event loop. If it raises, the
    model receives the error, with secrets redacted, and the run continues, even after `sys.exit()`; a
    `KeyboardInterrupt` ends the program as usual. One ERROR log record in the run's trace has the class and the stack.

    Args:
        function: The function. `None` if `tool` is called with the arguments below, as a decorator.
        name: Name for the model; `None` is the function's own name.
        description: Description for the model; `None` is the docstring.
        timeout_s: Longest time of a call in seconds; `None` is no limit. A thread cannot be stopped: a plain function
            that takes longer continues, and its result is dropped.
        max_result_chars: Longest result that the model receives; the rest is cut, with a note.
        on_error: Function that receives the exception of a call, also its `TimeoutError`, and returns the result for
            the model: text, or anything that a tool may return. It is called like the tool itself, a plain one in its
            own thread, and may raise `StopExecution`. If it is `None` or returns `None`, the model receives the class
            and the redacted message. It is not called for arguments that do not match the schema.

    Raises:
        ToolError: if *name* is not valid for models, a limit is too low, or *function* cannot be called or is an
            asynchronous generator; when the agent first runs, if a parameter has a type that no model can provide.

    Example:
        >>> import otelier
        >>> @otelier.tool
        ... def orders(ctx: otelier.RunContext, limit: int = 10) -> str:
        ...     '''List the user's orders.
        ...
        ...     Args:
        ...         limit: Most orders to list.
        ...     '''
        ...     return f"{ctx.get('orders', 0)} orders"
        >>> list(orders.parameters["properties"])
        ['limit']
    """

    def make(plain: Callable[P, R]) -> Tool[P, R]:
        return Tool(
            plain,
            name=name,
            description=description,
            timeout_s=timeout_s,
            max_result_chars=max_result_chars,
            on_error=on_error,
        )

    return make if function is None else make(function)
