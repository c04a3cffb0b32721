"""Processors that write the fields to every span at its start and to every log record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, get_current
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind

from otelier import names
from otelier.faults import attempt, report_fault
from otelier.fields._contexts import FIELDS, REQUEST, SPAN
from otelier.fields._inheritance import NAMING, SpanFields, actor_in, claim_request, inherited, state_of
from otelier.fields._lifetimes import MARK, PHASES, Lease, begin_phase, holder_in
from otelier.fields._state import IDENTITY_ATTRIBUTES, UNSET, State, fitting
from otelier.identity import ProcessIdentity, process
from otelier.redaction import has_masks, masked_value
from otelier.telemetry import LLM_REPORTER, mask_span

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import ReadWriteLogRecord


def without_present(attributes: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Return *attributes* less those *present*; where those name another agent, ours is left out whole.

    The attributes of an identity belong together: one agent's name never stands beside another's id.
    """
    kept = set(present)
    if any(present[key] != attributes.get(key) for key in IDENTITY_ATTRIBUTES & kept):
        kept |= IDENTITY_ATTRIBUTES
        if names.OPERATION not in present:  # a call's own span keeps the fingerprint of its prompt, whoever makes it
            kept.add(names.AGENT_FINGERPRINT)
    return {key: value for key, value in attributes.items() if key not in kept}


class ProcessAttributes:
    """Attributes that name the process of a span; one for each processor, since each provider has its own resource."""

    __slots__ = ("_added", "_for")

    def __init__(self) -> None:
        self._for: ProcessIdentity | None = None
        self._added: dict[str, str] = {}

    def added(self, attributes: dict[str, Any], span: Span) -> dict[str, Any]:
        """Return *attributes* with the process's own, for spans without a local parent and GenAI spans.

        They are the same dict where nothing is added: before otelier is switched on, and where the resource
        has them already.
        """
        own = process()
        if own is None:
            return attributes
        if own is not self._for:
            self._added = _missing(own, span)
            self._for = own
        return {**attributes, **self._added} if self._added else attributes


def _missing(own: ProcessIdentity, span: Span) -> dict[str, str]:
    resource = getattr(span, "resource", None)
    known: Mapping[str, Any] = {} if resource is None else resource.attributes
    wanted = {names.MAIN_AGENT_NAME: own.app if own.named else None, names.ENVIRONMENT: own.env}
    return {key: value for key, value in wanted.items() if value is not None and known.get(key) != value}


# A member that is looked up on its class costs 0.2 µs before Python 3.12.
_INTERNAL, _SERVER = SpanKind.INTERNAL, SpanKind.SERVER
_REQUESTS = (_SERVER, SpanKind.CONSUMER)
_BY_NAME, _BY_ID, _BY_OPENINFERENCE = NAMING
"""Asked for one by one: a set would take 0.2 us more on every span with start attributes."""


class AgentSpanProcessor(SpanProcessor):
    """Stamp each span at its start with the fields of its context: user, role, agent, session, workflow and tenant.

    It works for the spans of every instrumentation, with any sampler and exporter, at any place among the processors
    of a provider. `otelier.init` and `opentelemetry-instrument` add one; add it yourself to a provider that neither
    of them knows.

    Attributes that a span was started with are kept, and a span that names its own agent keeps only that agent.

    Example:
        >>> import otelier
        >>> from opentelemetry.sdk.trace import TracerProvider
        >>> provider = TracerProvider()
        >>> provider.add_span_processor(otelier.AgentSpanProcessor())
        >>> with otelier.context(user_id="u-1"):
        ...     span = provider.get_tracer("example").start_span("work")
        >>> span.attributes["user.id"]
        'u-1'
    """

    def __init__(self) -> None:
        self._process = ProcessAttributes()

    # Runs inside the user's call: one look at the context, one write, both dicts of the state ready.
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Write the fields to *span*; see `SpanProcessor.on_start`."""
        try:
            context = get_current() if parent_context is None else parent_context
            seen: Any = context.get(FIELDS)
            around: Any = context.get(SPAN)
            mark: Any = getattr(around, MARK, None)
            # Most spans are below none of ours, or one that got nothing late, and no lease is there: asking `inherited`
            # would find the same, 0.1 µs later.
            if (REQUEST not in context if mark is None else type(mark) is State) and type(seen) is not Lease:
                state: Any = mark if seen is None else seen
            else:
                state = inherited(seen, around if type(mark) is SpanFields else holder_in(context))
            state = UNSET if state is None else state
            try:
                # Read only. The public views are a proxy and properties, 0.5 µs and 0.1 µs dearer each; these are among
                # the private names that `telemetry/_sdk.py` lists.
                started: Mapping[str, Any] = span._attributes._dict  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType, reportAttributeAccessIssue]
                kind, scope = span._kind, span._instrumentation_scope._name  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType, reportAttributeAccessIssue, reportOptionalMemberAccess]
            except AttributeError:
                started = span.attributes or {}
                kind, scope = span.kind, getattr(getattr(span, "instrumentation_scope", None), "name", "")
            if started and (_BY_NAME in started or _BY_ID in started or _BY_OPENINFERENCE in started):
                state = state.below_span_of(actor_in(started))
            if kind in _REQUESTS or scope in PHASES or not (state is seen or seen is None):
                _mark(span, context, state, kind, scope)
            else:
                span._otelier_born = state  # type: ignore[attr-defined]  # MARK, written out: `setattr` takes 0.03 µs more
            is_gen_ai = names.OPERATION in started or (LLM_REPORTER in context and _is_reporters(span, context))
            attributes = state.gen_ai_attributes() if is_gen_ai else state.attributes
            if mark is None or is_gen_ai:
                attributes = self._process.added(attributes, span)
            if started and not started.keys().isdisjoint(attributes.keys()):
                attributes = without_present(attributes, started)
            if attributes:
                span.set_attributes(attributes)
        except Exception as exc:
            report_fault("fields.on_start", exc)

    def on_end(self, span: ReadableSpan) -> None:
        """Mask in *span* what the program read as a secret by `ctx.secrets()`; see `SpanProcessor.on_end`."""
        if has_masks():
            attempt("fields.masks", mask_span, span)

    # Older releases of the base class answer nothing, and their provider then flushes no processor after this one:
    # https://github.com/open-telemetry/opentelemetry-python/issues/4631
    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return `True`: nothing waits here."""
        return True


def _mark(span: Span, context: Context, state: State, kind: SpanKind, scope: str) -> None:
    """Mark a span that is not simply of *state*: a request, a phase of one, or one born with what came late."""
    request = kind in _REQUESTS
    seen: Any = context.get(FIELDS)
    # A span born with what its parent got late knows both: below it, too, that is newer than the context's.
    alone = not request and (state is seen or seen is None)
    born = state if alone else SpanFields(state, passes_on=request, context_state=seen)
    parent = context.get(SPAN)
    if kind is _INTERNAL and hasattr(parent, MARK) and span.name.endswith(PHASES.get(scope, ())):
        begin_phase(span, born, context)
        return
    setattr(span, MARK, born)
    if kind is _SERVER and (parent is None or not hasattr(parent, MARK)):
        claim_request(span)


def _is_reporters(span: Span, context: Context) -> bool:
    """Return whether *span* is that of the instrumentation which reports the call to a model that is open here.

    Not all of them say at its start what kind of span it is.
    """
    package: Any = context[LLM_REPORTER]
    scope = span.instrumentation_scope
    return bool(package) and scope is not None and f"{scope.name}.".startswith(f"{package}.")


class ContextLogProcessor(LogRecordProcessor):
    """Stamp each log record with the fields of its context, sampled or not: the same attributes as on spans.

    Attributes that a record already has are kept; with a limit on their number, the fields use the remaining places.
    The processor must come before those that export, because a record may already be sent after them; `otelier.init`
    and `opentelemetry-instrument` put it first.

    Example:
        >>> import otelier
        >>> from opentelemetry.sdk._logs import LoggerProvider
        >>> provider = LoggerProvider()
        >>> provider.add_log_record_processor(otelier.ContextLogProcessor())
    """

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Write the fields to *log_record*; see `LogRecordProcessor.on_emit`."""
        try:
            record = log_record.log_record
            if has_masks():
                record.body, record.attributes = masked_value(record.body), masked_value(record.attributes)
            attributes = state_of(record.context).attributes
            if not attributes:
                return
            present: Any = record.attributes
            if present is None:
                present = record.attributes = {}
            ours = without_present(attributes, present) if present else attributes
            # OpenTelemetry logs a warning for each value that it cuts or drops: where log records are exported, that is
            # one more record to stamp, with the same value.
            present.update(fitting(ours, present))
        except Exception as exc:
            report_fault("fields.on_emit", exc)

    def shutdown(self) -> None:
        """Do nothing: the processor holds nothing."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Return `True`: nothing waits here."""
        return True
