"""Bodies: one life of a run's handler, from its input to its outcome."""

from __future__ import annotations

import asyncio
import copy
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from otelier.codec import error_to_json
from otelier.errors import ReplayError, RunCancelled, RunStopped, WorkflowUseError
from otelier.faults import warn_once
from otelier.workflows._calls import Call, Plan
from otelier.workflows._handlers import Handler, read_error
from otelier.workflows._host import Host
from otelier.workflows._payloads import to_payload
from otelier.workflows._spans import RunSpans
from otelier.workflows.engines.answers import no_key
from otelier.workflows.engines.protocol import Json, Op, Outcome, Run

T = TypeVar("T")
END: Final = "otelier.end"
"""Name of the op that records when a body ended: its span can be exported twice, and is the same."""


@dataclass(frozen=True, slots=True)
class StepScope:
    """The step that is executed here."""

    body: Body
    step_id: str
    attempt: int


class OpenStream(Protocol):
    """A stream that a body reads."""

    what: str
    """How errors name it."""

    def leave(self) -> None:
        """Read no more of it."""
        ...


CURRENT_BODY: Final[ContextVar[Body | None]] = ContextVar("otelier-workflow-body", default=None)
CURRENT_STEP: Final[ContextVar[StepScope | None]] = ContextVar("otelier-workflow-step", default=None)


class Body:
    """One life of the body of a run."""

    def __init__(self, host: Host, run: Run, handler: Handler, payload: Json = None) -> None:
        self.host = host
        self.run = run
        self.handler = handler
        """The handler whose code runs now: that of the run, or one that it called directly."""
        self.spans = RunSpans(run, handler.kind, handler.name, payload)
        self.limits: dict[Op, Callable[[], TimeoutError]] = {}
        """Time limits of the attempts that go on, outermost first: what their sleeps raise when they are done."""
        self.attempt = 1
        self.changes: dict[str, Json] = {}
        """Changes of the entity's state that are not saved yet."""
        self._task: asyncio.Task[Any] | None = None
        self._names: Counter[str] = Counter()
        self._spawned: Counter[str] = Counter()
        self._calls: dict[Op, None] = {}
        """Detached calls: the run does not end before they are stored."""
        self._expected: dict[Call[Any], None] = {}
        self._turns: list[tuple[Op, asyncio.Future[None]]] = []
        self._turner: asyncio.Task[None] | None = None
        self.stream: OpenStream | None = None
        """The stream that is read here: until it has ended nothing else is done."""
        self.unsettled: list[Op] = []
        """Ops that were begun without waiting for them: their results are recorded before anything else is done."""
        self.is_left = False
        """Whether the engine leaves this life, and another one will report what it would."""

    async def outcome(self, payload: Json) -> Outcome:
        """Run the handler with its input, and return how it ended."""
        self._task = asyncio.current_task()
        CURRENT_BODY.set(self)
        ctx = self.host.new_context(self)
        failure: BaseException | None = None
        with self.spans:
            try:
                self._check_key()
                first = [self.handler.arguments_of(copy.deepcopy(payload))]  # what does not fit is not tried again

                def given() -> tuple[tuple[Any, ...], dict[str, Any]]:
                    return first.pop() if first else self.handler.arguments_of(copy.deepcopy(payload))

                outcome: Outcome = [True, await self.attempts(ctx, self.handler, given, self._stored_result)]
                if self.changes:
                    self.run.put(self.changes)
            except BaseException as exc:
                if self._is_left_by(exc):
                    raise
                failure = exc
                outcome = [False, error_to_json(exc)]
            self.leave_stream()
            await self.settle()
            for op in self._calls:
                await self.run.stored(op)
            if failure is None:  # what raised may be why the others were not waited for
                self._warn_of_forgotten()
            end = self.run.step(END, _nothing)
            await self.run.next((end,))
            # Made again of what is stored, as in any other life: without its cause, which the first one alone has.
            self.spans.close(end.ended_ns, outcome, None if failure is None else self.error_of(outcome[1]))
        return outcome

    def _check_key(self) -> None:
        """Refuse a method of an entity that was started by its name, as a workflow is: it has no state to work on."""
        if self.handler.kind in ("write", "read") and self.run.target.key is None:
            raise no_key(self.handler.name)

    def _is_left_by(self, error: BaseException) -> bool:
        """Return whether the engine, or the end of the process, ends this life; other errors end the run."""
        if isinstance(error, Exception):
            return False
        if self.run.stopped is not None or isinstance(error, (KeyboardInterrupt, SystemExit)):
            return True
        if isinstance(error, GeneratorExit):
            return not is_run_by(self._task)
        # Python 3.10 does not tell whether the task was cancelled, or something that it waited for.
        return isinstance(error, asyncio.CancelledError) and getattr(self._task, "cancelling", lambda: 1)() > 0

    async def attempts(
        self,
        ctx: Any,
        handler: Handler,
        given: Callable[[], tuple[tuple[Any, ...], Mapping[str, Any]]],
        result: Callable[[Handler, Any], Any],
    ) -> Any:
        """Call *handler* with what is *given* until it succeeds, as often as it may; return *result* of its value."""
        outer, outer_handler, before, used = self.attempt, self.handler, self._names.copy(), self._names
        self.handler = handler
        try:
            for attempt in range(1, handler.retries + 2):
                self.attempt, self._names = attempt, before.copy()
                try:
                    with self._limited(handler):
                        args, kwargs = given()
                        return await result(handler, handler.call(ctx, args, kwargs))
                except Exception as exc:
                    self.leave_stream()
                    if attempt > handler.retries or isinstance(exc, (WorkflowUseError, ReplayError)):
                        raise
                finally:
                    used = used | self._names
                pause = self.run.sleep(handler.backoff * 2 ** (attempt - 1))
                await self.drive(_waited_for(pause))
            raise AssertionError("unreachable")
        finally:
            # What follows counts on: a key that an attempt gave to anybody is that of no other step.
            self.attempt, self.handler, self._names = outer, outer_handler, used

    @contextmanager
    def _limited(self, handler: Handler) -> Generator[None]:
        if handler.timeout_s is None:
            yield
            return
        limit = self.run.sleep(handler.timeout_s)
        limit.start()

        def late() -> TimeoutError:
            return TimeoutError(f"{handler.kind} {handler.name} took longer than {handler.timeout_s:g} s")

        self.limits[limit] = late
        try:
            yield
        finally:
            del self.limits[limit]
            if self.run.stopped is None:
                self.run.cancel(limit)

    async def _stored_result(self, handler: Handler, coroutine: Any) -> Json:
        if not handler.yields:
            return handler.result_of(await coroutine)
        items: list[Json] = []
        async for item in coroutine:
            plain = to_payload(item, what=f"what {handler.name} yields")
            items.append(plain)
            for queue in self.host.streams.get(self.run.id, ()):
                queue.put_nowait((len(items) - 1, plain))
        return items

    async def drive(self, plan: Plan[T]) -> T:
        """Follow *plan* to its end, within the time limits of the attempt, and return its value.

        Raises:
            TimeoutError: if a time limit of the attempt is reached first.
            ReplayError: if somebody else than the engine cancels the wait.
        """
        try:
            await self.settle()
            ops = next(plan)
            while True:
                limits = self.limits
                self.spans.waiting(ops)
                if limits and _were_cut(ops, limits):
                    raise self._cut()
                try:
                    done = await self.next((*limits, *ops) if limits else ops)
                    if not self.is_here():
                        await self._turn(done)
                except asyncio.CancelledError:
                    self.give_up(ops)
                    raise self._cut() from None
                except WorkflowUseError:  # they were given up in an earlier life, as above
                    raise self._cut() from None
                self.spans.advanced(done)
                if limits and done in limits:
                    self.give_up(ops)
                    late = limits[done]
                    raise late()
                ops = plan.send(done)
        except StopIteration as stop:
            return stop.value
        finally:
            plan.close()

    def _cut(self) -> ReplayError:
        return ReplayError(
            f"A wait in the body of {self.handler.name} was cancelled from outside, as `asyncio.timeout`, `wait_for` "
            f"or a task group do: a replay would decide otherwise. Use `timeout_s=` of the call or of the handler, "
            f"which is recorded."
        )

    def check(self, what: str) -> None:
        """Raise for a call that a replay would not repeat: inside a step, or in another task than the body's.

        Raises:
            WorkflowUseError: if it is one.
        """
        if CURRENT_STEP.get() is not None:
            raise WorkflowUseError(
                f"{what} stands inside a step: a step is done once, as a whole. Call it in the body, beside the step."
            )
        if not self.is_here():
            raise WorkflowUseError(
                f"{what} stands in another task than the body of {self.handler.name}: in a replay its turn would come "
                f"at another time. Use `ctx.parallel` for several calls at once, `ctx.spawn` for work of its own."
            )
        if self.stream is not None:
            raise self.busy(what)

    def busy(self, what: str) -> WorkflowUseError:
        """Return the error for a call that is made while a stream is read."""
        assert self.stream is not None
        return WorkflowUseError(
            f"{what} stands in the loop over {self.stream.what}: what is done between two chunks would have no "
            f"place in a replay. Do it after the loop, or leave the stream by `await stream.aclose()`."
        )

    async def settle(self) -> None:
        """Wait until all is recorded that the body has seen already.

        Raises:
            WorkflowUseError: if a stream is read here.
        """
        if self.stream is not None:
            raise self.busy("A wait")
        while self.unsettled:
            op = self.unsettled.pop(0)
            await self.next((op,))

    async def next(self, ops: Sequence[Op]) -> Op:
        """Wait for the next of *ops*, as `Run.next` does, and take notice where the engine leaves this life."""
        try:
            return await self.run.next(ops)
        except RunStopped as exc:
            self.is_left = not isinstance(exc, RunCancelled)
            raise

    def leave_stream(self) -> None:
        """Break off the stream that is read here, if there is one."""
        if self.stream is not None:
            self.stream.leave()

    def is_silent(self) -> bool:
        """Return whether what is reported here was reported by an earlier life, or will be by a later one."""
        return CURRENT_STEP.get() is None and (self.is_left or self.run.replaying())

    def is_here(self) -> bool:
        """Return whether this code is the body's own: not a step, and not another task."""
        try:
            return CURRENT_STEP.get() is None and asyncio.current_task() is self._task
        except RuntimeError:  # a thread without a loop
            return False

    async def _turn(self, done: Op) -> None:
        """Wait until tasks beside the body's have seen what was recorded before *done*.

        In a replay `asyncio.gather` asks for results in the order of its arguments, and they are all there.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append((done, future))
        if self._turner is None:
            self._turner = asyncio.ensure_future(self._take_turns())
        await future

    async def _take_turns(self) -> None:
        try:
            while self._turns:
                await asyncio.sleep(0)  # for those that ask at the same time, and for who saw the one before
                first = await self.next([op for op, _ in self._turns])
                turn = next(turn for turn in self._turns if turn[0] is first)
                self._turns.remove(turn)
                if not turn[1].done():
                    turn[1].set_result(None)
        except RunStopped as exc:
            for _, future in self._turns:
                if not future.done():
                    future.set_exception(exc)
        finally:
            self._turner = None

    def numbered(self, name: str) -> str:
        """Return *name*, the second of its name in this attempt as `{name}#2`."""
        self._names[name] += 1
        number = self._names[name]
        return name if number == 1 else f"{name}#{number}"

    def child_id(self, key: str | None, handler: str) -> str:
        """Return the workflow id of a child: by its key, else by its number among those of its handler."""
        if key is not None:
            return f"{self.run.id}.{key}"
        self._spawned[handler] += 1
        return f"{self.run.id}.{handler}#{self._spawned[handler]}"

    def keep(self, call: Op) -> None:
        """Let the run not end before the child of a detached *call* is stored."""
        self._calls[call] = None

    def give_up(self, ops: Iterable[Op]) -> None:
        """Give up all of *ops* that were begun: what they wait for ends, but for children that were spawned."""
        for op in ops:
            if op.began_ns is not None and not op.done() and op not in self._calls:
                self.run.cancel(op)

    def value_of(self, op: Op) -> Json:
        """Return the result in the outcome that is the value of *op*, or raise the error in it."""
        succeeded, value = op.value
        if succeeded:
            return value
        raise self.error_of(value)

    def error_of(self, stored: Mapping[str, Json]) -> Exception:
        """Return the error that *stored* was, made again of its own class where that is known."""
        return read_error(stored, (self.handler, *self.host.handlers.values()))

    def expect(self, call: Call[Any]) -> None:
        """Expect that *call* will be waited for."""
        self._expected[call] = None

    def waited(self, call: Call[Any]) -> None:
        """Take notice that *call* is waited for."""
        self._expected.pop(call, None)

    def _warn_of_forgotten(self) -> None:
        for call in self._expected:
            warn_once(
                f"workflows.forgotten.{self.handler.name}",
                "%s in %s was never waited for, and nothing of it was done. Write `await` before it.",
                call.what,
                self.handler.name,
            )


async def _nothing() -> Json:
    return None


def _were_cut(ops: Sequence[Op], limits: Iterable[Op]) -> bool:
    """Return whether an earlier life gave all of *ops* up, and did so before a time limit that was reached later."""
    reached = min((limit.ended_ns or 0 for limit in limits if limit.done()), default=None)
    return all(op.is_given_up and (reached is None or (op.ended_ns or 0) < reached) for op in ops)


def _waited_for(op: Op) -> Plan[None]:
    """Return the plan that waits for *op* alone."""
    yield (op,)


def is_run_by(task: asyncio.Task[Any] | None) -> bool:
    """Return whether a task runs right now; its coroutine is closed, where it never ends, by somebody else."""
    try:
        return task is not None and asyncio.current_task() is task
    except RuntimeError:  # no loop runs any more
        return False
