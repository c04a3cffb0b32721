"""Kinds of ops: what each does when it begins, when it is given up, and when a replay finds it begun."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final

from otelier.errors import RunStopped, UnknownRunError
from otelier.workflows.engines import answers
from otelier.workflows.engines.local import _changes as changes
from otelier.workflows.engines.local import _journal as journal
from otelier.workflows.engines.local._blocked import failed_inside
from otelier.workflows.engines.local._op import BEGUN, DONE, ENDING, MADE, LocalOp, Owner
from otelier.workflows.engines.protocol import Json, Outcome, Target

_MAX_NS: Final = 2**62


class Step(LocalOp):
    """An op whose value a coroutine computes, in a task of its own."""

    __slots__ = ("body", "task")
    kind: ClassVar[str] = "step"

    def __init__(self, life: Owner, name: str, body: Callable[[], Awaitable[Json]]) -> None:
        super().__init__(life, name)
        self.body: Callable[[], Awaitable[Json]] | None = body if self.state == MADE else None
        self.task: asyncio.Task[None] | None = None

    def go(self) -> None:
        """Begin its body."""
        self.life.steps.add(self)
        self.task = self.life.loop.create_task(self._work())
        self.task.add_done_callback(self._ended)

    async def _work(self) -> None:
        body, self.body = self.body, None
        assert body is not None
        try:
            value = await body()
        except (asyncio.CancelledError, RunStopped) as exc:
            if self.state == BEGUN:
                self.life.lost(exc)
        except Exception as exc:
            if self.state == BEGUN:
                self.life.block(failed_inside(self.life.id, exc))
        except BaseException as exc:  # the process ends, or this is closed
            if self.state == BEGUN:
                self.life.lost(exc)
            raise
        else:
            if self.state == BEGUN:
                self.life.record(self, value)
        finally:
            self.task = None
            self.life.step_left(self)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self.task is not task:
            return
        # It was cancelled before its first turn, so nothing of `_work` ran.
        self.body = self.task = None
        if self.state == BEGUN:
            self.life.lost(asyncio.CancelledError())
        self.life.step_left(self)

    def leave(self) -> None:
        """Cancel its body."""
        if self.task is not None:
            self.task.cancel()


class Sleep(LocalOp):
    """An op that is done at a time."""

    __slots__ = ("seconds",)
    kind: ClassVar[str] = "sleep"

    def __init__(self, life: Owner, seconds: float | Callable[[int], float]) -> None:
        super().__init__(life, "sleep")
        self.seconds: float | Callable[[int], float] | None = seconds

    def first_begun(self, now_ns: int) -> None:
        """Take note of when it is begun, and so of when it is due."""
        super().first_begun(now_ns)
        if callable(self.seconds):
            self.due = _after(now_ns, self.seconds(now_ns))
        elif self.seconds is not None:
            self.due = _after(time.time_ns(), self.seconds)  # which may be earlier, where the clock was set back

    def go(self) -> None:
        """Ask to be called at that time."""
        self.life.driver.timers.add(self)

    def leave(self) -> None:
        """Forget the time."""
        self.life.driver.timers.drop(self)


class Signal(Sleep):
    """An op whose value is a signal's payload, or `None` after a time."""

    __slots__ = ("payload",)
    kind: ClassVar[str] = "signal"

    def __init__(self, life: Owner, name: str, timeout_s: float | None) -> None:
        LocalOp.__init__(self, life, name)
        self.seconds = timeout_s
        self.payload: str | None = None

    def go(self) -> None:
        """Take what waits already, else wait."""
        taken = self.life.take_signal(self.name)
        if taken is not None:
            self.took(*taken)
        elif self.due is not None:
            self.life.driver.timers.add(self)

    def leave(self) -> None:
        """Wait no more."""
        if self.due is not None:
            self.life.driver.timers.drop(self)

    def took(self, number: int, payload: str) -> None:
        """End with a signal, which is taken with it."""
        self.leave()
        self.ref, self.payload = str(number), payload
        self.life.record(self, json.loads(payload), (journal.TAKE_SIGNAL, (number,)))


class Result(LocalOp):
    """An op whose value is the outcome of another run."""

    __slots__ = ()
    kind: ClassVar[str] = "result"

    def __init__(self, life: Owner, run_id: str) -> None:
        super().__init__(life, run_id, ref=run_id)

    def go(self) -> None:
        """Look whether it has ended; its end is told from then on."""
        self.life.driver.store.submit(self.life.loop, self._looked, _outcome_of, self.ref)

    def _looked(self, outcome: Outcome | None, error: BaseException | None) -> None:
        if error is None and self.state == BEGUN and self.life.stopped is None:
            if outcome is None:
                self.life.driver.ends.add(self)
            else:
                self.life.record(self, outcome)

    def leave(self) -> None:
        """Wait for its end no more."""
        self.life.driver.ends.drop(self)


class Call(Result):
    """An op that starts a run, and whose value is its outcome."""

    __slots__ = ("is_stored", "sent", "stored_waiters")
    kind: ClassVar[str] = "call"

    def __init__(
        self, life: Owner, target: Target, payload: Json, headers: str, run_id: str | None, detached: bool
    ) -> None:
        LocalOp.__init__(self, life, f"{target.service}/{target.handler}")
        self.is_stored = self.found
        self.stored_waiters: list[asyncio.Future[None]] | None = None
        self.sent: tuple[Target, str, str, bool] | None = None
        if not self.found:
            self.ref = run_id or f"{life.id}.{self.number}"
            self.sent = (target, answers.dumps(payload), headers, detached)

    def go(self) -> None:
        """Store the run with the op; one that is found was stored with it."""
        if self.found:
            super().go()
            return
        assert self.sent is not None
        (target, payload, headers, detached), self.sent = self.sent, None
        rows = self.life.unwritten_rows()
        submit, loop = self.life.driver.store.submit, self.life.loop
        submit(
            loop, self._looked, changes.call_run, rows, self.ref, target, payload, headers, self.life.id, detached,
            self.began_ns,
        )  # fmt: skip

    def storing(self) -> asyncio.Future[None] | None:
        """Return what is done once the run is stored; `None` where it is."""
        if self.is_stored or self.state == DONE:
            return None
        future: asyncio.Future[None] = self.life.loop.create_future()
        waiters = self.stored_waiters = self.stored_waiters if self.stored_waiters is not None else []
        waiters.append(future)
        return future

    def _looked(self, outcome: Outcome | None, error: BaseException | None) -> None:
        if error is None:
            self.is_stored = True
            for one in self.stored_waiters or ():
                if not one.done():
                    one.set_result(None)
            self.stored_waiters = None
        super()._looked(outcome, error)


class Send(LocalOp):
    """An op that sends a signal; its value is the outcome."""

    __slots__ = ("payload",)
    kind: ClassVar[str] = "send"

    def __init__(self, life: Owner, run_id: str, name: str, payload: Json) -> None:
        super().__init__(life, name, ref=run_id)
        self.payload = answers.dumps(payload)

    def go(self) -> None:
        """Send it in the transaction that records how that went."""
        life = self.life
        self.state = ENDING
        before = life.unwritten_rows(besides=self)
        self.seq = life.next_seq()
        self.ended_ns: int | None = life.now_ns()
        life.driver.store.submit(
            life.loop, self.recorded, changes.send_signal, before, self.ref, self.name, self.payload, self.row
        )

    def recorded(self, result: Any, error: BaseException | None) -> None:
        """Take note of how it went."""
        self.value = result
        super().recorded(result, error)


def _after(now_ns: int, seconds: float) -> int:
    return int(min(now_ns + max(seconds, 0.0) * 1e9, _MAX_NS))


def _outcome_of(tx: journal.Transaction, run_id: str) -> Outcome | None:
    try:
        return journal.outcome_of(tx.conn, run_id)
    except UnknownRunError as exc:
        return answers.failure(exc)
