"""What stands around the client's methods. The client's method runs exactly once, whatever happens here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otelier.openai._beginning import begin
from otelier.openai._call import Call
from otelier.openai._telemetry import switch
from otelier.openai.operations._table import Operation
from otelier.openai.streams._body import follow_body
from otelier.openai.streams._follow import follow
from otelier.signals import Wrapper


def reporting(operation: Operation, first: str | None = None) -> Wrapper:
    """Return the wrapper of a method that makes calls of *operation*.

    Args:
        operation: What kind of calls they are.
        first: Name of the one argument that may be given by its place; without it a call is not reported. `None` for
            methods that take all by name.
    """

    def report(wrapped: Callable[..., Any], resource: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        telemetry = switch.telemetry
        arguments = kwargs if first is None else _named(first, args, kwargs)
        if telemetry is None or arguments is None:
            return wrapped(*args, **kwargs)
        call = begin(telemetry, operation, resource, arguments, wrapped)
        if call is None:
            return wrapped(*args, **kwargs)
        try:
            answer = wrapped(*args, **kwargs)
        except BaseException as exc:
            call.fail(exc, asynchronous=False)
            raise
        call.leave(asynchronous=False)
        if not isinstance(call, Call):
            return answer
        if call.streamed:
            return follow(call, answer, asynchronous=False)
        if call.finish(answer):
            follow_body(call, answer, asynchronous=False)
        return answer

    return report


def reporting_async(operation: Operation, first: str | None = None) -> Wrapper:
    """Return the wrapper of a coroutine method that makes calls of *operation*; *first* as for `reporting`."""

    async def report(wrapped: Callable[..., Any], resource: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        telemetry = switch.telemetry
        arguments = kwargs if first is None else _named(first, args, kwargs)
        if telemetry is None or arguments is None:
            return await wrapped(*args, **kwargs)
        call = begin(telemetry, operation, resource, arguments, wrapped)
        if call is None:
            return await wrapped(*args, **kwargs)
        try:
            answer = await wrapped(*args, **kwargs)
        except BaseException as exc:
            call.fail(exc, asynchronous=True)
            raise
        call.leave(asynchronous=True)
        if not isinstance(call, Call):
            return answer
        if call.streamed:
            return follow(call, answer, asynchronous=True)
        if call.finish(answer):
            follow_body(call, answer, asynchronous=True)
        return answer

    return report


def _named(first: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Return the arguments by name; `None` without the one that a call is nothing without."""
    arguments = {first: args[0], **kwargs} if args else kwargs
    return arguments if isinstance(arguments.get(first), str) else None
