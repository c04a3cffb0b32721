"""`context()`: fields for a block of code, or for every call of a function."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

from opentelemetry.context import Context, attach, get_current

from otelier.errors import ContextUseError
from otelier.fields._blocks import Frame, end, is_open_in, restore
from otelier.fields._context_keys import BAGGAGE, BLOCK, FIELDS, REQUEST, SPAN
from otelier.fields._contexts import merge_baggage, with_changes
from otelier.fields._driving import run_in
from otelier.fields._inheritance import changed_state
from otelier.fields._phases import holder_in, note_in_phase
from otelier.fields._state import UNSET
from otelier.fields._values import accept_values, is_strict

F = TypeVar("F", bound=Callable[..., Any])


class context:  # noqa: N801 -- reads as a verb at its call site, like `contextlib.suppress`
    """Set fields for a `with` block, or as a decorator for each call of a function; they are restored at the end.

    Spans and log records created inside carry the fields, metrics the agent's name; tasks and thread-pool jobs started
    inside inherit them. `None` leaves a field as it is outside, `""` clears it inside. The span that is already open
    when the block starts stays unchanged: use `set_context` for that one.

    A decorated function may be plain, `async`, a generator or an async generator. The fields of a decorated generator
    are set only while it runs, so its consumer never sees them; those of `with context()` in a generator's body are
    visible to the consumer between the `yield`s.

    Args:
        user_id: End user that the calls are made for.
        user_role: Role of that user. For several, a list, tuple or set of roles without commas, or one text with the
            roles separated by commas.
        agent: Name of the agent that makes the calls.
        agent_id: Id of that agent, if the application has one. It takes precedence over the name.
        session_id: Session of the end user.
        workflow_id: Workflow or job that the calls belong to.
        tenant_id: Customer whose data the calls work on.

    Values are the same as for `set_context`; one that cannot be carried clears its field inside.

    Raises:
        TypeError: with `init(strict=True)`, if a value has another type.
        ContextValueError: with `init(strict=True)`, if a text cannot be carried.
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

    __slots__ = ("_changes", "_outer_block", "_outer_context", "_own_context", "_span_outside")

    def __init__(
        self,
        *,
        user_id: str | int | UUID | None = None,
        user_role: str | int | UUID | Collection[str] | None = None,
        agent: str | int | UUID | None = None,
        agent_id: str | int | UUID | None = None,
        session_id: str | int | UUID | None = None,
        workflow_id: str | int | UUID | None = None,
        tenant_id: str | int | UUID | None = None,
    ) -> None:
        self._changes: Any = (user_id, user_role, agent, agent_id, session_id, workflow_id, tenant_id)
        self._own_context: Context | None = None

    def __enter__(self) -> None:
        """Set the fields."""
        # Entering and leaving is the hot path of this room: no helper calls, one new Context, the token not kept.
        if self._own_context is not None:
            raise ContextUseError(
                "Cannot enter one context() object twice at once: its first block would not be restored. "
                "Call `otelier.context(...)` for each block."
            )
        current = get_current()
        state: Any = current.get(FIELDS)
        span = current.get(SPAN)
        if span is None and REQUEST not in current:
            state = (UNSET if state is None else state).change(self._changes)
            self._span_outside: Any = None
        else:
            self._span_outside = holder = holder_in(current)
            state = changed_state(state, holder, self._changes)
        self._outer_context: Context | None = current
        bag: Any = current.get(BAGGAGE)
        self._own_context = Context(
            {**current, BAGGAGE: merge_baggage(bag, state) if bag else state.baggage, FIELDS: state, BLOCK: self}
        )
        attach(self._own_context)
        if span is not self._span_outside:
            note_in_phase(self._own_context)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what held before."""
        mine = self._own_context
        self._own_context = None
        current = get_current()
        if mine is None:
            return
        former: Any = self._outer_context
        if current is mine:
            attach(former)
        elif is_open_in(self, current):
            attach(restore(current, mine, former))
        end(self)

    def __call__(self, function: F) -> F:
        """Return *function* with the fields set for each of its calls."""
        changes = self._changes
        if is_strict():
            accept_values(changes)

        def open_frame() -> Frame:
            current = get_current()
            return Frame(with_changes(current, changes), around=current, span_outside=holder_in(current))

        return run_in(function, open_frame)
