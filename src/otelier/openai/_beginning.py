"""Where a call begins: whether it is ours to report, somebody else's, or nobody's."""

from __future__ import annotations

from typing import Any, Protocol, cast

from opentelemetry.context import get_current

from otelier.openai._call import Call
from otelier.openai._telemetry import Telemetry
from otelier.openai.beside._guest import Guest
from otelier.openai.beside._rivals import is_plain, is_silenced, reporter
from otelier.openai.operations._table import Operation
from otelier.openai.reading._fields import Arguments
from otelier.openai.reading._raw import is_left_to_caller
from otelier.openai.streams._usage import ask_for_usage
from otelier.signals import report_fault


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
