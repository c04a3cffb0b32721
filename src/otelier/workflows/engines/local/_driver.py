"""The driver: it begins the bodies of the runs of its services, and brings them what they wait for.

All of it happens on one event loop; what comes from other threads and processes comes as notes, after the commit.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Final

from otelier.codec import error_to_json
from otelier.errors import EngineError, RunCancelled, RunParked, RunStopped
from otelier.faults import count_fault
from otelier.workflows.engines import answers
from otelier.workflows.engines.local import _blocked as blocked
from otelier.workflows.engines.local import _changes as changes
from otelier.workflows.engines.local import _housekeeping as housekeeping
from otelier.workflows.engines.local import _journal as journal
from otelier.workflows.engines.local._beginning import Beginning, Beginnings
from otelier.workflows.engines.local._ends import RunEnds
from otelier.workflows.engines.local._file import LostLockError
from otelier.workflows.engines.local._life import Life
from otelier.workflows.engines.local._options import Options
from otelier.workflows.engines.local._store import Store, ask
from otelier.workflows.engines.local._timers import Timers
from otelier.workflows.engines.local._turns import Turns
from otelier.workflows.engines.local._watchdog import Watchdog
from otelier.workflows.engines.protocol import Invoke, Json, Kind, Outcome, Registry, Target

WRITE_SOON_S: Final = 0.02
"""How long the row of an op that was begun may wait for the next write of its run."""
_LEAVE_S: Final = 1.0
_KEEPING_S: Final = 3600.0
_LOGGED_EVERY_S: Final = 60.0
logger = logging.getLogger("otelier")


class Driver:
    """Runs the bodies of a registry on one event loop, until it is stopped."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        invoke: Invoke,
        options: Options,
        owner_of: Callable[[str], Driver | None],
    ) -> None:
        self.store, self.registry, self.invoke, self.options = store, registry, invoke, options
        self._owner_of = owner_of  # the driver of a service in this process
        self._context = copy_context()  # that of the worker: bodies do not see who started them
        self.services = {service for service, _ in registry.kinds}
        self.loop = asyncio.get_running_loop()
        self.timers = Timers(self.loop)
        self.watchdog = Watchdog(self.loop, store.shown, options.held_up_s)
        self.lives: dict[str, Life] = {}
        self.ends = RunEnds()
        self._known: set[str] = set()
        self._beginnings = Beginnings(options.max_replaying)
        self._turns = Turns()
        self._targets: dict[str, Target] = {}
        """Handlers of the runs whose bodies are not begun."""
        self._unwritten: set[Life] = set()
        self._is_ready = self._is_draining = self._is_alone = False
        self._counts = self._recovers = False
        self._fault: asyncio.Future[BaseException] | None = None
        self._logged_at = float("-inf")
        self._keeping: asyncio.TimerHandle | None = None

    # --- its life ---
    async def drive(self, ready: Callable[[], object], *, is_alone: bool) -> None:
        """Run what there is, until cancelled; after a fault of the store, all begins again from the last commit."""
        self._is_alone = is_alone
        self._counts = self._recovers = not await ask(self.store, housekeeping.begin_driving, self.registry, is_alone)
        ready()
        while True:
            self._fault = self.loop.create_future()
            try:
                await self._recover()
                fault: BaseException = await self._fault
            except EngineError as exc:
                fault = exc
            if isinstance(fault, LostLockError):
                raise fault
            await self._recover_from(fault)
            self.store.repair()

    async def _recover(self) -> None:
        recovered: asyncio.Future[None] = self.loop.create_future()

        def done(rows: list[journal.OpenRun], error: BaseException | None) -> None:
            # At once, not in the task that waits: notes of what was committed afterwards come next.
            if error is None:
                self._recovered(rows)
            if not recovered.done():
                recovered.set_result(None) if error is None else recovered.set_exception(error)

        self.store.submit(self.loop, done, housekeeping.open_runs)
        await recovered

    def _recovered(self, rows: list[journal.OpenRun]) -> None:
        if self._is_draining:
            return
        self._is_ready = True
        for row in rows:
            if self._is_mine(row.target.service):
                self._add(row.id, row.target, None, row.is_blocked)
        self._counts, self._recovers = True, False  # for those that are begun again later
        self._keep()

    def _is_mine(self, service: str) -> bool:
        return self._owner_of(service) in (None, self)

    def inherit(self) -> None:
        """Take over the runs of a service that another driver of this process had, and has left."""
        if self._is_ready:
            self.store.submit(self.loop, self._inherited, housekeeping.open_runs)

    def _inherited(self, rows: list[journal.OpenRun] | None, error: BaseException | None) -> None:
        for row in rows or ():
            if error is None and self._is_ready and self._is_mine(row.target.service):
                self._add(row.id, row.target, None, row.is_blocked)

    async def _recover_from(self, fault: BaseException) -> None:
        count_fault("workflows.store")
        now = time.monotonic()
        if now - self._logged_at > _LOGGED_EVERY_S:
            logger.error(
                "otelier cannot write %s (%s: %s): all bodies are left where they are, and begin again from the last "
                "commit as soon as it can be written; that is tried every %g s.",
                self.store.shown, type(fault).__name__, fault, self.options.retry_s,
            )  # fmt: skip
        self._logged_at = now
        self._is_ready = False
        for life in list(self.lives.values()):
            life.stop(RunParked("The store failed."))
        await self._leave()
        self._forget()
        self._counts, self._recovers = False, True
        await asyncio.sleep(self.options.retry_s)

    def fault(self, error: BaseException) -> None:
        """Take note that the store failed."""
        if self._fault is not None and not self._fault.done():
            self._is_ready = False
            self._fault.set_result(error)
            for life in list(self.lives.values()):
                life.stop(RunParked("The store failed."))

    async def stop(self) -> None:
        """Begin nothing, give steps time to end, and leave all bodies."""
        self._is_draining, self._is_ready = True, False
        for life in list(self.lives.values()):
            life.is_draining = True
            if not life.steps:
                self.drained(life)
        if tasks := [life.task for life in self.lives.values() if life.task is not None]:
            try:
                await asyncio.wait(tasks, timeout=self.options.stop_s)
            except asyncio.CancelledError:  # once more: no more time is given, but no body may outlive the lock
                pass
        for life in list(self.lives.values()):
            life.stop(RunParked("The worker stops."))
        await self._leave()
        self._forget()
        try:
            await ask(self.store, housekeeping.end_driving, self.registry, self._is_alone)
        except EngineError:  # what is not written is done again
            pass

    def drained(self, life: Life) -> None:
        """Leave a body whose steps have ended, when the worker stops."""
        life.stop(RunParked("The worker stops."))

    async def _leave(self) -> None:
        for _ in range(5):
            tasks = [life.task for life in self.lives.values() if life.task is not None]
            if not tasks:
                return
            await asyncio.wait(tasks, timeout=_LEAVE_S)
            for task in tasks:
                task.cancel()  # it waits for something that is not ours, or left what stopped it out of account
        if self.lives:
            logger.error(
                "otelier could not leave %d bodies, which catch what stops them; what they still do is not recorded.",
                len(self.lives),
            )

    def _forget(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
        self.timers.clear()
        for one in (self.lives, self.ends, self._turns, self._targets, self._known, self._beginnings):
            one.clear()
        self._unwritten.clear()

    def _keep(self) -> None:
        if self._is_ready:
            before = time.time_ns() - int(self.options.retention_s * 1e9)
            self.store.submit(self.loop, self._kept, housekeeping.delete_finished, before)

    def _kept(self, is_more: bool | None, error: BaseException | None) -> None:
        if error is None and self._is_ready:
            self._keeping = self.loop.call_later(0.1 if is_more else _KEEPING_S, self._keep)

    # --- what others did ---
    def noted(self, note: journal.Note) -> None:
        """Take note of a change that was committed, by whomever."""
        if not self._is_ready:
            return  # all of it is read when it gets ready
        what, run_id, data = note.what, note.run_id, note.data
        life = self.lives.get(run_id)
        if what == "start" and isinstance(data, journal.Row):
            if self._is_mine(data.target.service):
                self._add(run_id, data.target, data, False)
        elif what in {"start", "resume"}:
            self._found(data)
        elif what == "signal" and life is not None and life.stopped is None:
            for signal in data:
                life.add_signal(*signal)
        elif what == "cancel":
            self._cancel(run_id, life, data)
        elif what == "end":
            self._end_noted(run_id, data)

    def _found(self, row: journal.OpenRun | None) -> None:
        """Take a run that another process started, or somebody resumed."""
        if row is None or row.is_blocked or not self._is_mine(row.target.service):
            return
        if self._turns.has_place(row.id) and row.id not in self._known:  # it was blocked, and kept its place
            self._known.add(row.id)
            if self._turns.is_first(row.id):
                self._begin(row.id, None)
        else:
            self._add(row.id, row.target, None, False)

    def _cancel(self, run_id: str, life: Life | None, at_ns: int) -> None:
        if life is not None:
            life.row.cancelled = at_ns
            life.stop(RunCancelled(f"Run {run_id!r} was cancelled."))
        elif (target := self._targets.get(run_id)) is not None and self._is_mine(target.service):
            if run_id in self._beginnings:
                return  # its next life reads that in its row
            # It waits for its turn or for its worker: no body has to be told.
            self._end(run_id, "cancelled", answers.cancelled(run_id), [])

    def _end_noted(self, run_id: str, outcome: str) -> None:
        self.ends.ended(run_id, outcome)
        self._release(run_id)

    # --- runs without a life ---
    def _add(self, run_id: str, target: Target, row: journal.Row | None, is_blocked: bool) -> None:
        if run_id in self._known:
            return
        kind = self.registry.kinds.get((target.service, target.handler))
        if not is_blocked:
            self._known.add(run_id)
            self._targets[run_id] = target
        if kind is None:
            if not is_blocked:
                self.loop.call_later(self.options.unknown_s, self._give_up_unknown, run_id, target)
        elif kind == "write":
            if self._turns.take(run_id, target) and not is_blocked:
                self._begin(run_id, row)
        elif not is_blocked:
            self._begin(run_id, row)

    def _begin(self, run_id: str, row: journal.Row | None) -> None:
        if self._is_draining:
            return
        if row is not None and not row.cancelled:
            if row.lives == 0:
                row.lives = 1
                self.store.submit_later(journal.execute, [(journal.BEGUN, (row.n,))])
            self._live(journal.Loaded(row, [], []))
        else:
            self._beginnings.add(Beginning(run_id, self._counts, self._recovers))
            self._pump()

    def _pump(self) -> None:
        while (one := self._beginnings.next()) is not None:
            loaded = partial(self._loaded, one.run_id)
            args = (self.registry.version, one.counts, one.recovers, self.options.max_lives)
            self.store.submit(self.loop, loaded, changes.begin_life, one.run_id, *args)

    def _loaded(self, run_id: str, loaded: journal.Loaded | None, error: BaseException | None) -> None:
        if error is not None or not self._is_ready:
            return
        if loaded is None:  # it is blocked, or has ended
            self._known.discard(run_id)
            self._beginnings.done(run_id)
            self._pump()
        else:
            self._live(loaded)

    def _release(self, run_id: str) -> None:
        """Let the next write of a key begin, where the run that has ended was one."""
        self._known.discard(run_id)
        self._targets.pop(run_id, None)
        first = self._turns.leave(run_id)
        if first in self._known and first not in self.lives and not self._beginnings.is_replaying(first):
            self._begin(first, None)

    def _give_up_unknown(self, run_id: str, target: Target) -> None:
        if run_id in self._known and self._is_ready:
            self.store.submit(self.loop, None, housekeeping.fail_unknown, run_id, target, self.options.unknown_s)

    # --- lives ---
    def _live(self, loaded: journal.Loaded) -> None:
        row = loaded.row
        kind: Kind = self.registry.kinds[row.target.service, row.target.handler]
        self._targets.pop(row.id, None)
        life = self.lives[row.id] = Life(self, kind, loaded)
        payload, row.payload = json.loads(row.payload), ""
        life.task = self._context.run(self.loop.create_task, self._run(life, payload))
        life.task.add_done_callback(partial(self._left, life))

    async def _run(self, life: Life, payload: Json) -> Outcome:
        return await self.invoke(life, life.target, payload)

    def settled(self, life: Life) -> None:
        """Take note that a body waits for something that is not recorded: another one may replay."""
        if self._beginnings.done(life.id):
            self._pump()
        if life.row.lives > 1 and not life.steps:
            life.row.lives = 1
            self.store.submit_later(journal.execute, [(journal.AT_WAIT, (life.row.n,))])

    def write_soon(self, life: Life) -> None:
        """Write in a moment what has happened in a life, unless its next result does."""
        if not self._unwritten:
            self.loop.call_later(WRITE_SOON_S, self._write)
        self._unwritten.add(life)

    def _write(self) -> None:
        lives, self._unwritten = self._unwritten, set()
        if rows := [row for life in lives for row in life.unwritten_rows()]:
            self.store.submit_later(journal.execute, rows)

    def block(self, life: Life, error: BaseException, at_ns: int) -> None:
        """Leave a run until somebody resumes it."""
        self._known.discard(life.id)
        rows = life.unwritten_rows()
        self.store.submit(self.loop, None, changes.block_run, life.id, error_to_json(error), at_ns, rows)

    def _left(self, life: Life, task: asyncio.Task[Outcome]) -> None:
        """Take note that a body was left, by itself or by what stopped it."""
        if self.lives.get(life.id) is not life:
            return
        error = RunParked("Its task was cancelled.") if task.cancelled() else task.exception()
        if life.stopped is None:
            if error is None:
                self._finish(life, task.result())
            elif task.cancelled() or not isinstance(error, (RunStopped, Exception)):
                life.stop(RunParked(str(error)))  # by somebody else, or the process is being ended
            else:
                life.block(error)  # no body of ours is left in this way
        del self.lives[life.id]
        if isinstance(life.stopped, RunCancelled):
            self._end(life.id, "cancelled", answers.cancelled(life.id), life.unwritten_rows())
        elif isinstance(life.stopped, RunParked) and life.id in self._known and not life.has_ended:
            self.loop.call_later(_LEAVE_S, self._begin_again, life.id)
        if self._beginnings.done(life.id):
            self._pump()

    def _begin_again(self, run_id: str) -> None:
        # It may have been resumed meanwhile, or found after a fault of the store, and begins already.
        is_beginning = run_id in self._beginnings
        if self._is_ready and run_id in self._known and run_id not in self.lives and not is_beginning:
            self._begin(run_id, None)

    def _finish(self, life: Life, outcome: Outcome) -> None:
        if (op := life.unmade()) is not None:
            life.block(answers.ended_early(life.id, op.n, op.kind, op.name))
            return
        rows = life.unwritten_rows()
        is_completed = outcome[0] is True
        entity = (life.target, life.changes) if is_completed and life.changes else None
        try:
            if entity is not None:
                answers.dumps(entity[1])
            self._end(life.id, "completed" if is_completed else "failed", outcome, rows, entity)
        except (TypeError, ValueError) as exc:
            life.block(blocked.no_json(life.id, exc))
            return
        life.has_ended = True
        life.stop(RunParked("The run has ended."))

    def _end(
        self, run_id: str, state: str, outcome: Outcome, rows: list[journal.Statement],
        entity: tuple[Target, dict[str, Json]] | None = None,
    ) -> None:  # fmt: skip
        text = answers.dumps(outcome)
        done = self.ends.end_with(run_id, text, rows)
        self.store.submit(self.loop, done, changes.end_run, run_id, state, text, rows, entity)
