"""Ops of a body: number, row and result of each; and the protocols of the life and the driver that they use."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator, Sequence
from typing import Any, ClassVar, Final, Protocol

from otelier.errors import RunStopped
from otelier.workflows.engines.local import _journal as journal
from otelier.workflows.engines.local._blocked import damaged
from otelier.workflows.engines.local._store import Store
from otelier.workflows.engines.protocol import Json, Op

MADE: Final = 0
BEGUN: Final = 1
ENDING: Final = 2
"""Its result waits for the commit."""
DONE: Final = 3
GIVEN_UP: Final = 4


class Waiting(Protocol):
    """Ops that wait: for a time, or for the end of a run."""

    def add(self, op: LocalOp) -> None:
        """Take *op*, which begins to wait."""
        ...

    def drop(self, op: LocalOp) -> None:
        """Forget *op*, which was given up or left."""
        ...


class Driving(Protocol):
    """The driver of a life, as the life and its ops use it."""

    @property
    def store(self) -> Store:
        """Where ops are written."""
        ...

    @property
    def timers(self) -> Waiting:
        """Ops that wait for a time."""
        ...

    @property
    def ends(self) -> Waiting:
        """Ops that wait for the end of another run."""
        ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of its body."""
        ...

    def settled(self, life: Any) -> None:
        """Take note that a body waits for something that is not recorded."""
        ...

    def write_soon(self, life: Any) -> None:
        """Write in a moment what has happened in a life."""
        ...

    def drained(self, life: Any) -> None:
        """Leave a body whose steps have ended, when the worker stops."""
        ...

    def block(self, life: Any, error: BaseException, at_ns: int) -> None:
        """Leave a run until somebody resumes it."""
        ...

    def fault(self, error: BaseException) -> None:
        """Take note that the store failed."""
        ...


class Owner(Protocol):
    """The life of an op, as the op uses it."""

    @property
    def id(self) -> str:
        """The run."""
        ...

    @property
    def row(self) -> journal.Row:
        """Its row."""
        ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of its body."""
        ...

    @property
    def driver(self) -> Driving:
        """Its driver."""
        ...

    @property
    def stopped(self) -> RunStopped | None:
        """What ended it."""
        ...

    @property
    def steps(self) -> set[LocalOp]:
        """Steps whose tasks go on."""
        ...

    def check(self) -> None:
        """Raise what stopped it."""
        ...

    def numbered(self, kind: str, name: str) -> tuple[int, journal.OpRow | None]:
        """Return the number of a new op, and what the journal has there."""
        ...

    def reach(self, op: LocalOp) -> None:
        """Take note that an op was started or waited for."""
        ...

    def begin(self, op: LocalOp) -> None:
        """Begin an op."""
        ...

    async def next(self, ops: Sequence[Op]) -> Op:
        """Wait for ops."""
        ...

    def now_ns(self) -> int:
        """Return the time for what is recorded now."""
        ...

    def next_seq(self) -> int:
        """Return the place of the next result."""
        ...

    def unwritten_rows(self, besides: LocalOp | None = None) -> list[journal.Statement]:
        """Return what is not in the store's queue yet."""
        ...

    def recording(self, op: LocalOp, value: Json) -> list[journal.Statement] | None:
        """Return the statements that record a result, `None` if the op has no more one."""
        ...

    def record(self, op: LocalOp, value: Json, *also: journal.Statement) -> None:
        """Record a result."""
        ...

    def wake(self, op: LocalOp) -> None:
        """Wake whoever waits for an op, which is done."""
        ...

    def take_signal(self, name: str) -> tuple[int, str] | None:
        """Take the oldest signal of a name, its number and its payload."""
        ...

    def step_left(self, step: LocalOp) -> None:
        """Take note that the task of a step has ended."""
        ...

    def block(self, error: BaseException) -> None:
        """Leave the run until somebody resumes it."""
        ...

    def lost(self, error: BaseException) -> None:
        """Leave the body because a step's task was cancelled."""
        ...


class LocalOp:
    """An op of a life. It is a row of the journal from its begin, and done when its result is committed."""

    __slots__ = (
        "began_ns", "due", "ended_ns", "executions", "found", "is_found", "is_new", "is_seen", "life", "name",
        "number", "ref", "seq", "state", "value", "waiters",
    )  # fmt: skip
    kind: ClassVar[str]

    def __init__(self, life: Owner, name: str, *, ref: str | None = None) -> None:
        self.life = life
        self.name = name
        self.value: Json = None
        self.waiters: list[asyncio.Future[LocalOp]] | None = None
        self.is_seen = False  # whether the body knows that it is done
        self.seq = -1
        self.due: int | None = None
        self.ref = ref
        self.number, found = life.numbered(self.kind, name)
        self.found = found is not None
        self.is_found = False  # known from its start on
        self.is_new = False  # whether its row is still to be inserted
        if found is None:
            self.state, self.executions = MADE, 0
            self.began_ns: int | None = None
            self.ended_ns: int | None = None
            return
        self.began_ns, self.ended_ns, self.executions = found.began, found.ended, found.executions
        self.due, self.ref = found.due, found.ref
        if found.seq is not None:
            self.state, self.seq = DONE, found.seq
            try:
                self.value = json.loads(found.value or "null")
            except ValueError as exc:
                life.block(damaged(life.id, self.kind, name, self.number, exc))
                life.check()
        else:
            self.state = MADE if found.ended is None else GIVEN_UP

    def start(self) -> None:
        """Write it into the journal and begin it, unless that was done."""
        self.life.check()
        self.life.reach(self)
        if self.state == MADE:
            self.life.begin(self)

    @property
    def due_ns(self) -> int | None:
        """Return `None`: who drives the file tells in time."""
        return None

    @property
    def is_given_up(self) -> bool:
        """Whether it was given up: it is never done."""
        return self.state == GIVEN_UP

    def done(self) -> bool:
        """Return whether its result is recorded."""
        return self.state == DONE

    def __await__(self) -> Generator[Any, Any, Json]:
        if self.state != DONE or self.life.stopped is not None:
            yield from self.life.next((self,)).__await__()
        self.life.reach(self)
        self.is_seen = True
        return self.value

    # --- what its kind does ---
    def first_begun(self, now_ns: int) -> None:
        """Take note of when it is begun for the first time."""
        self.began_ns, self.executions, self.is_new = now_ns, 1, True

    def go(self) -> None:
        """Begin what it waits for."""

    def leave(self) -> None:
        """End what it waits for: it was given up, or the life is left."""

    def elapsed(self) -> None:
        """End, at its time."""
        self.life.record(self, None)

    # --- its result ---
    def recorded(self, _result: Any, error: BaseException | None) -> None:
        """Take note that its result is committed."""
        if error is None and self.state == ENDING:
            self.state = DONE
            self.life.wake(self)

    def row(self, text: str | None) -> journal.Statement:
        """Return the statement that writes it as it is now."""
        seq = self.seq if self.seq >= 0 else None
        if self.is_new:
            self.is_new = False
            args = (self.life.row.n, self.number, self.kind, self.name, self.began_ns, self.executions)
            return journal.INSERT_OP, (*args, self.ended_ns, seq, text, self.due, self.ref)
        args = (self.executions, self.ended_ns, seq, text, self.ref, self.life.row.n, self.number)
        return journal.UPDATE_OP, args
