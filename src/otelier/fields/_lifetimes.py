"""Lifetimes: a value belongs to the span that is open where it is set, else to the request, block or task.

It ends with that. Two cases are different:

- Phases: spans that only divide one request. Frameworks and server instrumentations open a span for each step of a
  request: for its dependencies, its handler, for each message that is received or sent. Such a span is transparent.
  What is set while it is current is the whole span's, and in force after the phase as if the phase had never been
  current.
- Leases: what a raw thread has of the place that started it, which may be over long before the thread is. A worker that
  the first request starts may serve all others, so it holds the values of that request only as long as what they were
  set in is open.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from opentelemetry.context import Context, attach, get_current
from opentelemetry.util.types import AttributeValue

from otelier.faults import report_fault
from otelier.fields._blocks import around, is_block_open, outside
from otelier.fields._contexts import (
    BAGGAGE,
    BLOCK,
    FIELDS,
    REQUEST,
    SETTING,
    SPAN,
    FieldText,
    merge_baggage,
    not_ours,
    with_state,
    without_state,
)
from otelier.fields._state import UNSET, Caller, State
from otelier.fields._values import CallContext, Changes

if TYPE_CHECKING:
    import asyncio

MARK: Final = "_otelier_born"
"""Attribute of the span object that holds its `State`, `SpanFields` or `Phase`."""

_ASGI = tuple(f" {scope} {step}" for scope in ("http", "websocket") for step in ("receive", "send"))
PHASES: Final = {
    "fastapi": (".dependencies", ".endpoint", ".serialization", ".background_task"),
    "opentelemetry.instrumentation.asgi": _ASGI,
    "opentelemetry.instrumentation.fastapi": _ASGI,
    "opentelemetry.instrumentation.starlette": _ASGI,
}
"""Instrumentation scopes that make phases, with the endings of the names of those spans that are."""


class Phase:
    """One span that is a phase of *whole* and was born in the context *over*."""

    __slots__ = ("_flow", "_left", "_over", "born", "whole")

    def __init__(self, whole: Any, born: Any, over: Context) -> None:
        self.whole = whole
        """The span that is divided: the nearest one around that is no phase itself."""
        self.born = born
        """The `State` or `SpanFields` that the span would be marked with otherwise."""
        self._over = over
        self._flow = flow()
        self._left: list[Context] = []

    def note(self, context: Context) -> None:
        """Remember *context*, which `set_context` or a block has just put in force inside the phase.

        What another task or thread sets there stays in its own context, as it would without the phase.
        """
        if flow() != self._flow or not self._outlives(context):
            return
        block = context.get(BLOCK)
        left = self._left
        while left and (left[-1].get(BLOCK) is block or not self._outlives(left[-1])):
            left.pop()
        left.append(context)

    def leaves(self, current: Context) -> Context | None:
        """Return what was last put in force and still is, now that the phase is over and *current* holds again."""
        left, self._left = self._left, []  # they hold the span, which holds this
        return next(filter(self._outlives, reversed(left)), None) if current is self._over else None

    def _outlives(self, context: Context) -> bool:
        """Return whether all blocks that were opened between the phase's start and *context* are open still."""
        outside = self._over.get(BLOCK)
        block: Any = context.get(BLOCK)
        while block is not outside:
            if block is None or getattr(block, "_own_context", None) is None:  # a frame is open for a step only
                return False
            block = around(block)
        return True


def note_in_phase(context: Context) -> None:
    """Remember *context*, just put in force, if the span that is current in it is a phase."""
    mark = getattr(context.get(SPAN), MARK, None)
    if type(mark) is Phase:
        mark.note(context)


class Request:
    """A request that `ContextMiddleware` serves: it stands for the request's span where there is none.

    It has the members of a span that are used for the fields.
    """

    __slots__ = (MARK, "_block")
    attributes = None

    def __init__(self, block: object, mark: object) -> None:
        self._block = block
        setattr(self, MARK, mark)

    def is_recording(self) -> bool:
        """Return whether the request is still being served."""
        return outside(self._block) is not None

    def set_attributes(self, attributes: object) -> None:
        """Do nothing: there is no span to write on."""


def holder_in(context: Context) -> Any:
    """Return what the values that are set in *context* belong to.

    That is its span, or the one that it is a phase of; where none of ours is there the request, if it is served by the
    middleware.
    """
    span: Any = context.get(SPAN)
    mark: Any = getattr(span, MARK, None)
    if type(mark) is Phase:
        return mark.whole
    return context.get(REQUEST, span) if mark is None else span


def current_task() -> weakref.ref[asyncio.Task[Any]] | None:
    """Return the running asyncio task; `None` in a thread without one."""
    loaded: Any = sys.modules.get("asyncio")  # importing it would cost more than all of otelier
    if loaded is None or loaded._get_running_loop() is None:  # `current_task` raises without a loop, which takes 0.5 us
        return None
    task = loaded.current_task()
    return None if task is None else weakref.ref(task)


def flow() -> tuple[int, object]:
    """Return a key of this thread and task."""
    return threading.get_ident(), current_task()


def begin_phase(span: Any, born: object, context: Context) -> None:
    """Make *span*, born in *context* with the mark *born*, a phase of the span that is current there.

    It has its own `end` from now on, so that no other span pays for it: only there does the context in which a phase
    began hold again, and no processor gets the span itself there.
    """
    phase = Phase(holder_in(context), born, context)
    setattr(span, MARK, phase)

    def end(*args: Any, **kwargs: Any) -> None:
        span.__dict__.pop("end", None)  # the class's own holds again; this one would keep the span alive
        span.end(*args, **kwargs)
        try:
            _hand_over(phase)
        except Exception as exc:
            report_fault("fields.end_phase", exc)

    span.end = end


def _hand_over(phase: Phase) -> None:
    """Let what was set in *phase*, which is over, hold in the context around it."""
    current = get_current()
    left = phase.leaves(current)
    if left is None:
        return
    state: Any = left[FIELDS]
    new = Context({**with_state(current, state), BLOCK: left.get(BLOCK), SETTING: left.get(SETTING)})
    attach(new)
    note_in_phase(new)


Held: TypeAlias = "State | Lease"
"""Value in the slot of the fields."""
_Level: TypeAlias = "tuple[Callable[[], bool], State | None]"
"""A state that holds somewhere, and whether that place is still open."""


class Setting:
    """The place of a call of `set_context`: what ends its values, and what held there before."""

    __slots__ = ("before", "block", "outer", "owner")

    def __init__(self, owner: Any, block: Any, before: Any, outer: Setting | None) -> None:
        self.owner = owner
        """What ends it, see `owner_of`."""
        self.block = block
        """The innermost block around it; `None` without one."""
        self.before = before
        """State, or lease, of the context before the first call of that owner."""
        self.outer = outer
        """The setting around it; `None` without one."""
        # Those that are over hold nothing any more: a chain of tasks would keep all that came before it.
        self._let_go()
        if self.outer is not None:
            self.outer._let_go()

    def _let_go(self) -> None:
        while self.outer is not None and not self.outer.holds():
            self.outer = self.outer.outer

    def holds(self) -> bool:
        """Return whether its values hold in threads."""
        return _is_open(self.owner) and (self.block is None or is_block_open(self.block))


def setting_in(current: Context, holder: Any) -> Setting:
    """Return the setting of a call of `set_context` in *current*, below *holder*: a new one, or that of the last."""
    block: Any = current.get(BLOCK)
    last = cast("Setting | None", current.get(SETTING))
    if last is not None and last.block is not block:
        return Setting(owner_of(holder), block, current.get(FIELDS), last)
    if last is not None and last.owner is holder is not None:
        return last
    owner = owner_of(holder)
    return last if last is not None and last.owner == owner else Setting(owner, block, current.get(FIELDS), last)


def owner_of(span: Any) -> Any:
    """Return what ends a value that is set here, below the current *span*: the span, else the task, else nothing.

    A span that is not recorded does not say when it ends.
    """
    if span is not None and span.is_recording():
        return span
    task = current_task()
    return span if task is None else task


class Lease:
    """Stands for a state in the context of a raw thread, for as long as what the state was set in is open.

    It has the members of `State` that are used without a look at what it is.
    """

    __slots__ = ("_levels", "own", "span")

    def __init__(self, levels: tuple[_Level, ...], span: object, own: State | None = None) -> None:
        self._levels = levels
        self.span = span
        """The span, or request, in which the thread was started: what it hands down is leased as well."""
        self.own = own
        """What the thread itself has set, which holds when the lease is over; `None` for nothing."""

    def is_over(self) -> bool:
        """Return whether everything that the thread was started in has ended."""
        return not self._open_levels()

    def now(self) -> State | None:
        """Return the state that still holds; `None` when there is none."""
        levels = self._open_levels()
        return levels[0][1] if levels else self.own

    def _open_levels(self) -> tuple[_Level, ...]:
        levels = self._levels
        while levels and not levels[0][0]():
            self._levels = levels = levels[1:]
        return levels

    @property
    def baggage(self) -> Mapping[str, object]:
        """Entries for the baggage: those of the thread's own values, as what is there stays."""
        return {} if self.own is None else self.own.baggage

    def mapped(self, vary: Callable[[State], State], own: State | None, *inner: _Level) -> Lease:
        """Return the lease of what *vary* makes of each state: leased values end as before, new ones do not.

        Args:
            vary: Makes a state of the one that holds without it.
            own: What the thread itself has set here so far; see `Lease.own`.
            inner: Levels that hold before those of this lease.
        """
        levels = tuple((holds, vary(state or UNSET)) for holds, state in (*inner, *self._levels))
        return Lease(levels, self.span, vary(own or UNSET))

    def change(self, changes: Changes) -> Lease:
        """Return what *changes* make of it; see `State.change`."""
        return self.mapped(lambda state: state.change(changes), self.own)

    def with_caller(self, caller: Caller) -> Lease:
        """Return it with *caller*; see `State.with_caller`."""
        return self.mapped(lambda state: state.with_caller(caller), self.own)

    def with_notes(self, notes: Mapping[str, AttributeValue]) -> Lease:
        """Return it with *notes*; see `State.with_notes`."""
        return self.mapped(lambda state: state.with_notes(notes), self.own)

    def call_context(self) -> CallContext:
        """Return the fields as the public value."""
        return (self.now() or UNSET).call_context()

    @classmethod
    def of(cls, current: Context) -> Lease:
        """Return what a thread gets that is started in *current*."""
        return cls(tuple(cls._found(current)), holder_in(current))

    @classmethod
    def _found(cls, current: Context) -> Iterator[_Level]:
        """Yield every state that holds in *current*, from the innermost place to the outermost."""
        state: Any = current.get(FIELDS)
        block: Any = current.get(BLOCK)
        setting: Any = current.get(SETTING)
        while True:
            if type(state) is cls and state.own is None:
                yield from state._levels
                return
            if setting is not None and setting.block is block:
                yield from cls._levels_of(state, setting.holds)
                state, setting = setting.before, setting.outer
                continue
            around = None if block is None else outside(block)
            holds = partial(_is_open, owner_of(holder_in(current))) if block is None else partial(is_block_open, block)
            yield from cls._levels_of(state, holds)
            if around is None:
                return
            state, block, setting = around.get(FIELDS), around.get(BLOCK), around.get(SETTING)

    @classmethod
    def _levels_of(cls, state: Any, holds: Callable[[], bool]) -> Iterator[_Level]:
        """Yield the levels of *state*, or of a lease, set in a place that is open while *holds* returns `True`."""
        if type(state) is cls:
            for inherited, leased in state._levels:
                yield partial(_both, holds, inherited), leased
            state = state.own
        yield holds, state


def _both(one: Callable[[], bool], other: Callable[[], bool]) -> bool:
    return one() and other()


def _is_open(owner: Any) -> bool:
    if owner is None:
        return True
    if isinstance(owner, weakref.ref):
        task: Any = cast("weakref.ref[Any]", owner)()
        return task is not None and not task.done()
    return owner.is_recording()


def with_lease(current: Context, lease: Lease) -> Context:
    """Return *current* for a thread that has its fields by *lease* alone: as baggage they would stay for ever."""
    bag: Any = current.get(BAGGAGE)
    return Context({**current, FIELDS: lease, **({BAGGAGE: not_ours(bag)} if bag else {})})


def without_fields(current: Context) -> Context:
    """Return *current* with no fields in it, and none that its span hands down."""
    holder = holder_in(current)
    if current.get(FIELDS) is None and getattr(holder, MARK, None) is None:
        return current
    return with_lease(without_state(current), Lease((), holder))


def entries_of(current: Context) -> tuple[tuple[str, str], ...]:
    """Return our entries in the baggage of *current*, as they hold now, also in a thread that has them by a lease."""
    bag: Any = current.get(BAGGAGE) or {}
    state: Any = current.get(FIELDS)
    if type(state) is Lease and (held := state.now()) is not None:
        bag = merge_baggage(bag, held)
    return tuple([(key, str.__str__(value)) for key, value in bag.items() if type(value) is FieldText])
