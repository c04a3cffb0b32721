"""Leases: what a raw thread has of the place that started it, which may be over long before the thread is.

A value that was set belongs to what was open around it then: its span, else the block, the task. A worker that the
first request starts may serve all others, so it holds the values of that request only as long as these are open.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeAlias, cast

from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from otelier.fields._blocks import is_block_open, outside
from otelier.fields._context_keys import BLOCK, FIELDS, SETTING
from otelier.fields._phases import current_task, holder_in
from otelier.fields._state import UNSET, Caller, State
from otelier.fields._values import CallContext, Changes

Held: TypeAlias = "State | Lease"
"""What stands in the slot of the fields."""
_Level: TypeAlias = "tuple[Callable[[], bool], State | None]"
"""A state that holds somewhere, and whether that place is still open."""


class Setting:
    """Where `set_context` was called: what ends its values, and what held there before."""

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
        """Tell whether its values hold in threads."""
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
        """Tell whether nothing that the thread was started in is open any more."""
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
        """Yield what is leased of *state*, a lease also, that was set where *holds* tells whether it is open."""
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
