"""The `Run` of a body on Restate: its ops in their numbers, its state, and how this life of it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from restate.exceptions import RetryableError, SdkInternalBaseException, SdkInternalException, TerminalError
from restate.server_context import ServerInvocationContext

from otelier.codec import read_json
from otelier.errors import RunCancelled, RunParked, RunStopped
from otelier.workflows.engines.answers import all_given_up, cancelled, dumps, waits_twice
from otelier.workflows.engines.protocol import Json, Kind, Op, Outcome, Target
from otelier.workflows.engines.restate._answers import CANCELLED, FAILED, Failed, to_bytes
from otelier.workflows.engines.restate._asking import Call, Result, Send
from otelier.workflows.engines.restate._names import GIVEN_UP_LABEL, RUNS
from otelier.workflows.engines.restate._op import BEGUN, DONE, GIVEN_UP, MADE, RestateOp
from otelier.workflows.engines.restate._ops import Mail, Signal, Sleep, Step
from otelier.workflows.engines.restate._pump import Cancelled, Pump
from otelier.workflows.engines.restate._state import State

META: Final = "otelier"
"""Header of an invocation with what a run knows of itself."""
_LATE_NS: Final = 2_000_000_000
"""How far clocks of machines, and the server, may be behind: not a promise, but what follows is only told twice."""
PARKED: Final = "otelier: the worker stopped"
"""What the server keeps as the last failure of a run whose step was cut by an orderly stop."""


class RestateRun:
    """What a body is given in one life; see `Run`."""

    def __init__(
        self, context: ServerInvocationContext, target: Target, kind: Kind, version: int, unknown_s: float
    ) -> None:
        request = context.request()
        meta: Mapping[str, Any] = read_json(request.headers.get(META) or "{}")
        self.id: str = meta.get("id") or request.id
        self.target, self.kind, self.version = target, kind, version
        self.headers: Mapping[str, str] = meta.get("headers") or {}
        self.parent_id: str | None = meta.get("parent")
        self.began_ns: int = meta.get("began") or 0
        self.recovered_ns: Sequence[int] = []
        self.blocked_ns: Sequence[tuple[int, int | None]] = ()  # the server does not tell
        self.late_ns = _LATE_NS
        self.cancelled_ns: int | None = None
        """When this life heard of it: the server records no such time."""
        self.stopped: RunStopped | None = None
        self.cause: BaseException | None = None
        """What restate-sdk is told of why this life ended."""
        self.seen_ns = self.began_ns
        self.life_ns = time.time_ns()
        self.unknown_s = unknown_s
        self.steps: set[Step] = set()
        self.ending: set[asyncio.Task[None]] = set()
        self.pump = Pump(context, self._left)
        self._task = asyncio.current_task()
        self._made = 0
        self._seq = 0
        self._open: dict[int, RestateOp] = {}
        self._mail: dict[str, Mail] = {}
        self._state = State(kind, target)
        self._is_draining = self._is_parked = self._is_torn = False
        self._waits = 0
        self._stored: list[Callable[[], object]] = []

    async def prepare(self) -> None:
        """Record when it began, if who started it did not say."""
        if not self.began_ns:
            found: list[int] = []

            def now(handle: int) -> None:
                self.pump.give(handle, to_bytes(time.time_ns()))

            self.guarded(lambda: self.pump.run("begins", now, lambda value: found.append(int(value))))
            while not found:
                await self._turn()
            self.began_ns = self.seen_ns = found[0]

    # --- what a body calls ---
    def replaying(self) -> bool:
        """Return whether the journal has a later op than those that were started so far."""
        return self.pump.is_replaying()

    def made(self) -> int:
        """Return how many ops this life has made."""
        return self._made

    def step(self, name: str, body: Callable[[], Awaitable[Json]]) -> Op:
        """Make an op whose value *body* computes."""
        return Step(self, self._number(), name, body)

    def known(self, op: Op) -> bool:
        """Return whether the result of a step that was just made is in the journal: then the step is done, at once."""
        assert isinstance(op, Step)
        if self.replaying():
            op.start()
            self.guarded(op.take_known)
        return op.done()

    def sleep(self, seconds: float | Callable[[int], float]) -> Op:
        """Make an op that is done after *seconds*."""
        return Sleep(self, self._number(), seconds)

    def signal(self, name: str, timeout_s: float | None) -> Op:
        """Make an op whose value is the payload of the oldest signal of that name.

        Raises:
            WorkflowUseError: if the body still waits for one of that name: which of the two got the next is no matter
                of the code's order.
        """
        self.check()
        mail = self._mail.setdefault(name, Mail(self, name))
        if mail.last is not None and not mail.last.is_seen and mail.last.state != GIVEN_UP:
            raise waits_twice(name)
        op = mail.last = Signal(self, self._number(), name, timeout_s, mail)
        return op

    def call(
        self, target: Target, payload: Json, headers: Mapping[str, str], *, run_id: str | None = None,
        detached: bool = False,
    ) -> Op:  # fmt: skip
        """Make an op that starts a run of *target*."""
        return Call(self, self._number(), target, payload, headers, run_id, detached)

    async def stored(self, op: Op) -> None:
        """Wait until the run of a started `call` is stored."""
        assert isinstance(op, Call)
        self.check()
        while not op.is_stored:
            await self._turn()

    def result(self, run_id: str) -> Op:
        """Make an op whose value is the outcome of another run."""
        return Result(self, self._number(), run_id)

    def send(self, run_id: str, name: str, payload: Json) -> Op:
        """Make an op that sends a signal, once."""
        return Send(self, self._number(), run_id, name, payload)

    def cancel(self, op: Op) -> None:
        """Give up an op that was started."""
        self.check()
        assert isinstance(op, RestateOp)
        if op.state == MADE:
            op.state = GIVEN_UP
        elif op.state == BEGUN or (isinstance(op, Signal) and op.state == DONE and not op.is_seen):
            self.guarded(op.give_up)
            if op.is_given_up:
                # For who looks at the run: nothing else in the journal says that it is not waited for.
                self.guarded(lambda: self.pump.note(f"{op.number}{GIVEN_UP_LABEL}"))
                self._open.pop(op.number, None)

    async def next(self, ops: Sequence[Op]) -> Op:
        """Return the next of *ops* that is done, in the order in which results were recorded."""
        self.check()
        if self.ending:
            await self._ended()
        while True:
            best: RestateOp | None = None
            open_ops = 0
            for op in ops:
                assert isinstance(op, RestateOp)
                open_ops += op.state != GIVEN_UP
                if op.state == DONE and (best is None or op.seq < best.seq):
                    best = op
            if best is not None:
                best.is_seen = True
                self.seen_ns = max(self.seen_ns, best.ended_ns or 0)
                return best
            if not open_ops:
                raise all_given_up()
            for op in ops:
                op.start()
            await self._turn()

    def longest_ahead_ns(self, until_ns: int) -> int:
        """Return 0: what the journal has ahead is not told."""
        del until_ns
        return 0

    def when_stored(self, do: Callable[[], object]) -> None:
        """Call *do* once the begins of all ops are recorded."""
        self._stored.append(do)
        self.marked()

    def marked(self) -> None:
        """Take note that the begin of an op is recorded."""
        if self._stored and all(op.is_recorded or op.state != BEGUN for op in self._open.values()):
            stored, self._stored = self._stored, []
            for do in stored:
                asyncio.get_running_loop().call_soon(do)

    async def get(self, key: str) -> Json:
        """Return a value of the entity's state."""
        self.check()
        state = self._state
        if not state.has(key):
            self.guarded(lambda: self.pump.watch(self.pump.read_state(key), lambda value: state.take(key, value)))
            while not state.has(key):
                await self._turn()
        return state.value(key)

    def put(self, changes: Mapping[str, Json]) -> None:
        """Change the entity's state when this run succeeds."""
        self.check()
        self._state.put(changes)

    def _number(self) -> int:
        self.check()
        self._made += 1
        return self._made - 1

    # --- what its ops ask of it ---
    def check(self) -> None:
        """Raise what stopped this life."""
        if self.stopped is not None:
            raise type(self.stopped)(*self.stopped.args)

    def begin(self, op: RestateOp) -> None:
        """Begin an op that is not begun."""
        if self._is_draining:
            self._stop(RunParked("The worker stops."), RetryableError(PARKED))
            self.check()
        op.state, op.is_found, op.began_ns = BEGUN, self.pump.is_replaying(), self.seen_ns
        self._open[op.number] = op
        self.guarded(op.go)

    def guarded(self, ask: Callable[[], object]) -> None:
        """Ask something of the server; what it refuses, such as an op that the journal has not, ends this life."""
        try:
            ask()
        except Exception as exc:
            self._stop(RunParked(str(exc)), exc if isinstance(exc, RetryableError) else SdkInternalException())
            self.check()

    def ended(self, op: RestateOp) -> int:
        """Keep an op no more whose result is there, and return the place of that among those of this run."""
        self._open.pop(op.number, None)
        self._seq += 1
        return self._seq - 1

    def recovered(self, at_ns: int) -> None:
        """Take note of a life that began after a crash, as a step's result tells."""
        if at_ns not in self.recovered_ns:
            self.recovered_ns = [*self.recovered_ns, at_ns]

    def fault(self, error: BaseException) -> None:
        """Leave the body because of a fault of ours: a step's body gives failures as values. The server tries again."""
        text = f"{type(error).__name__} left the body of a step, which gives what it fails with as its value: {error}"
        self._stop(RunParked(text), RetryableError(f"{text}. This is a fault of otelier."))

    def step_left(self, step: Step) -> None:
        """Take note that the task of a step has ended."""
        self.steps.discard(step)
        if self._is_draining and not self.steps:
            self._drained()

    # --- its end ---
    def drain(self) -> None:
        """Begin nothing more, and leave the body when its steps have ended and their results are recorded."""
        self._is_draining = True
        if not self.steps:
            self._drained()

    def _drained(self) -> None:
        if self.stopped is None and not self.pump.ignores_cancel:
            if self._waits:
                self.pump.close_input()
            elif self._task is not None:
                self.park()

    def park(self) -> None:
        """Leave the body now: cancel its steps, and what else it waits for."""
        self._stop(RunParked("The worker stops."), RetryableError(PARKED))
        if not self._waits and self._task is not None and self._task is not asyncio.current_task():
            self._is_parked = True
            self._task.cancel()
        self.pump.wake()

    def _stop(self, error: RunStopped, cause: BaseException) -> None:
        if self.stopped is None:
            self.stopped, self.cause, self.pump.is_over = error, cause, True
            self.end_steps()

    def end_steps(self) -> None:
        """Cancel the steps that go on."""
        for step in list(self.steps):
            step.end()

    async def _left(self, error: BaseException) -> None:
        """Take note of what the pump met, and let steps end before the body hears of it."""
        if isinstance(error, Cancelled):
            self.cancelled_ns = time.time_ns()
            self._stop(RunCancelled(f"Run {self.id!r} was cancelled."), error)
        elif isinstance(error, SdkInternalBaseException):
            self._stop(RunParked("Restate leaves the body."), error)
        else:
            self._stop(RunParked(f"{type(error).__name__}: {error}"), error)
        await self._ended()

    async def _ended(self) -> None:
        while self.ending:
            await asyncio.wait(self.ending)
            self.ending = {task for task in self.ending if not task.done()}

    async def _turn(self) -> None:
        self._waits += 1
        try:
            await self.pump.turn()
            await self._ended()
        except asyncio.CancelledError:
            self._is_torn = self.stopped is not None and not self._is_parked
            self.check()
            raise
        finally:
            self._waits -= 1
        self.check()

    async def finish(self, outcome: Outcome | None) -> bytes:
        """End the run, or this life of it: return its output, or raise what restate-sdk wants to hear."""
        if self._is_torn:  # the listener ends its tasks: there is nobody to tell
            raise asyncio.CancelledError
        await self._ended()
        if isinstance(self.stopped, RunCancelled):
            return await self._finish_cancelled()
        if self.stopped is not None or outcome is None:
            raise self.cause or RetryableError("otelier: the body was left")
        try:
            at = await self._tell("completed" if outcome[0] else "failed", self.seen_ns)
            if not outcome[0]:
                raise TerminalError(dumps({**outcome[1], "at": at}), FAILED)
            for key, stored in self._state.changes():
                self.pump.write_state(key, stored)
        except RunStopped:
            assert self.cause is not None
            raise self.cause from None
        return to_bytes({"value": outcome[1], "at": at})

    async def _finish_cancelled(self) -> bytes:
        """Cancel what it called, and end."""
        self.stopped, self.pump.is_over = None, False
        self.pump.ignores_cancel = True
        try:
            calls = [op for op in self._open.values() if isinstance(op, Call) and op.state == BEGUN]
            for call in calls:
                if not call.is_detached:
                    self.guarded(call.give_up)
            for call in calls:
                while not call.is_stored:
                    await self._turn()
            at = await self._tell("cancelled")
        except RunStopped:
            assert self.cause is not None
            raise self.cause from None
        raise TerminalError(dumps({**cancelled(self.id)[1], "at": at}), CANCELLED)

    async def _tell(self, status: str, at: int | None = None) -> int:
        """Record that it has ended, so that it takes no signal from now on; return when that was.

        It is a recorded time *at* which it did, if there is one: to ask the clock costs an entry of the journal.
        """
        self.pump.ignores_cancel = True
        given, found = to_bytes({"status": status, "at": at}), list[int]()

        def told(value: Any) -> None:
            if isinstance(value, Failed):  # a cancel that comes now takes what is asked with it
                ask()
            else:
                found.append(read_json(bytes(value).decode())["at"])

        def ask() -> None:
            self.pump.watch(self.pump.ask(RUNS, "end", self.id, given), told)

        self.guarded(ask)
        while not found:
            await self._turn()
        return found[0]
