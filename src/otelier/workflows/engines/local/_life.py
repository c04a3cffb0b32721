"""One life of a body: its ops in their numbers, what is recorded of them and in which order, and its end.

A life writes nothing but through the store, in the order in which things happened in it: what is in the file is always
a beginning of its history. Rows of ops that are begun wait for the next write of the same life, or for a moment.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import attrgetter
from typing import cast

from otelier.errors import EngineError, RunCancelled, RunParked, RunStopped
from otelier.workflows.engines import answers
from otelier.workflows.engines.local import _blocked as blocked
from otelier.workflows.engines.local import _changes as changes
from otelier.workflows.engines.local import _journal as journal
from otelier.workflows.engines.local._ahead import Ahead
from otelier.workflows.engines.local._mailbox import Mailbox
from otelier.workflows.engines.local._op import BEGUN, DONE, ENDING, GIVEN_UP, MADE, Driving, LocalOp
from otelier.workflows.engines.local._ops import Call, Result, Send, Signal, Sleep, Step
from otelier.workflows.engines.local._state import State
from otelier.workflows.engines.protocol import Json, Kind, Op, Outcome, Target


class Life:
    """The `Run` that a body is given."""

    __slots__ = (
        "_ahead", "_made", "_mail", "_now", "_recorded", "_seq", "_state",
        "_waits", "began_ns", "blocked_ns", "driver", "has_ended", "headers", "id", "is_draining", "kind", "late_ns",
        "loop", "open", "parent_id", "recovered_ns", "row", "steps", "stopped", "target", "task", "unwritten",
        "version",
    )  # fmt: skip

    def __init__(self, driver: Driving, kind: Kind, loaded: journal.Loaded) -> None:
        row = loaded.row
        self.driver, self.loop, self.row = driver, driver.loop, row
        self.kind: Kind = kind
        self.id, self.target, self.parent_id, self.version = row.id, row.target, row.parent, row.version
        self.headers: Mapping[str, str] = json.loads(row.headers)
        self.recovered_ns: Sequence[int] = row.recovered
        self.late_ns = 0
        self.blocked_ns: Sequence[tuple[int, int | None]] = row.blocked
        self.began_ns = row.began
        self.task: asyncio.Task[Outcome] | None = None
        self.stopped: RunStopped | None = None
        self.is_draining = self.has_ended = False
        self.open: dict[int, LocalOp] = {}
        self.steps: set[LocalOp] = set()
        self.unwritten: list[LocalOp] = []
        self._recorded = {op.n: op for op in loaded.ops}
        self._made = 0
        self._ahead = Ahead(self._recorded)
        self._now = loaded.latest_ns
        self._seq = max((op.seq for op in loaded.ops if op.seq is not None), default=-1) + 1
        self._waits: set[asyncio.Future[LocalOp]] = set()
        self._mail: Mailbox | None = None
        self._state: State | None = None
        for signal in loaded.signals:
            self.add_signal(*signal)

    # --- what a body calls ---
    def replaying(self) -> bool:
        """Return whether the journal has an op that was not started or waited for so far."""
        return bool(self._ahead)

    def longest_ahead_ns(self, until_ns: int) -> int:
        """Return how long the longest of those ops took, or has taken until then."""
        return self._ahead.longest_ns(until_ns)

    @property
    def cancelled_ns(self) -> int | None:
        """When the run was cancelled."""
        return self.row.cancelled or None

    def made(self) -> int:
        """Return how many ops this life has made."""
        return self._made

    def step(self, name: str, body: Callable[[], Awaitable[Json]]) -> Op:
        """Make an op whose value *body* computes."""
        return Step(self, name, body)

    def known(self, op: Op) -> bool:
        """Return whether the result of an op that was just made is in the journal."""
        return op.done()

    def sleep(self, seconds: float | Callable[[int], float]) -> Op:
        """Make an op that is done after *seconds*."""
        return Sleep(self, seconds)

    def signal(self, name: str, timeout_s: float | None) -> Op:
        """Make an op whose value is the payload of the oldest signal of that name.

        Raises:
            WorkflowUseError: if the body still waits for one of that name: which of the two got the next is no matter
                of the code's order.
        """
        self.check()
        return self._mailbox().expect(name, lambda: Signal(self, name, timeout_s))

    def call(
        self, target: Target, payload: Json, headers: Mapping[str, str], *, run_id: str | None = None,
        detached: bool = False,
    ) -> Op:  # fmt: skip
        """Make an op that starts a run of *target*."""
        return Call(self, target, payload, answers.dumps(dict(headers)), run_id, detached)

    async def stored(self, op: Op) -> None:
        """Wait until the run of a started `call` is stored."""
        assert isinstance(op, Call)
        self.check()
        if (future := op.storing()) is not None:
            await self._until(future)

    def result(self, run_id: str) -> Op:
        """Make an op whose value is the outcome of another run."""
        return Result(self, run_id)

    def send(self, run_id: str, name: str, payload: Json) -> Op:
        """Make an op that sends a signal, once."""
        return Send(self, run_id, name, payload)

    def cancel(self, op: Op) -> None:
        """Give up an op that was started."""
        self.check()
        assert isinstance(op, LocalOp)
        self.reach(op)
        is_begun = op.state == BEGUN or (op.state == MADE and op.found)
        if is_begun and isinstance(op, Call):
            self.driver.store.submit_later(changes.cancel_called, op.ref)
        elif is_begun:
            self._give_up(op)
        elif op.state == MADE:
            op.state = GIVEN_UP
        elif isinstance(op, Signal) and op.state in {ENDING, DONE} and not op.is_seen and op.ref:
            self._give_back(op, int(op.ref))

    async def next(self, ops: Sequence[Op]) -> Op:
        """Return the next of *ops* that is done, in the order in which results were recorded."""
        self.check()
        ours = cast("Sequence[LocalOp]", ops)
        done = [op for op in ours if op.state == DONE]  # of thousands, for each of their results
        best = min(done, key=attrgetter("seq")) if done else await self._wait(ours)
        best.is_seen = True
        self.reach(best)
        if self._ahead:
            self._ahead.reach_begun(ours, best)
        return best

    def when_stored(self, do: Callable[[], object]) -> None:
        """Call *do* once all is committed that has happened in this life."""

        def stored(_: object, error: BaseException | None) -> None:
            if error is None:
                do()

        self.driver.store.submit(self.loop, stored, journal.execute, self.unwritten_rows())

    async def get(self, key: str) -> Json:
        """Return a value of the entity's state."""
        self.check()
        return self._entity().get(key, self._read_state)

    def put(self, changes: Mapping[str, Json]) -> None:
        """Change the entity's state when this run succeeds.

        Raises:
            WorkflowUseError: in a read, which others run beside, or outside an entity.
        """
        self.check()
        self._entity().put(changes)

    @property
    def changes(self) -> dict[str, Json]:
        """Changes of the entity's state."""
        return {} if self._state is None else self._state.changes

    def _entity(self) -> State:
        if self._state is None:
            self._state = State(self.kind, self.target, self.row.snapshot)
        return self._state

    # --- the order of things ---
    def check(self) -> None:
        """Raise what stopped this life."""
        if self.stopped is not None:
            raise self._error()

    def _error(self) -> RunStopped:
        assert self.stopped is not None
        return type(self.stopped)(*self.stopped.args)

    def numbered(self, kind: str, name: str) -> tuple[int, journal.OpRow | None]:
        """Return the number of the next op, and what the journal has there."""
        self.check()
        number = self._made
        found = self._recorded.pop(number, None)
        if found is not None and (found.kind, found.name) != (kind, name):
            self.block(answers.another_op(self.id, found.n, found.kind, found.name, f"{kind} {name!r}"))
            raise self._error()
        self._made = number + 1
        return number, found

    def unmade(self) -> journal.OpRow | None:
        """Return an op that the journal has, and that a body which has ended did not make."""
        return min(self._recorded.values(), key=lambda op: op.n, default=None)

    def reach(self, op: LocalOp) -> None:
        """Take note that an op was started or waited for."""
        op.is_found = op.found
        self._ahead.reach(op)

    def begin(self, op: LocalOp) -> None:
        """Begin an op whose result is not recorded."""
        if self.is_draining:
            self.stop(RunParked("The worker stops."))
        elif self.row.cancelled:
            self.stop(RunCancelled(f"Run {self.id!r} was cancelled."))
        self.check()
        op.state = BEGUN
        self.open[op.number] = op
        if not op.found:
            self._ahead.clear()
            op.first_begun(self.now_ns())
            self.unwritten.append(op)
        elif isinstance(op, Step):
            op.executions += 1
            self.unwritten.append(op)
        op.go()
        if self.unwritten:
            self.driver.write_soon(self)

    def now_ns(self) -> int:
        """Return the time for what is recorded now: never before what was, also where the clock was set back."""
        self._now = max(self._now, time.time_ns())
        return self._now

    def next_seq(self) -> int:
        """Return the place of the next result among those of this run."""
        self._seq += 1
        return self._seq - 1

    def unwritten_rows(self, besides: LocalOp | None = None) -> list[journal.Statement]:
        """Return what has happened in this life and is not in the store's queue yet."""
        rows: list[journal.Statement] = []
        if self._state is not None and self._state.unwritten is not None:
            rows.append((journal.SNAPSHOT, (self._state.unwritten, self.row.n)))
            self._state.unwritten = None
        if self.unwritten:
            rows.extend(op.row(None) for op in self.unwritten if op is not besides)
            self.unwritten = []
        return rows

    def record(self, op: LocalOp, value: Json, *also: journal.Statement) -> None:
        """Record the result of an op; the body sees it after the commit."""
        statements = self.recording(op, value)
        if statements is not None:
            statements.extend(also)
            self.driver.store.submit(self.loop, op.recorded, journal.execute, statements)

    def recording(self, op: LocalOp, value: Json) -> list[journal.Statement] | None:
        """Return the statements that record the result of an op, `None` if it has no more a result."""
        if self.stopped is not None or op.state != BEGUN:
            return None
        try:
            text = answers.dumps(value)
        except (TypeError, ValueError) as exc:
            self.block(blocked.failed_inside(self.id, exc))
            return None
        rows = self.unwritten_rows(besides=op)
        op.state, op.value, op.seq, op.ended_ns = ENDING, value, self.next_seq(), self.now_ns()
        rows.append(op.row(text))
        return rows

    def wake(self, op: LocalOp) -> None:
        """Wake whoever waits for an op, which is done."""
        self.open.pop(op.number, None)
        waiters, op.waiters = op.waiters, None
        for future in waiters or ():
            if not future.done():
                future.set_result(op)

    async def _wait(self, ops: Sequence[LocalOp]) -> LocalOp:
        for op in ops:
            op.start()
        future: asyncio.Future[LocalOp] = self.loop.create_future()
        count = 0
        for op in ops:
            if op.state in {BEGUN, ENDING}:
                count += 1
                if op.waiters is None:
                    op.waiters = [future]
                else:
                    op.waiters.append(future)
        if not count:
            raise answers.all_given_up()
        self.driver.settled(self)
        try:
            return await self._until(future)
        finally:
            for op in ops:
                if op.waiters and future in op.waiters:
                    op.waiters.remove(future)

    async def _until(self, future: asyncio.Future[LocalOp] | asyncio.Future[None]) -> LocalOp:
        self._waits.add(future)  # type: ignore[arg-type]
        try:
            found = await future
        except asyncio.CancelledError:
            self.check()
            raise
        finally:
            self._waits.discard(future)  # type: ignore[arg-type]
        self.check()
        return found  # type: ignore[return-value]

    def _give_up(self, op: LocalOp) -> None:
        op.leave()
        op.state, op.ended_ns, op.waiters = GIVEN_UP, self.now_ns(), None
        self.open.pop(op.number, None)
        if op not in self.unwritten:
            self.unwritten.append(op)
        self.driver.write_soon(self)

    def _give_back(self, op: Signal, number: int) -> None:
        # It was taken for a wait that the body gave up before it saw it: the next wait of that name gets it.
        payload = answers.dumps(op.value)
        op.state, op.seq, op.value = GIVEN_UP, -1, None
        self.open.pop(op.number, None)
        rows = [*self.unwritten_rows(), op.row(None), (journal.GIVE_BACK_SIGNAL, (number, self.id, op.name, payload))]
        self.driver.store.submit_later(journal.execute, rows)
        self._mailbox().give_back(number, op.name, payload)

    # --- signals and state ---
    def add_signal(self, number: int, name: str, payload: str) -> None:
        """Take a signal for this run into its mail, once, or give it to the op that waits for it."""
        mail = self._mailbox()
        if mail.add(number, name, payload) and (op := mail.waiting(name)) is not None:
            taken = self.take_signal(name)
            if taken is not None:
                op.took(*taken)

    def _mailbox(self) -> Mailbox:
        if self._mail is None:
            self._mail = Mailbox()
        return self._mail

    def take_signal(self, name: str) -> tuple[int, str] | None:
        """Take the oldest signal of a name, its number and its payload."""
        return None if self._mail is None or self.stopped is not None else self._mail.take(name)

    def _read_state(self, target: Target) -> dict[str, Json]:
        try:
            return self.driver.store.read(journal.read_state, target)
        except EngineError as exc:
            self.driver.fault(exc)
            self.stop(RunParked(str(exc)))
            raise self._error() from None

    # --- its end ---
    def stop(self, error: RunStopped) -> None:
        """End this life: its waits end, its steps are cancelled, and its body is left when they have ended."""
        if self.stopped is not None:
            return
        self.stopped = error
        for op in list(self.open.values()):
            op.leave()
        self._leave_body()

    def step_left(self, step: LocalOp) -> None:
        """Take note that the task of a step has ended."""
        self.steps.discard(step)
        if self.stopped is not None:
            self._leave_body()
        elif self.is_draining and not self.steps:
            self.driver.drained(self)

    def _leave_body(self) -> None:
        if self.steps or self.task is None or self.task.done():
            return
        waits = [one for one in self._waits if not one.done()]
        for future in waits:
            future.set_exception(self._error())
            future.exception()  # who waits gets it; a wait that was left meanwhile is no fault
        if not self._waits and asyncio.current_task() is not self.task:
            self.task.cancel()  # it waits for something that is not ours

    def block(self, error: BaseException) -> None:
        """Leave the run until somebody resumes it."""
        if self.stopped is None:
            at_ns = self.now_ns()
            self.driver.block(self, error, at_ns)
            self.blocked_ns = [*self.blocked_ns, (at_ns, None)]
            self.stop(RunParked(str(error)))

    def lost(self, error: BaseException) -> None:
        """Leave the body because the task of a step was cancelled by somebody else, such as the loop's end."""
        self.stop(RunParked(f"A step's task was ended by somebody else: {type(error).__name__}."))
