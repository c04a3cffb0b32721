"""An op of a body on Restate: its number, the parts that it waits for, its result."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from typing import Any, ClassVar, Final, Protocol

from otelier.codec import read_json
from otelier.errors import RunStopped
from otelier.workflows.engines.protocol import Json, Op
from otelier.workflows.engines.restate._answers import to_bytes
from otelier.workflows.engines.restate._pump import Got, Pump

MADE: Final = 0
BEGUN: Final = 1
DONE: Final = 2
GIVEN_UP: Final = 3


class Owner(Protocol):
    """What ops ask of their run."""

    id: str
    pump: Pump
    stopped: RunStopped | None
    seen_ns: int
    """The latest time that was recorded, of what the body was told."""
    life_ns: int
    """When this life began."""
    unknown_s: float
    steps: set[Any]
    """Steps that go on."""
    ending: set[asyncio.Task[None]]
    """Tasks of steps that were given up."""

    def check(self) -> None:
        """Raise what stopped it."""
        ...

    def made(self) -> int:
        """Return how many ops were made."""
        ...

    def begin(self, op: RestateOp) -> None:
        """Begin an op."""
        ...

    def ended(self, op: RestateOp) -> int:
        """Keep an op no more whose result is there, and return the place of that among all results."""
        ...

    def marked(self) -> None:
        """Take note that the begin of an op is recorded."""
        ...

    def recovered(self, at_ns: int) -> None:
        """Take note of a life that began after a crash."""
        ...

    def fault(self, error: BaseException) -> None:
        """Leave the body because of a fault of ours."""
        ...

    def step_left(self, step: Any) -> None:
        """Take note that the task of a step has ended."""
        ...

    async def next(self, ops: Sequence[Op]) -> Op:
        """Wait for ops."""
        ...


class RestateOp:
    """An op of a run: done when what it waits for is there, and the time of its begin is."""

    __slots__ = (
        "_handles", "_has_began", "began_ns", "due_ns", "ended_ns", "executions", "is_found", "is_seen", "name",
        "number", "run", "seq", "state", "value",
    )  # fmt: skip
    kind: ClassVar[str]

    def __init__(self, run: Owner, number: int, name: str) -> None:
        self.run, self.number, self.name = run, number, name
        self.state = MADE
        self.is_found = self.is_seen = False
        self.began_ns: int | None = None
        self.due_ns: int | None = None
        """When it is over at the latest, as recorded."""
        self.ended_ns: int | None = None
        self.executions = 1
        self.value: Json = None
        self.seq = -1
        self._handles: set[int] = set()
        self._has_began = True

    def start(self) -> None:
        """Write it into the journal, unless that was done."""
        self.run.check()
        if self.state == MADE:
            self.run.begin(self)

    @property
    def is_recorded(self) -> bool:
        """Whether its begin is recorded."""
        return self._has_began

    def done(self) -> bool:
        """Return whether its result is recorded."""
        return self.state == DONE

    @property
    def is_given_up(self) -> bool:
        """Whether it is waited for no more."""
        return self.state == GIVEN_UP

    def __await__(self) -> Generator[Any, Any, Json]:
        if self.state != DONE or self.run.stopped is not None:
            yield from self.run.next((self,)).__await__()
        self.is_seen = True
        return self.value

    # --- what its kind does ---
    def go(self) -> None:
        """Begin what it waits for."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Wait for it no more."""
        self.state = GIVEN_UP
        self.leave()

    def leave(self) -> None:
        """Ask no more for what it waits for."""
        for handle in self._handles:
            self.run.pump.drop(handle)

    # --- its parts ---
    def label(self) -> str:
        """Return how the journal names it."""
        return f"{self.number} {self.kind} {self.name}"

    def mark(self, at: int, due: int | None = None) -> None:
        """Record when it begins and when it is over at the latest, without waiting for that.

        Nothing else that a replay gets says so, and a body may compute a time otherwise in each life.
        """
        self._has_began = False

        def now(handle: int) -> None:
            self.run.pump.give(handle, to_bytes([at, due]))

        self._handles.add(self.run.pump.run(self.label(), now, self._marked))

    def _marked(self, value: Any) -> None:
        self.began_ns, self.due_ns = read_json(bytes(value).decode())
        self._has_began = True
        self.run.marked()
        self.settle()

    def watch(self, handle: int, got: Got) -> None:
        """Wait for a part."""
        self._handles.add(handle)
        self.run.pump.watch(handle, got)

    def is_complete(self) -> bool:
        """Return whether its value is there."""
        raise NotImplementedError

    def settle(self) -> None:
        """Be done, if all is there."""
        if self.state == BEGUN and self._has_began and self.is_complete():
            self.leave()
            self.finish()
            self.state, self.seq = DONE, self.run.ended(self)

    def finish(self) -> None:
        """Take note of when it ended."""
