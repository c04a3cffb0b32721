"""Phases: spans that only divide one request, so that what is set inside them belongs to the request.

Frameworks and server instrumentations open a span for each step of a request: for its dependencies, its handler, for
each message that is received or sent. Such a span is transparent. What is set while it is current is the whole
span's, and in force after the phase as if the phase had never been current.
"""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context

from otelier.fields._blocks import around, outside
from otelier.fields._context_keys import BLOCK, REQUEST, SPAN

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
    """What is known of one span that is a phase of *whole*, and was born in the context *over*."""

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
        """Tell whether all blocks that were opened between the phase's start and *context* are open still."""
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

    It has the members of a span that this room uses.
    """

    __slots__ = (MARK, "_block")
    attributes = None

    def __init__(self, block: object, mark: object) -> None:
        self._block = block
        setattr(self, MARK, mark)

    def is_recording(self) -> bool:
        """Tell whether the request is still being served."""
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
    """Return what tells this thread and task from others."""
    return threading.get_ident(), current_task()
