"""One call of the user's from start to end: its span, its metric point, its content."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry._logs import LogRecord
from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import SpanKind, TraceFlags
from opentelemetry.util.types import AnyValue

from otelier import names
from otelier.faults import report_fault
from otelier.fields import SPAN, call_attributes, late_attributes, with_fingerprint
from otelier.identity import process
from otelier.openai._telemetry import CallPoint, Telemetry
from otelier.openai.operations._operation import Operation
from otelier.openai.reading._answer import add_served_model
from otelier.openai.reading._fields import (
    RAW_RESPONSE,
    Arguments,
    Attributes,
    answer_behind,
    answer_in,
    answer_of,
    fit_texts,
    is_left_to_caller,
)
from otelier.redaction import MOST_ON_A_LOOP, TooLongError
from otelier.telemetry import (
    LLM_CALL,
    Failure,
    do_aside,
    end_span,
    event_record,
    failure_of,
    foreign_fault,
    is_leaving,
    on_a_loop,
)


def with_call_state(
    current: Context, recipe: Callable[[Arguments], str | None] | None, arguments: Arguments
) -> Context:
    """Return *current* with the state of a call of these *arguments*; unchanged where nothing is known by prompts."""
    if recipe is None or process() is None:
        return current
    try:
        fingerprint = recipe(arguments)
    except Exception as exc:
        report_fault("openai.fingerprint", exc)
        return current
    return current if fingerprint is None else with_fingerprint(current, fingerprint)


clock: Final = time.perf_counter


class Call:
    """One call. Nothing in it raises into the caller: a fault costs the signal it befalls, not the call.

    What every call passes is written out here instead of called: a function less is 0.1 us, and there were twenty.
    """

    __slots__ = (
        "_fields",
        "_former",
        "_start",
        "_unstamped",
        "arguments",
        "hides_usage",
        "inside",
        "operation",
        "point",
        "recording",
        "span",
        "started",
        "streamed",
        "telemetry",
    )

    def __init__(
        self, telemetry: Telemetry, operation: Operation, resource: Any, arguments: Arguments, current: Context
    ) -> None:
        self.telemetry = telemetry
        self.operation = operation
        self.arguments = arguments
        get = arguments.get
        self.streamed = bool(get("stream"))
        self.hides_usage = False
        template = operation.templates.of(resource, get("model"))
        self._start = start = template.start
        self._former = current
        # The state of the call stands in the context before its span starts: the processor then writes all at once,
        # and what is below the span gets the agent for nothing.
        if operation.fingerprint is not None:
            current = with_call_state(current, operation.fingerprint, arguments)
        self.span = span = telemetry.start_span(template.name, current, SpanKind.CLIENT, start)
        self.recording = span.is_recording()
        self.point = point = CallPoint(telemetry.instruments, start)
        where = span.get_span_context()
        if where.trace_flags & TraceFlags.SAMPLED:
            point.span_context = where
        # Where no processor of ours stamped the span, the fields are this call's to write.
        fields, stamped = call_attributes(span, current)
        self._fields = fields
        self._unstamped = not stamped and bool(fields)
        point.fields = fields  # the one dict that is ready for all calls with these fields
        self.inside = inside = Context({**current, SPAN: span, LLM_CALL: resource})
        self.started = clock()
        # Nothing may fail from here on: what is attached must be taken back.
        attach(inside)

    def leave(self, *, asynchronous: bool) -> None:
        """Make the caller's context current again, if this still runs inside the call's own."""
        try:
            # A coroutine may be closed in another context than it ran in. A token would be refused there, and logged.
            if not asynchronous or get_current().get(SPAN) is self.span:
                attach(self._former)
        except Exception as exc:
            report_fault("openai.context", exc)

    def fail(self, error: BaseException, *, asynchronous: bool) -> None:
        """Leave and end the call as *error* has it, which the caller goes on to see."""
        self.leave(asynchronous=asynchronous)
        self.break_off(error)

    def break_off(self, error: BaseException) -> None:
        """End the call as *error* has it: as failed, or as one that nobody waits for any more."""
        try:
            self.point.seconds = clock() - self.started
            attributes = self.request()
            received = self._raised_over(error, attributes)
            self.end(attributes, failure=error, sent=self.sent(), received=received)
        except Exception as exc:
            report_fault("openai.fail", exc)
        self.telemetry.queue.put(self.point)

    def finish(self, answer: Any, served_by: Any = None) -> bool:
        """End the call.

        Args:
            answer: What the caller gets, or what was parsed of it.
            served_by: Headers that came with it, where they are known apart.

        Returns:
            Whether the call goes on, because the caller has yet to read the answer.
        """
        point, telemetry = self.point, self.telemetry
        try:
            point.seconds = clock() - self.started
            attributes = self.request()
            failure: Failure | None = None
            try:
                facts = answer_of(answer)
                if RAW_RESPONSE in facts:
                    if is_left_to_caller(self.arguments):
                        return True
                    answer, served_by = answer_in(answer), facts[RAW_RESPONSE].headers
                    facts = answer_of(answer)
                failure = self.operation.read_answer(facts, attributes, point)
                if served_by is not None and self.operation.names_served_model:
                    add_served_model(served_by, attributes, point)
            except Exception as exc:
                report_fault("openai.answer", exc)
            if telemetry.content:
                self.end(attributes, failure=failure, sent=self.sent(), received=self._received(answer))
            elif failure is not None:
                self.end(attributes, failure=failure)
            else:
                span = self.span
                span.set_attributes(attributes)
                try:
                    span.end()
                except Exception as exc:
                    foreign_fault(exc)
        except Exception as exc:
            report_fault("openai.finish", exc)
        telemetry.queue.put(point)
        return False

    def request(self) -> Attributes:
        """Return what the span gets of the request, with the fields where no processor wrote them."""
        attributes = self._unstamped_fields() if self._unstamped else {}
        if self.recording or self.telemetry.content:
            try:
                self.operation.read_request(self.arguments, attributes)
            except Exception as exc:
                report_fault("openai.request", exc)
        return attributes

    def sent(self) -> Mapping[str, list[Any]]:
        """Return the content of the request, by attribute; nothing where the gate is shut."""
        content = self.operation.content
        if content is None or not self._takes_content():
            return {}
        try:
            return content.sent(self.arguments)
        except Exception as exc:
            report_fault("openai.content", exc)
            return {}

    def end(
        self,
        attributes: Attributes,
        *,
        failure: BaseException | Failure | None = None,
        sent: Mapping[str, list[Any]] | None = None,
        received: Mapping[str, list[Any]] | None = None,
        end_time_ns: int | None = None,
    ) -> None:
        """Write what is known of the call and end its span; the metric point is the caller's to queue."""
        telemetry = self.telemetry
        if failure is not None and not is_leaving(failure):
            self.point.error = failure_of(failure).type
        if telemetry.content:
            content = {name: value for name, value in {**(received or {}), **(sent or {})}.items() if value}
            try:
                messages = content.get(names.OUTPUT_MESSAGES)
                if messages and names.FINISH_REASONS not in attributes:
                    attributes[names.FINISH_REASONS] = fit_texts(message["finish_reason"] for message in messages)
                # Redacted once for all: that is what most of the time goes for.
                shown = telemetry.gate.values(content, most=MOST_ON_A_LOOP if on_a_loop() else None)
            except TooLongError:
                self._end_aside(attributes, content, failure, end_time_ns)
                return
            except Exception as exc:
                report_fault("openai.content", exc)
                shown = {}
            attributes = self._show(attributes, shown, failure)
        self._end(attributes, failure, end_time_ns)

    def _end_aside(
        self,
        attributes: Attributes,
        content: Mapping[str, list[Any]],
        failure: BaseException | Failure | None,
        end_time_ns: int | None,
    ) -> None:
        """End the span as of now, once its content is redacted, which takes too long for the event loop."""
        now = time.time_ns() if end_time_ns is None else end_time_ns

        def end() -> None:
            try:
                shown = self.telemetry.gate.values(content)
                left = self._show(attributes, shown, failure)
            except Exception as exc:
                left = attributes
                report_fault("openai.content", exc)
            self._end(left, failure, now)

        if not do_aside(end):
            self._end(self._show(attributes, {}, failure), failure, now)

    def _end(self, attributes: Attributes, failure: BaseException | Failure | None, end_time_ns: int | None) -> None:
        end_span(self.span, attributes, failure=failure, gate=self.telemetry.gate, end_time_ns=end_time_ns)

    def _show(
        self, attributes: Attributes, shown: Mapping[str, AnyValue], failure: BaseException | Failure | None
    ) -> Attributes:
        """Give what may be *shown* to span, event and hook; return the attributes that are still to be written."""
        telemetry = self.telemetry
        try:
            event = self._event(attributes, shown, failure)
            self._add_content(attributes, shown)
            if telemetry.hook is not None and self.operation.content is not None:
                self.span.set_attributes(attributes)  # before the hook adds its own, or replaces some
                attributes = {}
                telemetry.hook.complete(shown, self.span, event)
            if event is not None:
                telemetry.logger.emit(event)
        except Exception as exc:
            report_fault("openai.content", exc)
        return attributes

    def _raised_over(self, error: BaseException, attributes: Attributes) -> Mapping[str, list[Any]]:
        """Add the attributes of the answer that the client raised *error* over, if one came; return its content."""
        if self.streamed and self.operation.inference:
            attributes[names.REQUEST_STREAM] = True
        try:
            answer, headers = answer_behind(error)
            if answer is None:
                return {}
            self.operation.read_answer(answer_of(answer), attributes, self.point)
            if headers is not None and self.operation.names_served_model:
                add_served_model(headers, attributes, self.point)
        except Exception as exc:
            report_fault("openai.raised", exc)
            return {}
        return self._received(answer)

    def _unstamped_fields(self) -> Attributes:
        """Return the fields for a span that no processor stamps, with those that were set while it was open."""
        return {**self._fields, **late_attributes(self.span)}

    def _takes_content(self) -> bool:
        telemetry = self.telemetry
        mode = telemetry.gate.mode
        return mode.on_event or (self.recording and mode.on_span) or telemetry.hook is not None

    def _received(self, answer: Any) -> Mapping[str, list[Any]]:
        content = self.operation.content
        if content is None or not self._takes_content():
            return {}
        try:
            return content.received(answer)
        except Exception as exc:
            report_fault("openai.content", exc)
            return {}

    def _add_content(self, attributes: Attributes, shown: Mapping[str, AnyValue]) -> None:
        if self.recording and self.telemetry.gate.mode.on_span:
            written = self.telemetry.gate.written
            attributes.update((name, written(value)) for name, value in shown.items())

    def _event(
        self, attributes: Attributes, shown: Mapping[str, AnyValue], failure: BaseException | Failure | None
    ) -> LogRecord | None:
        """Return the event of the call; `None` where none is asked for."""
        gate, operation = self.telemetry.gate, self.operation
        if operation.content is None or not operation.inference or not gate.emits:
            return None
        event: dict[str, AnyValue] = {**self._start, **self._fields, **attributes}
        if gate.mode.on_event:
            event.update(shown)
        if is_leaving(failure):
            event[names.CANCELLED] = True
        elif failure is not None:
            event[names.ERROR_TYPE] = failure_of(failure).type
        return event_record(names.INFERENCE_DETAILS, event, self.inside)
