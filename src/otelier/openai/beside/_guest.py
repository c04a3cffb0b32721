"""A call that somebody else reports: its agent and fields go onto their span, and ours says nothing."""

from __future__ import annotations

from typing import Any

from opentelemetry.context import Context, attach, get_current

from otelier.faults import report_fault
from otelier.fields import SPAN, stamp_call
from otelier.openai._call import in_state_of_call
from otelier.openai.operations._kinds import is_llm_span
from otelier.openai.operations._table import Operation
from otelier.openai.reading._fields import Arguments
from otelier.telemetry import LLM_CALL, LLM_REPORTER


class Guest:
    """One call in somebody else's span; what it is answered, and whether its stream ends, is theirs to report.

    Their span starts in a context that has the state of the call, so the processor stamps it; where it is open
    already it is stamped here.
    """

    __slots__ = ("_former", "_inside")

    def __init__(
        self, operation: Operation, resource: Any, arguments: Arguments, current: Context, reporter: str
    ) -> None:
        self._former = current
        inside = in_state_of_call(current, operation.fingerprint, arguments)
        span = current.get(SPAN)
        if is_llm_span(span, operation.kind):
            stamp_call(span, inside)
        self._inside = Context({**inside, LLM_CALL: resource, LLM_REPORTER: reporter})
        # Nothing may fail from here on: what is attached must be taken back.
        attach(self._inside)

    def leave(self, *, asynchronous: bool) -> None:
        """Make the caller's context current again, if this still runs inside the call's own."""
        if not asynchronous or get_current().get(LLM_CALL) is self._inside.get(LLM_CALL):
            attach(self._former)

    def fail(self, error: BaseException, *, asynchronous: bool) -> None:
        """Leave; what failed is theirs to say."""
        try:
            self.leave(asynchronous=asynchronous)
        except Exception as exc:
            report_fault("openai.guest", exc)
