"""The protocol between workflows and the engines that keep them: a `Run` for each body, an `Engine` for each process.

An engine stores runs and what their bodies do, and begins a body again after a crash. It knows nothing of handlers,
spans, retries or types: it calls `invoke` with a `Run`, and stores JSON. All the rest is written once, over this.

A body is a coroutine in one task. What it does that must not happen twice is an *op*: it has its number when the body
makes it, and the body makes the same ops in the same order each time it runs. The result of an op that was recorded is
never computed again.

See: `otelier.workflows.engines.local`, which keeps them in one SQLite file, and `otelier.workflows.engines.restate`,
which keeps them on a Restate server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Literal, Protocol, TypeAlias

from otelier.errors import RunStopped
from otelier.workflows.engines.shown import RunInfo, Status

Json: TypeAlias = Any
"""Plain data as JSON has it: dicts with text for keys, lists, texts, finite numbers, flags, `None`."""
Outcome: TypeAlias = "list[Json]"
"""`[True, result]` or `[False, error]`, the error as `otelier.codec.error_to_json` writes it."""
Kind: TypeAlias = Literal["workflow", "function", "write", "read"]
"""What a handler is; the last two are methods of an entity, and have a key."""
APPROVALS: Final = "otelier.approvals"
"""Service of an entity of ours, keyed by run, that every worker has: with each other it shares this one."""
APPROVALS_TYPE: Final = "Approvals"
"""Type of that entity."""
APPROVAL: Final = "otelier.approval/"
"""Start of the name of the signal that brings a decision: `{APPROVAL}{number}/{name}`. Who waits for it waits for a
person, and so does the run's `health`."""


def approval_in(signal: str) -> tuple[int, str] | None:
    """Return number and name of the approval whose decision a signal of that name brings; `None` for any other one."""
    if not signal.startswith(APPROVAL):
        return None
    number, name = signal.removeprefix(APPROVAL).split("/", 1)
    return int(number), name


@dataclass(frozen=True, slots=True)
class Target:
    """A handler, and for an entity's method the key of the entity."""

    service: str
    handler: str
    """Name of a workflow or a function; `Type.method` for an entity."""
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Registry:
    """What a worker can run."""

    kinds: Mapping[tuple[str, str], Kind]
    """Kind of each handler, by service and name."""
    version: int = 1
    """Version of the code: new runs get it."""
    timeouts_s: Mapping[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    """How long an attempt of a handler takes at most, where it says so; an engine may not give up on it before."""


class Op(Protocol):
    """Something a body does once, whatever happens: a step, a wait, a call."""

    number: int
    """From 0, in the order in which the body makes them."""
    kind: ClassVar[str]
    """`step`, `sleep`, `signal`, `call`, `result` or `send`: all but steps are waits."""
    name: str
    is_found: bool
    """Whether it was in the journal when it was started: an earlier life of this body had begun it. False before."""
    began_ns: int | None
    """When it was first begun, as recorded, in nanoseconds since the epoch; `None` before. Of a step, where the engine
    keeps only results, when the execution began that gave the result."""
    ended_ns: int | None
    """When its result was recorded, or as follows from what is recorded, such as a sleep's end; `None` before."""
    executions: int
    """How often its step's body was begun, this time too; 1 where the engine cannot tell."""
    value: Json
    """Its result; `None` before it is done."""

    @property
    def due_ns(self) -> int | None:
        """When it is over at the latest, as follows from what is recorded; `None` where the engine tells in time."""
        ...

    @property
    def is_given_up(self) -> bool:
        """Whether it was given up, in this life or an earlier one: it is never done."""
        ...

    def start(self) -> None:
        """Write it into the journal, unless that was done, and begin it at the latest at the next wait."""
        ...

    def done(self) -> bool:
        """Return whether its result is recorded. A body must not decide by it: it differs between its lives."""
        ...

    def __await__(self) -> Generator[Any, Any, Json]:
        """Wait for it, by `Run.next`, and return its value."""
        ...


class Run(Protocol):
    """One run, as its body sees it, in one of its lives.

    Methods that make ops may be called in the task of the body only, and in the same order in each life. All raise
    `RunStopped` once the engine has stopped this life.
    """

    id: str
    """The workflow id."""
    target: Target
    headers: Mapping[str, str]
    """What was given when it was started, with keys in lower case."""
    parent_id: str | None
    """The run whose `call` started it; `None` for one that was started from outside."""
    version: int
    """Version of the worker that started it."""
    began_ns: int
    """When it was started, as recorded."""
    recovered_ns: Sequence[int]
    """When a life of this body began after a crash that the engine noticed, as recorded, oldest first."""
    blocked_ns: Sequence[tuple[int, int | None]]
    """When the run was blocked and resumed, as recorded, oldest first; the last was not where that ends this life."""
    late_ns: int
    """How much later than recorded this body may be told of a result: what is recorded comes from other machines."""
    stopped: RunStopped | None
    """What ends this life from outside, from then on; `None` while it goes on."""

    @property
    def cancelled_ns(self) -> int | None:
        """When the run was cancelled, as recorded; `None` for one that was not."""
        ...

    def replaying(self) -> bool:
        """Return whether an earlier life has been here.

        So it has where the journal has an op that was not started or waited for yet. Of several that are waited for at
        once, those count that had begun when the one was recorded that is done.
        """
        ...

    def longest_ahead_ns(self, until_ns: int) -> int:
        """Return how long the longest of those ops took that were not started or waited for yet, or has taken until
        then; 0 where there is none.
        """
        ...

    def made(self) -> int:
        """Return how many ops this life has made."""
        ...

    def step(self, name: str, body: Callable[[], Awaitable[Json]]) -> Op:
        """Make an op whose value *body* computes; at least once, and again only if no result of it was recorded.

        *body* runs in a task of its own, with the context of whoever starts the op. It returns a value also where it
        fails: an exception that leaves it is a fault of ours and parks the run.
        """
        ...

    def known(self, op: Op) -> bool:
        """Return whether the result of an op that was just made is in the journal: then the op is done, at once.

        What a body reads without waiting is recorded this way, and taken from the record in a replay.
        """
        ...

    def sleep(self, seconds: float | Callable[[int], float]) -> Op:
        """Make an op that is done *seconds* after it was first begun. Its value is `None`.

        A callable is given the time of that begin, in nanoseconds since the epoch, and returns the seconds.
        """
        ...

    def signal(self, name: str, timeout_s: float | None) -> Op:
        """Make an op whose value is the payload of the oldest signal of that name, or `None` after *timeout_s*."""
        ...

    def call(
        self,
        target: Target,
        payload: Json,
        headers: Mapping[str, str],
        *,
        run_id: str | None = None,
        detached: bool = False,
    ) -> Op:
        """Make an op that starts a run of *target*, and whose value is that run's `Outcome`.

        `start` stores the child; *run_id* is `{id}.{number}` where none is given. A run of that id that exists already
        is taken if its target and payload are equal; else the value is a failure. Headers and payload are the same in
        each life. A *detached* one is not cancelled
        with this run.
        """
        ...

    def stored(self, op: Op) -> Awaitable[None]:
        """Wait until the child of a started `call` is stored."""
        ...

    def result(self, run_id: str) -> Op:
        """Make an op whose value is the `Outcome` of another run."""
        ...

    def send(self, run_id: str, name: str, payload: Json) -> Op:
        """Make an op that sends a signal, once. Its value is an `Outcome`: a failure for an unknown or ended run."""
        ...

    def cancel(self, op: Op) -> None:
        """Give up an op that was started, at the latest in the next `next`: its task or wait ends, the run it called is
        cancelled.

        What a cancelled step or wait would still have given is not recorded; the op is waited for no more. A cancelled
        `call` is done when its run has ended. No effect on what is done.
        """
        ...

    async def next(self, ops: Sequence[Op]) -> Op:
        """Return the next of *ops* that is done, in the order in which results were recorded, in a replay too.

        If none of them is, begins those that are not begun, in their order, and waits.
        """
        ...

    def when_stored(self, do: Callable[[], object]) -> None:
        """Call *do* on the loop of the body once all that happened in this life so far is stored, also that it ended.

        Never where that fails.
        """
        ...

    async def get(self, key: str) -> Json:
        """Return a value of the entity's state, `None` where there is none.

        A body asks in its own task, and in the same order in each life.
        """
        ...

    def put(self, changes: Mapping[str, Json]) -> None:
        """Change the entity's state when this run succeeds, or never; `None` removes a key."""
        ...


Invoke: TypeAlias = "Callable[[Run, Target, Json], Awaitable[Outcome]]"
"""Runs the body of a handler once more, from its beginning, and returns how it ended; may raise `RunStopped` only."""


class Engine(Protocol):
    """Keeps runs. One object per process and address; its methods may be called on any event loop."""

    @property
    def registered(self) -> Sequence[str]:
        """URLs by which a server reaches the workers of this process; none where nobody has to."""
        ...

    async def serve(self, registry: Registry, invoke: Invoke, ready: Callable[[], object] = ...) -> None:
        """Run what *registry* has, on this event loop, until cancelled; returns after the bodies were left.

        Calls *ready* once it runs bodies, or stands by for another process that does.
        When cancelled it begins no body, gives steps that run 20 s to end, records what they give, and parks the rest.
        """
        ...

    def is_driving(self) -> bool:
        """Return whether this process runs bodies: not while it stands by for another one, or only asks."""
        ...

    async def start(
        self, target: Target, payload: Json, headers: Mapping[str, str], *, run_id: str
    ) -> Mapping[str, str] | None:
        """Store a run. One that exists is taken if its target and payload are equal.

        Returns:
            Headers of the one that exists; `None` where it was stored now.

        Raises:
            RunExistsError: if a run of that id has another target or payload.
        """
        ...

    async def result(self, run_id: str, timeout_s: float | None) -> Outcome:
        """Wait for a run's end.

        Raises:
            UnknownRunError: if there is no such run.
            TimeoutError: if it has not ended after *timeout_s*.
        """
        ...

    async def signal(self, run_id: str, name: str, payload: Json) -> None:
        """Keep a signal for a run.

        Raises:
            UnknownRunError: if there is no such run.
            RunEndedError: if it has ended.
        """
        ...

    async def cancel(self, run_id: str) -> None:
        """Cancel a run and the runs that it called; nothing happens to one that has ended. Returns at once."""
        ...

    async def resume(self, run_id: str) -> None:
        """Let a blocked run begin again.

        Raises:
            RunEndedError: if it has ended.
        """
        ...

    async def runs(self, *, status: Status | None, service: str | None, limit: int) -> list[RunInfo]:
        """Return open runs by their health, then ended ones, of each the latest first; without their steps.

        Those of the service `APPROVALS` are among them only where it is asked for.
        """
        ...

    async def run(self, run_id: str) -> RunInfo:
        """Return one run with its steps and what it waits for."""
        ...

    async def infos(self, run_ids: Sequence[str]) -> list[RunInfo]:
        """Return the runs of those ids that there are, with their steps; what these gave may be left out."""
        ...

    async def states(self, service: str) -> list[tuple[str, Json]]:
        """Return the key and the state of every entity of a service."""
        ...

    async def close(self) -> None:
        """Give back files and connections."""
        ...
