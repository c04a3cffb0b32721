"""What stands around the client's methods. The client's method runs exactly once, whatever happens here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from opentelemetry.context import get_current

from otelier.faults import report_fault
from otelier.openai._call import Call
from otelier.openai._telemetry import Telemetry, switch
from otelier.openai.beside._guest import Guest
from otelier.openai.beside._rivals import is_plain, is_silenced, reporter
from otelier.openai.operations._table import Operation
from otelier.openai.reading._fields import Arguments, is_left_to_caller
from otelier.openai.streams._body import follow_body
from otelier.openai.streams._follow import follow
from otelier.openai.streams._steps import ask_for_usage
from otelier.patches import Wrapper


class Begun(Protocol):
    """What has to be done for every call that began, whoever reports it; a `Call` tells what came of it too."""

    def leave(self, *, asynchronous: bool) -> None:
        """Make the caller's context current again."""
        ...

    def fail(self, error: BaseException, *, asynchronous: bool) -> None:
        """Leave, and end the call as failed by *error*, which the caller goes on to see."""
        ...


def begin(
    telemetry: Telemetry, operation: Operation, resource: Any, arguments: Arguments, wrapped: Any
) -> Begun | None:
    """Make current what a call runs in: our span, or our context for somebody else's; `None` leaves it alone.

    Args:
        telemetry: Where our signals go.
        operation: What kind of call it is.
        resource: The client's object whose method is called.
        arguments: What it is called with.
        wrapped: The method as it is below our patch; what others put around it says who else reports the call.
    """
    try:
        current, kind = get_current(), operation.kind
        if not is_plain(wrapped, resource, kind, current):
            if is_silenced(resource, current):
                return None
            other = reporter(wrapped, resource, kind, current)
            if other is not None:
                return Guest(operation, resource, arguments, current, other)
        call = Call(telemetry, operation, resource, arguments, current)
    except Exception as exc:
        report_fault("openai.begin", exc)
        return None
    if call.streamed and telemetry.stream_usage and operation.usage_on_request:
        call.hides_usage = _ask_for_usage(arguments)
    return call


def _ask_for_usage(arguments: Arguments) -> bool:
    try:
        return not is_left_to_caller(arguments) and ask_for_usage(cast("dict[str, Any]", arguments))
    except Exception as exc:
        report_fault("openai.usage", exc)
        return False


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
