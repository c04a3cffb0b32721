"""Steps, sleeps and signals on Restate: what each asks of the server, and how its value comes of the answers."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, Final

from otelier.codec import read_json
from otelier.errors import RunStopped
from otelier.workflows.engines.protocol import Json
from otelier.workflows.engines.restate._answers import to_bytes
from otelier.workflows.engines.restate._names import signal_name
from otelier.workflows.engines.restate._op import BEGUN, Owner, RestateOp

_MAX_MS: Final = 10**14
"""Three thousand years: what is longer never ends either."""


class Step(RestateOp):
    """An op whose value a coroutine computes. Its begin is recorded with its result: a step is one entry."""

    __slots__ = ("_begun_in", "_body", "_handle", "_is_here", "_task")
    kind: ClassVar[str] = "step"

    def __init__(self, run: Owner, number: int, name: str, body: Callable[[], Awaitable[Json]]) -> None:
        super().__init__(run, number, name)
        self._body: Callable[[], Awaitable[Json]] | None = body
        self._task: asyncio.Task[None] | None = None
        self._begun_in: contextvars.Context | None = None
        self._handle = -1
        self._is_here = False

    def go(self) -> None:
        """Let the server ask for its result."""
        self._begun_in = contextvars.copy_context()
        self._handle = self.run.pump.run(self.label(), self._begin, self._got)

    def take_known(self) -> None:
        """Be done, if the journal has its result."""
        self.run.pump.take_known(self._handle)

    def _begin(self, handle: int) -> None:
        assert self._begun_in is not None
        self.run.steps.add(self)
        self._task = self._begun_in.run(asyncio.get_running_loop().create_task, self._work(handle))
        self._task.add_done_callback(self._over)  # also where it is cancelled before it begins

    async def _work(self, handle: int) -> None:
        body, self._body, self._begun_in = self._body, None, None
        assert body is not None
        began = self.began_ns = time.time_ns()
        try:
            value = await body()
            if self.state == BEGUN and self.run.stopped is None:
                recovered = self.run.life_ns if self.is_found else 0
                self.run.pump.give(handle, to_bytes([began, time.time_ns(), recovered, value]))
        except (asyncio.CancelledError, RunStopped, Exception) as exc:
            if self.state == BEGUN:
                self.run.fault(exc)
        finally:
            await self.run.pump.tell()

    def _over(self, _: asyncio.Task[None]) -> None:
        self._task = None
        self.run.step_left(self)

    def _got(self, value: Any) -> None:
        self.began_ns, self.ended_ns, recovered, self.value = read_json(bytes(value).decode())
        if recovered:
            self.run.recovered(recovered)
        self._is_here = True
        self.settle()

    def is_complete(self) -> bool:
        """Return whether its result is there."""
        return self._is_here

    def leave(self) -> None:
        """Cancel its body, and ask no more for its result."""
        self.run.pump.forget(self._handle)
        self.end()

    def end(self) -> None:
        """Cancel its body."""
        if self._task is not None:
            self.run.ending.add(self._task)
            self._task.cancel()


class Sleep(RestateOp):
    """An op that is done at a time."""

    __slots__ = ("_is_over", "_seconds")
    kind: ClassVar[str] = "sleep"

    def __init__(self, run: Owner, number: int, seconds: float | Callable[[int], float]) -> None:
        super().__init__(run, number, "sleep")
        self._seconds = seconds
        self._is_over = False

    def go(self) -> None:
        """Record when it begins and ends, and sleep."""
        at = time.time_ns()
        length = milliseconds(self._seconds(at) if callable(self._seconds) else self._seconds)
        self.mark(at, at + length * 1_000_000)
        self.watch(self.run.pump.sleep(length, str(self.number)), self._elapsed)

    def _elapsed(self, _: Any) -> None:
        self._is_over = True
        self.settle()

    def is_complete(self) -> bool:
        """Return whether its time has come."""
        return self._is_over

    def finish(self) -> None:
        """Take note of when it ended: as follows from its begin."""
        self.ended_ns = self.due_ns


class Signal(RestateOp):
    """An op whose value is a signal's payload, or `None` after a time.

    Signals are numbered by name where they are sent, so that the n-th wait asks for the n-th one, and a wait that was
    given up does not swallow the next.
    """

    __slots__ = ("_limit", "_mail", "_sent", "_timed_out", "_timeout_s")
    kind: ClassVar[str] = "signal"

    def __init__(self, run: Owner, number: int, name: str, timeout_s: float | None, mail: Mail) -> None:
        super().__init__(run, number, name)
        self._timeout_s = timeout_s
        self._mail = mail
        self._limit = -1
        self._sent: Mapping[str, Json] | None = None
        self._timed_out = False

    def go(self) -> None:
        """Record when it begins, and wait for the next signal of its name."""
        at = time.time_ns()
        if self._timeout_s is None:
            self.mark(at)
        else:
            length = milliseconds(self._timeout_s)
            self.mark(at, at + length * 1_000_000)
            self._limit = self.run.pump.sleep(length, str(self.number))
            self.watch(self._limit, self._late)
        self._mail.wait(self)

    def took(self, signal: Mapping[str, Json]) -> None:
        """Take a signal."""
        self._sent, self.value = signal, signal["payload"]
        self.run.pump.drop(self._limit)
        self.settle()

    def _late(self, _: Any) -> None:
        self._timed_out = True
        self._mail.leave(self)
        self.settle()

    def is_complete(self) -> bool:
        """Return whether a signal or the time limit is there."""
        return self._sent is not None or self._timed_out

    def leave(self) -> None:
        """Wait no more; a signal that the body did not see is for the next wait."""
        super().leave()
        self._mail.leave(self)

    def give_up(self) -> None:
        """Wait no more, and give back what the body has not seen."""
        super().give_up()
        if self._sent is not None:
            self._mail.give_back(self._sent)
            self._sent = self.value = None

    def finish(self) -> None:
        """Take note of when it ended."""
        assert self.began_ns is not None
        if self._sent is None:
            self.ended_ns: int | None = self.due_ns
        else:
            self.ended_ns = max(self.began_ns, self._sent["at"])


class Mail:
    """Signals of one name that a run gets, in their order."""

    __slots__ = ("_asked", "_given_back", "_name", "_run", "_taken", "last", "waits")

    def __init__(self, run: Owner, name: str) -> None:
        self._run, self._name = run, name
        self._taken = 0
        self._asked = -1
        """What waits for the next one; it goes on when its wait was given up."""
        self._given_back: Mapping[str, Json] | None = None
        self.waits: Signal | None = None
        self.last: Signal | None = None
        """The wait that was made last."""

    def wait(self, op: Signal) -> None:
        """Give *op* the next one."""
        if self._given_back is not None:
            found, self._given_back = self._given_back, None
            op.took(found)
            return
        self.waits = op
        if self._asked < 0:
            self._asked = self._run.pump.signal(signal_name(self._name, self._taken))
        self._run.pump.watch(self._asked, self._got)

    def _got(self, value: Any) -> None:
        self._asked = -1
        self._taken += 1
        op, self.waits = self.waits, None
        assert op is not None
        op.took(read_json(bytes(value).decode()))

    def leave(self, op: Signal) -> None:
        """Let *op* wait no more; what it asked for is for the next wait."""
        if self.waits is op:
            self.waits = None
            self._run.pump.drop(self._asked)

    def give_back(self, signal: Mapping[str, Json]) -> None:
        """Keep a signal for the next wait."""
        self._given_back = signal


def milliseconds(seconds: float) -> int:
    """Return a time as Restate wants it."""
    return int(min(max(seconds, 0.0) * 1000, _MAX_MS))
