"""`context()`: fields for a block of code, or for every call of a function."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from opentelemetry.context import Context, attach, get_current

from otelier.errors import ContextUseError
from otelier.fields._births import changed_state
from otelier.fields._blocks import Block, Frame, restore
from otelier.fields._contexts import changed, merged
from otelier.fields._driving import run_in
from otelier.fields._phases import note_in_phase
from otelier.fields._slots import BAGGAGE, BLOCK, FIELDS, REQUEST, SPAN
from otelier.fields._state import UNSET
from otelier.fields._values import checked

F = TypeVar("F", bound=Callable[..., Any])


class context(Block):  # noqa: N801 -- reads as a verb at its call site, like `contextlib.suppress`
    """Set fields for a `with` block, or as a decorator for each call of a function; they are restored at the end.

    Spans, metrics and logs made inside carry the fields; so do tasks started inside and work handed to thread
    pools. `None` leaves a field as it is outside, `""` clears it inside. The span that is already open when the
    block starts is not touched: use `set_context` to describe that one.

    A decorated function may be plain, `async`, a generator or an async generator. A generator function runs step
    by step, so its fields are never seen by the code that consumes it. With `with context()` in a generator's own
    body they are, between one `yield` and the next.

    Args:
        user_id: End user the calls are made for.
        user_role: Role of that user, free text.
        agent: Name of the agent that makes the calls.
        agent_id: Id of that agent, for callers that have one. It stands before the name.
        session_id: Session of the end user.
        workflow_id: Workflow or job that the calls belong to.

    Raises:
        TypeError: if a value is not text.
        ContextValueError: if a value has control characters or more than 1024 characters.
        ContextUseError: if one object is entered again while its block is open.

    Example:
        >>> import otelier
        >>> with otelier.context(user_id="u-1", agent="triage"):
        ...     with otelier.context(agent="billing"):
        ...         print(otelier.get_context().user_id, otelier.get_context().agent)
        u-1 billing
        >>> otelier.get_context().user_id is None
        True
    """

    __slots__ = ("_changes",)

    def __init__(
        self,
        *,
        user_id: str | None = None,
        user_role: str | None = None,
        agent: str | None = None,
        agent_id: str | None = None,
        session_id: str | None = None,
        workflow_id: str | None = None,
    ) -> None:
        self._changes = (user_id, user_role, agent, agent_id, session_id, workflow_id)
        self.mine = None

    # Entering and leaving is the hot path of this room: no helper calls, one new Context, the token not kept.
    def __enter__(self) -> None:
        if self.mine is not None:
            raise ContextUseError(
                "Cannot enter one context() object twice at once: its first block would not be restored. "
                "Call `otelier.context(...)` for each block."
            )
        current = get_current()
        span = current.get(SPAN)
        if span is None and REQUEST not in current:
            state: Any = current.get(FIELDS)
            state = (UNSET if state is None else state).change(self._changes)
        else:
            state = changed_state(current, self._changes)
        self.base = current
        self.under = span
        bag: Any = current.get(BAGGAGE)
        self.mine = Context(
            {**current, BAGGAGE: merged(bag, state) if bag else state.baggage, FIELDS: state, BLOCK: self}
        )
        attach(self.mine)
        if span is not None:
            note_in_phase(self.mine)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        mine = self.mine
        self.mine = None
        current = get_current()
        if mine is None:
            return
        former: Any = self.base
        if current is mine:
            attach(former)
        elif self.is_open_in(current):
            attach(restore(current, mine, former))
        self.end()

    def __call__(self, function: F) -> F:
        """Return *function* with the fields set for each of its calls."""
        checked(self._changes)
        changes = self._changes

        def open_frame() -> Frame:
            current = get_current()
            return Frame(changed(current, changes), under=current.get(SPAN))

        return run_in(function, open_frame)
