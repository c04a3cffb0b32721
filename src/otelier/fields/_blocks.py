"""Blocks: stretches of code that run in an OpenTelemetry Context of their own and give the former one back.

A block never detaches a token: tokens of another task or thread are logged as errors by OpenTelemetry, and a
generator that is broken off is finished in whatever context the collector runs. A block asks instead whether it
is open in the context it is closed in, and leaves any other context alone.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final

from opentelemetry.context import Context, attach, get_current

from otelier.fields._slots import BLOCK, SPAN

_NOWHERE: Final = Context()


class Block:
    """What every kind of block knows; each kind fills it in when it is entered."""

    __slots__ = ("base", "mine", "outer", "under")

    def __init__(self) -> None:
        self.base: Context | None = None
        """The context that this block's own was made from; `None` when the block is over."""
        self.outer: Any = None
        """The open block around this one when it ended, for tasks that outlive it; `None` without one."""
        self.mine: Context | None = None
        """The context that this block put in place; `None` when it is not open."""
        self.under: object = None
        """The span that was current where a `context()` block was opened; `None` for the other kinds."""

    def is_open_in(self, current: Context) -> bool:
        """Tell whether code running in *current* runs inside this block."""
        block: Any = current.get(BLOCK)
        while block is not None and block is not self:
            block = around(block)
        return block is self

    def end(self) -> None:
        """Forget the context around the block, and blocks around it that are over.

        A callback that plans itself anew from inside its block would keep every block before it alive otherwise.
        """
        if self.base is not None:
            outer: Any = self.base.get(BLOCK)
            while outer is not None and outer.base is None:
                outer = outer.outer
            self.base, self.outer = None, outer


def around(block: Block) -> Any:
    """Return the block around *block*; `None` without one."""
    return block.outer if block.base is None else block.base.get(BLOCK)


def restore(current: Context, mine: Context, former: Context) -> Context:
    """Return what holds after a block: *former*, but with the span that was made current inside and is still open."""
    if current.get(SPAN) is mine.get(SPAN):
        return former
    return Context({**former, SPAN: current.get(SPAN)})


class Frame(Block):
    """Runs code in *inside*, once or step by step; between the steps its context is kept, not left in place.

    This is how generators and coroutines carry a context: entered for each step, left at each `yield`.
    """

    __slots__ = ("_former", "_resume")

    def __init__(self, inside: Context, *, under: object = None) -> None:
        super().__init__()
        self.base = inside
        self.under = under
        self._resume = Context({**inside, BLOCK: self})
        self._former = _NOWHERE

    def __enter__(self) -> None:
        self._former = get_current()
        attach(self._resume)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        current = get_current()
        if current is self._resume or self.is_open_in(current):
            self._resume = current
            attach(self._former)
        self._former = _NOWHERE

    def end(self) -> None:
        """Forget every context; the frame is not entered again."""
        super().end()
        self._resume = _NOWHERE
