"""Inheritance of fields: a span has those it was born with, gets more while it is open, and hands some to its children.

A span born here carries its state as one attribute of the span object (under 0.05 µs; a weak dictionary costs
0.2). A request span, and a span that `set_context` stamped later, carries a `SpanFields` in its place, and a phase of a
request a `Phase`. A request that has no span has a `SpanFields` as well.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from typing import Any, Final, cast

from opentelemetry.context import Context, get_current
from opentelemetry.trace import Span
from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.faults import on_fork
from otelier.fields._blocks import inside_block
from otelier.fields._contexts import BLOCK, FIELDS, SPAN
from otelier.fields._lifetimes import MARK, Held, Lease, Phase, Request, current_task, flow, holder_in
from otelier.fields._state import IDENTITY_ATTRIBUTES, NO_ACTOR, UNSET, Actor, Attributes, State, cut, length_limit
from otelier.fields._values import AGENT, AGENT_ID, ROLE, SESSION, TENANT, UNCHANGED, USER, WORKFLOW, Changes

OPENINFERENCE_NAME: Final = "agent.name"
NAMING: Final = (names.AGENT_NAME, names.AGENT_ID, OPENINFERENCE_NAME)
"""Attributes by which spans name their agent; most have none of them."""
_MAX_CHARS: Final = 256


def actor_in(attributes: Mapping[str, Any]) -> Actor:
    """Return the agent that a span with these attributes names: by its name if it has one, else by its id.

    Both together are not taken: some frameworks make an id for each object, and each would be an agent of its own.
    """
    if attributes.get(names.OPERATION) == names.CREATE_AGENT:  # that one is made, and not at work
        return NO_ACTOR
    for attribute in (names.AGENT_NAME, OPENINFERENCE_NAME):
        if _names_somebody(attributes.get(attribute)):
            return attributes[attribute], None
    agent_id = attributes.get(names.AGENT_ID)
    return (None, agent_id) if _names_somebody(agent_id) else NO_ACTOR


def _names_somebody(text: object) -> bool:
    return type(text) is str and 0 < len(text) <= _MAX_CHARS and text.isprintable()


_PASSED_ON = {
    USER: names.USER_ID,
    ROLE: names.USER_ROLES,
    SESSION: names.SESSION_ID,
    WORKFLOW: names.WORKFLOW_ID,
    TENANT: names.TENANT_ID,
}
"""Fields that a request span may pass on when they were set late, with their attributes: an agent never is."""
_FINGERPRINT = (names.AGENT_FINGERPRINT,)
_READ_FOR_ACTOR = (*NAMING, names.OPERATION)
"""Attributes that `actor_in` reads."""
_lock = threading.RLock()  # a finaliser or signal handler may come here again, in the middle


class SpanFields:
    """One span, or a request without one: its state at birth, what was set late, and what it hands down."""

    __slots__ = (
        "_from_tasks",
        "_home",
        "_late",
        "_mixed",
        "_newest",
        "_ready",
        "born",
        "context_state",
        "inner",
        "passes_on",
        "stamped",
    )

    def __init__(self, born: State | None, *, passes_on: bool, context_state: State | None) -> None:
        self.born = born
        """State at birth; `None` when no processor of ours saw the span start."""
        self.context_state = context_state
        """State of the context the span was born in: where it still holds, nothing was set since."""
        self.passes_on = passes_on
        """Whether this is a request, whose late values reach later children."""
        self.inner: Any = None
        """The server's span of the same request, below the middleware; `None` for spans, and where there is none."""
        self.stamped: Attributes = born.possible_attributes() if born is not None else {}
        """The value last written for each attribute: what still equals it is ours."""
        self._home = current_task() if passes_on else None
        self._late: dict[int, str] = {}
        self._from_tasks: dict[int, str] = {}
        self._mixed = False
        self._newest: tuple[tuple[int, object], State] | None = None
        self._ready: dict[bool, State] = {}

    def add_late(self, changes: Changes, state: State) -> None:
        """Remember late values; a second, different one for a field shows that the span serves several callers."""
        # What a task of its own sets must not reach its siblings, which may be other callers' tasks: it is kept
        # apart and handed only to what the span's own task starts. A worker thread has no task and stands for it.
        task = current_task()
        values = self._late if task is None or task == self._home else self._from_tasks
        for index in _PASSED_ON:
            new = changes[index]
            if new is None:
                continue
            known = self._late.get(index, self._from_tasks.get(index))
            if known is not None and known != new:
                self._mixed = True
            values[index] = new
        self._newest = flow(), state
        self._ready.clear()

    def inherited_by_children(self) -> State | None:
        """Return the state that a child gets whose context has none of its own."""
        if self._mixed or not (self._late or self._from_tasks):
            served: Any = getattr(self.inner, MARK, None)
            return self.born if served is None else served.left_behind()
        return self._with_late(all_tasks=not self._from_tasks or current_task() == self._home)

    def _with_late(self, *, all_tasks: bool) -> State:
        ready = self._ready.get(all_tasks)
        if ready is None:
            late = {**self._late, **self._from_tasks} if all_tasks else self._late
            changes = tuple(late.get(index) for index in range(len(UNCHANGED)))
            ready = self._ready[all_tasks] = (self.born or UNSET).change(changes)  # pyright: ignore[reportArgumentType]
        return ready

    def left_behind(self) -> State | None:
        """Return the state for what comes after this span in the same request, such as a body that is made then."""
        newest = self._newest
        if newest is None or self._mixed:
            return self.born
        # The code that set it goes on as if the span's context were still there; elsewhere the values come late.
        return newest[1] if newest[0] == flow() else self._with_late(all_tasks=True)


serving: Final[ContextVar[Request | None]] = ContextVar("otelier-serving", default=None)
"""The request that `ContextMiddleware` serves here. The server's span inside starts in an OpenTelemetry Context that it
makes of the request's headers, so nothing in that leads back."""


def claim_request(span: Span) -> None:
    """Let *span*, a server's without a local parent, be that of the request which is served here."""
    request: Any = getattr(serving.get(), MARK, None)
    if request is not None and request.inner is None:
        request.inner = span


def born_state(context: Context) -> State | None:
    """Return the state of a span born in *context*: the context's own, else what its local parent hands down.

    `None` means that nothing was ever set and no parent of ours is there.
    """
    return inherited(context.get(FIELDS), holder_in(context))


def inherited(state: Any, span: object) -> State | None:
    """Return the state of a span born where *state* stands in the context, below *span*, see `holder_in`.

    This is the rule: the context's own fields, whole; where it has none, or nothing was set since the parent span
    began, what that hands down. `None` as in `born_state`.
    """
    mark: Any = getattr(span, MARK, None)
    if mark is state:
        return state
    # The context still has the state that the span was born in: nothing was set since, so late values are newer.
    if type(mark) is SpanFields and (state is None or state is mark.context_state):
        return mark.inherited_by_children()
    if state is None:
        return cast("State | None", mark)
    return _leased_state(state, span) if type(state) is Lease else state


def _leased_state(lease: Lease, span: object) -> State | None:
    """Return what a child of *span* gets in a thread that has a *lease*.

    Spans that the thread itself opened hand down as others do; the one that it was started in, only during the lease.
    """
    if span is lease.span and lease.is_over():
        return lease.own
    return inherited(lease.now(), span)


def state_of(context: Context | None = None) -> State:
    """Return the state that a span born in *context* gets; `None` is the current context."""
    return born_state(get_current() if context is None else context) or UNSET


def changed_state(state: Held | None, span: Any, changes: Changes) -> Held:
    """Return what *changes* make of *state*, a context's own, below that context's *span*; see `State.change`."""
    mark: Any = getattr(span, MARK, None)
    here = inherited(state, span)
    if type(state) is not Lease or state.is_over():
        return _changed_below(here or UNSET, mark, changes)
    # A thread keeps what its own spans hand down; what the span that it was started in hands down is leased.
    own = state.own if span is state.span else inherited(state.own, span)
    late = () if span is None or here is state.now() else ((span.is_recording, here),)
    return state.mapped(lambda base: _changed_below(base, mark, changes), own, *late)


def _changed_below(state: State, mark: Any, changes: Changes) -> State:
    changed = state.change(changes)
    if type(mark) is SpanFields and changed is mark.context_state and any(new is not None for new in changes):
        # The old values were set again after the span began, so they are newer than its late values.
        return changed.set_again()
    return changed


def set_late(context: Context, holder: Any, new: Context, changes: Changes, made: Held) -> None:
    """Write *changes* to the open span of *context* and to its *holder*.

    *made* is the state, and *new* the Context, that the changes have made of those of *context*.
    """
    state = (made.now() or UNSET) if type(made) is Lease else cast("State", made)
    span: Any = context.get(SPAN)
    if span is not None:
        mark: Any = getattr(span, MARK, None)
        if type(mark) is Phase:
            mark.note(new)
        stamp_late(span, context, changes, state)
    if holder is not span:
        stamp_late(holder, context, changes, state)


def is_request(span: Any) -> bool:
    """Return whether *span* is that of a request, which hands down what is set late."""
    mark: Any = getattr(span, MARK, None)
    return type(mark) is SpanFields and mark.passes_on


def stamp_late(span: Any, context: Context, changes: Changes, state: State) -> None:
    """Write what *changes* set to *span*, if it is open, and remember what its later children shall get."""
    if not span.is_recording():
        return
    given = state.given_by(changes)
    with _lock:
        record = _record_of(span)
        updates = _updates(_OpenSpan(span, record), given, state)
        record.stamped.update(updates)
        if record.passes_on and not inside_block(context.get(BLOCK), span):
            record.add_late(given, state)
    if updates:
        span.set_attributes(updates)


def with_fingerprint(context: Context, fingerprint: str) -> Context:
    """Return *context* for a call whose prompt has *fingerprint*, which names the agent where nothing else does."""
    state = state_of(context)
    if state.identity is None:
        state = state.below_span_of(_actor_named_late(context.get(SPAN)))
    return Context({**context, FIELDS: state.for_call(fingerprint)})


def call_attributes(span: object, context: Context) -> tuple[Attributes, bool]:
    """Return the attributes of ours on *span*, just started in *context* for a call, and whether they stand there yet.

    They do not where the provider takes no processors, or never got ours. Do not change them: others use them too.
    """
    mark: Any = getattr(span, MARK, None)
    if type(mark) is State:
        return mark.gen_ai_attributes(), True
    return state_of(context).gen_ai_attributes(), False


def late_attributes(span: object) -> Mapping[str, AttributeValue]:
    """Return what `set_context` has written to the open *span* that no processor of ours saw start."""
    mark: Any = getattr(span, MARK, None)
    return mark.stamped if type(mark) is SpanFields else {}


def stamp_call(span: Any, context: Context) -> None:
    """Write the state of a call in *context* to *span*: the open span that another instrumentation made for the call.

    That span started before the call's prompt was read, and maybe no processor of ours saw it. Attributes that the
    other instrumentation set stay.
    """
    ready = (born_state(context) or UNSET).gen_ai_attributes()
    if not ready:
        return
    with _lock:
        record = _record_of(span)
        opened = _OpenSpan(span, record)
        updates = {name: value for name, value in ready.items() if name not in opened.there}
        for group in (IDENTITY_ATTRIBUTES, _FINGERPRINT):
            updates = {name: value for name, value in updates.items() if name not in group}
            updates.update(opened.whole(group, ready))
        record.stamped.update(updates)
    if updates:
        span.set_attributes(updates)


def _actor_named_late(span: Any) -> Actor:
    """Return the agent that the open *span* was given by somebody else since it began; what we stamped names nobody."""
    there: Any = getattr(span, "_attributes", None)  # a private name that `telemetry/_sdk.py` lists
    if not there or not any(name in there for name in NAMING):
        return NO_ACTOR
    stamped, limit = _record_of(span).stamped, length_limit(there)
    found = {name: there[name] for name in _READ_FOR_ACTOR if name in there}
    return actor_in({name: value for name, value in found.items() if cut(stamped.get(name), limit) != value})


class _OpenSpan:
    """Attributes of an open span, ours and others'."""

    __slots__ = ("_limit", "_stamped", "there")

    def __init__(self, span: Any, record: SpanFields) -> None:
        self.there: Mapping[str, Any] = getattr(span, "attributes", None) or {}
        self._limit = length_limit(getattr(span, "_attributes", None))
        self._stamped = record.stamped

    def may_write(self, attribute: str) -> bool:
        """Return whether *attribute* is not there, or is what we last stamped, cut as the span cuts it."""
        there = self.there
        return attribute not in there or bool(there[attribute] == cut(self._stamped.get(attribute), self._limit))

    def whole(self, group: Collection[str], ready: Attributes) -> Attributes:
        """Return what to write of a *group* of attributes that go together; nothing where one is not ours."""
        if not all(map(self.may_write, group)):
            return {}
        # Attributes cannot be taken back, so what no longer goes with the others is blanked.
        return {name: ready.get(name, "") for name in group if name in ready or name in self.there}


def _record_of(span: Any) -> SpanFields:
    """Return the record of *span*, which it gets now where it has none."""
    mark: Any = getattr(span, MARK, None)
    phase = mark if type(mark) is Phase else None
    born: Any = mark if phase is None else phase.born
    if type(born) is SpanFields:
        return born
    record = SpanFields(born, passes_on=False, context_state=born)
    try:
        setattr(span, MARK, record) if phase is None else setattr(phase, "born", record)
    except AttributeError:  # another SDK's span may take none: what stands there is then nobody's to change
        pass
    return record


def _updates(opened: _OpenSpan, changes: Changes, state: State) -> Attributes:
    ready = state.gen_ai_attributes() if names.OPERATION in opened.there else state.attributes
    wanted = [attribute for index, attribute in _PASSED_ON.items() if changes[index]]
    if names.SESSION_ID in wanted:
        wanted.append(names.CONVERSATION_ID)
    updates = {name: ready[name] for name in wanted if name in ready and opened.may_write(name)}
    if _names_agent(changes, state):
        updates.update(opened.whole(IDENTITY_ATTRIBUTES, ready))
    return updates


def _names_agent(changes: Changes, state: State) -> bool:
    """Return whether *changes* name the agent; a name that is ignored beside an id does not."""
    name, agent_id = changes[AGENT], changes[AGENT_ID]
    if state.identity is None or (name is None and agent_id is None):
        return False
    return agent_id is not None or state.identity.source == "agent" or state.identity.name == name


@on_fork
def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()
