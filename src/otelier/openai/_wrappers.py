"""What stands around the client's methods. The client's method runs exactly once, whatever happens here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otelier.openai._call import begin
from otelier.openai._operations import Operation
from otelier.openai._stream import follow
from otelier.openai._telemetry import switch
from otelier.signals import Wrapper


def reporting(operation: Operation) -> Wrapper:
    """Return the wrapper of a method that makes calls of *operation*."""

    def report(wrapped: Callable[..., Any], resource: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        telemetry = switch.telemetry
        call = None if telemetry is None else begin(telemetry, operation, resource, kwargs)
        if call is None:
            return wrapped(*args, **kwargs)
        try:
            answer = wrapped(*args, **kwargs)
        except BaseException as exc:
            call.fail(exc, asynchronous=False)
            raise
        call.leave(asynchronous=False)
        if call.streamed:
            return follow(call, answer, asynchronous=False)
        call.finish(answer)
        return answer

    return report


def reporting_async(operation: Operation) -> Wrapper:
    """Return the wrapper of a coroutine method that makes calls of *operation*."""

    async def report(wrapped: Callable[..., Any], resource: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        telemetry = switch.telemetry
        call = None if telemetry is None else begin(telemetry, operation, resource, kwargs)
        if call is None:
            return await wrapped(*args, **kwargs)
        try:
            answer = await wrapped(*args, **kwargs)
        except BaseException as exc:
            call.fail(exc, asynchronous=True)
            raise
        call.leave(asynchronous=True)
        if call.streamed:
            return follow(call, answer, asynchronous=True)
        call.finish(answer)
        return answer

    return report
