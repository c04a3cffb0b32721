"""The pump of a body: one set of what is awaited, taken in one order, that of the run's journal.

Restate hands out results in the order of the journal as far as the whole of what is awaited is asked for, always. So
everything a body has begun is in one set, one task asks for it, and only while the body waits: a replay takes the same
results between the same two calls of the body.

This module holds what is private in restate-sdk: its state machine, its input and its output.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from restate.exceptions import SdkInternalException, SuspendedException
from restate.server_context import DisconnectedException, ServerInvocationContext
from restate.vm import (
    DoProgressAnyCompleted,
    DoProgressCancelSignalReceived,
    DoProgressExecuteRun,
    Failure,
    FirstCompletedUnresolvedFuture,
    SingleUnresolvedFuture,
    Suspended,
)

from otelier.workflows.engines.restate._answers import Failed

Got: TypeAlias = Callable[[Any], None]
"""Takes a result: bytes, text or `None`, or a `Failed`."""
_WAKE: Final[Any] = {"type": "restate.run_completed", "data": None}


class Cancelled(Exception):  # noqa: N818 -- it tells what was asked for
    """The server wants the invocation cancelled."""


class Pump:
    """Waits for results of one invocation, and hands them on.

    Args:
        context: The SDK's context.
        left: Is called, and waited for, with what ends this life of the body.
    """

    def __init__(self, context: ServerInvocationContext, left: Callable[[BaseException], Awaitable[None]]) -> None:
        self._vm: Any = context.vm  # not all of it is typed
        self._context = context
        self._left = left
        self._watched: dict[int, Got] = {}
        self._closures: dict[int, Callable[[], None]] = {}
        self._due: list[int] = []
        self._early: list[int] = []
        """Results that were met on the way to one that was taken at once, in their order."""
        self._is_cancel_met = self._has_given = False
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._waking: set[asyncio.Task[None]] = set()
        self.is_over = False
        """Whether this life has ended, and nothing is handed on any more."""
        self.ignores_cancel = False
        """Whether the body has ended already: how it ended is recorded, and holds."""

    def watch(self, handle: int, got: Got) -> None:
        """Call *got* with a result."""
        self._watched[handle] = got
        self.wake()

    def drop(self, handle: int) -> Got | None:
        """Ask for a result no more."""
        return self._watched.pop(handle, None)

    def run(self, name: str, begin: Callable[[int], None], got: Got) -> int:
        """Let the invocation *begin* something, unless its result is in the journal; `give` records the result."""
        run = self._vm.sys_run(name)
        if not run.replayed:
            self._closures[run.handle] = lambda: begin(run.handle)
        self.watch(run.handle, got)
        return run.handle

    def forget(self, handle: int) -> None:
        """Ask no more for the result of a closure, and do not run it if it waits for that."""
        self.drop(handle)
        self._closures.pop(handle, None)

    def give(self, handle: int, value: bytes) -> None:
        """Record the result of a closure."""
        self._has_given = True
        self._vm.propose_run_completion_success(handle, value)

    # --- commands of the journal, and what gives the numbers of their results ---
    def is_replaying(self) -> bool:
        """Return whether the journal has commands that this life has not given yet."""
        return self._vm.is_replaying()

    def note(self, name: str) -> None:
        """Write a name into the journal."""
        self._vm.sys_run(name)

    def sleep(self, milliseconds: int, name: str = "") -> int:
        """Sleep; the journal has it by a name."""
        return self._vm.sys_sleep(milliseconds, name)

    def signal(self, name: str) -> int:
        """Ask for a signal; the journal has no command of it."""
        return self._vm.sys_signal(name)

    def ask(self, service: str, handler: str, key: str, given: bytes) -> int:
        """Call an object."""
        return self._vm.sys_call(service, handler, given, key).result_handle

    def attach(self, invocation: str) -> int:
        """Ask for the output of another invocation."""
        return self._vm.attach_invocation(invocation)

    def cancel(self, invocation: str) -> None:
        """Cancel another invocation."""
        self._vm.sys_cancel(invocation)

    def read_state(self, key: str) -> int:
        """Ask for a value of the object's state."""
        return self._vm.sys_get_state(key)

    def write_state(self, key: str, value: bytes | None) -> None:
        """Set a value of the object's state, `None` removes it."""
        if value is None:
            self._vm.sys_clear_state(key)
        else:
            self._vm.sys_set_state(key, value)

    # --- what is watched ---
    def close_input(self) -> None:
        """Suspend the invocation when it can go on with nothing that is here."""
        self._vm.notify_input_closed()
        self.wake()

    def wake(self) -> None:
        """Let a pump that waits look again.

        It is never cancelled: it may be sending, and what it has taken out of the state machine would be lost.
        """
        if self._task is not None and not self._task.done():
            task = asyncio.ensure_future(self.tell())
            self._waking.add(task)
            task.add_done_callback(self._waking.discard)

    async def tell(self) -> None:
        """Let a pump that waits look at what was given."""
        await self._context.receive.enqueue_restate_event(_WAKE)

    def take_known(self, handle: int) -> None:
        """Hand on the result of a closure at once, if the journal has it; what stands before it waits for its turn."""
        while handle in self._watched and handle not in self._closures:
            answer = self._ask([one for one in self._watched if one not in self._early])
            if isinstance(answer, DoProgressExecuteRun):
                self._due.append(answer.handle)
            elif isinstance(answer, DoProgressCancelSignalReceived):
                self._is_cancel_met = True
            elif not isinstance(answer, DoProgressAnyCompleted):
                return
            elif self._vm.is_completed(handle):
                self._early += [one for one in self._met() if one != handle]
                self._watched.pop(handle)(self._take(handle))
            elif found := self._met():
                self._early += found
            else:
                return

    def _met(self) -> list[int]:
        return [one for one in self._watched if one not in self._early and self._vm.is_completed(one)]

    async def turn(self) -> None:
        """Wait until the next result was handed on, or the life has ended."""
        task = self._task
        if task is None or task.done():
            task = self._task = asyncio.ensure_future(self._progress())
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        await waiting
        if not task.cancelled():
            task.result()

    async def _progress(self) -> None:
        try:
            await self._hand_on()
        finally:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if not one.done():  # whoever waits may have been cancelled
                    one.set_result(None)

    async def _hand_on(self) -> None:
        try:
            for handle in await self._completed():
                if (got := self._watched.pop(handle, None)) is not None:  # else one before it dropped it
                    got(self._take(handle))
        except (Exception, SuspendedException, SdkInternalException) as exc:
            await self._left(exc)

    def _take(self, handle: int) -> Any:
        found = self._vm.take_notification(handle)
        if isinstance(found, Exception):
            raise SdkInternalException from found
        if isinstance(found, Suspended):
            raise SuspendedException
        return Failed(found.code, found.message) if isinstance(found, Failure) else found

    async def _completed(self) -> list[int]:
        """Return what is there of what is watched; the set may grow meanwhile.

        Closures begin in the order of their ops, and only when nothing else is there: in a replay the body may give up
        one of them at a result that is recorded.
        """
        while not self.is_over:
            self._has_given = False
            await self._context.take_and_send_output()
            if self._early:
                early, self._early = self._early, []
                return early
            watched = list(self._watched)
            answer = DoProgressCancelSignalReceived() if self._is_cancel_met else self._ask(watched)
            if isinstance(answer, DoProgressExecuteRun):
                self._due.append(answer.handle)
            elif isinstance(answer, DoProgressAnyCompleted):
                return [handle for handle in watched if self._vm.is_completed(handle)]
            elif isinstance(answer, Suspended):
                raise SuspendedException
            elif isinstance(answer, DoProgressCancelSignalReceived):
                self._is_cancel_met = False
                if not self.ignores_cancel:
                    raise Cancelled
            elif isinstance(answer, BaseException):
                raise SdkInternalException from answer
            else:
                self._begin_due()
                if not self._has_given:  # else that is to be sent first
                    await self._receive()
        return []

    def _ask(self, handles: list[int]) -> Any:
        waits = [SingleUnresolvedFuture(handle) for handle in handles]
        return self._vm.do_progress(waits[0] if len(waits) == 1 else FirstCompletedUnresolvedFuture([*waits]))

    def _begin_due(self) -> None:
        due, self._due = sorted(self._due), []
        for closure in [closure for handle in due if (closure := self._closures.pop(handle, None)) is not None]:
            closure()

    async def _receive(self) -> None:
        event: Any = await self._context.receive()
        if event["type"] == "restate.run_completed":
            return
        if event["type"] == "http.disconnect":
            raise DisconnectedException
        if body := event.get("body"):
            self._vm.notify_input(body)
        if not event.get("more_body"):
            self._vm.notify_input_closed()
