"""The engine that keeps runs in one SQLite file, or in memory, and drives them in one process.

One process drives a file, and the kernel's lock says which: there is no lease, no second driver and no network here,
and there will be none. Others are clients of the file, or stand by until the driver is gone. What needs several
machines is a server's work: `restate://HOST`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from otelier.errors import EngineError
from otelier.faults import on_fork, on_reset
from otelier.workflows.engines import answers
from otelier.workflows.engines.local import _changes as changes
from otelier.workflows.engines.local import _counts, _file, _housekeeping, _info
from otelier.workflows.engines.local import _journal as journal
from otelier.workflows.engines.local._driver import Driver
from otelier.workflows.engines.local._options import Options
from otelier.workflows.engines.local._store import Call, FileStore, Store, ask, deliver
from otelier.workflows.engines.protocol import APPROVALS, Invoke, Json, Outcome, Registry, Target
from otelier.workflows.engines.shown import RunInfo, Status

_MANY = 500
_NOTED: Mapping[str, Callable[[sqlite3.Connection, str], Any]] = {
    "signal": journal.signals_of,
    "cancel": journal.cancelled_ns,
}
"""What a note of another process has as its data; of others the run, if it is open."""
_ALONE_S = 0.5
"""After this time of waiting a client looks whether there is a driver."""
logger = logging.getLogger("otelier")
_engines: dict[str, LocalEngine] = {}
_engines_lock = threading.Lock()
_all: weakref.WeakSet[LocalEngine] = weakref.WeakSet()
_inherited_files: set[Path | None] = set()
_inherited: list[object] = []
"""What a forked child must not close: SQLite's handles belong to its parent."""


def open_engine(
    address: str, *, synchronous: Literal["FULL", "NORMAL"] = "FULL", options: Options | None = None
) -> LocalEngine:
    """Return this process's engine of an address: `memory:`, or `file:PATH`.

    Args:
        address: `memory:` is one per process, which all who ask share. A file is made where there is none.
        synchronous: `FULL` keeps what was committed also when the machine loses power; `NORMAL` may lose the last
            moments then, and nothing when the process is killed.
        options: Times and numbers, for who opens it first.

    Raises:
        EngineError: if the address is none of these, or its file cannot be used.
    """
    kind, _, path = address.partition(":")
    if kind not in {"memory", "file"} or (kind == "file") != bool(path):
        raise EngineError(
            f"Cannot open engine {address!r}: it is neither `memory:` nor `file:PATH`. Say where runs are kept, such "
            "as `file:.otelier/runs.db`."
        )
    name = str(_file.absolute(path)) if path else ""
    with _engines_lock:
        engine = _engines.get(name)
        if engine is None or engine.is_closed or engine.is_foreign:
            engine = _engines[name] = LocalEngine(path or None, synchronous=synchronous, options=options)
        return engine


class LocalEngine:
    """Keeps runs in one SQLite file, or in memory; see `open_engine`, which gives the one that a process shares."""

    def __init__(
        self,
        path: str | None = None,
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        options: Options | None = None,
    ) -> None:
        self.is_closed = False
        self.registered: Sequence[str] = ()
        if synchronous not in {"FULL", "NORMAL"}:
            raise EngineError(f"Cannot keep runs with synchronous={synchronous!r}: it is `FULL` or `NORMAL`.")
        self._options = options or Options()
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiters: dict[str, list[tuple[asyncio.AbstractEventLoop, asyncio.Future[Outcome]]]] = {}
        self._drivers: list[Driver] = []
        self._driver_lock: _file.DriverLock | None = None
        self._noticed = 0
        self.is_open = self._has_warned = False
        self.path: Path | None = None
        if path is None:
            self._store = Store(self)
        else:
            self.path = _file.absolute(path)
            _file.refuse_remote(self.path)
            self._store = FileStore(self, self.path, synchronous=synchronous, busy_s=self._options.busy_s)
        _all.add(self)

    @property
    def is_foreign(self) -> bool:
        """Whether it was opened by the process that this one was forked from."""
        return self._pid != os.getpid()

    async def _opened(self) -> Store:
        if self.is_foreign:
            raise EngineError(
                f"Cannot use the engine of {self._store.shown} in a process that was forked after it was opened: the "
                "file's lock and handles stay with the parent. Open it after the fork: start workers in the child."
            )
        if self.path in _inherited_files:
            raise EngineError(
                f"Cannot use {self.path} in a process that was forked while its parent had the file open: SQLite's "
                "locks do not outlive that. Open it in the parent after the fork only, or start this process with "
                "`spawn`."
            )
        if self.is_closed:
            raise EngineError(f"The engine of {self._store.shown} is closed. Open it again: `open_engine`.")
        if not self.is_open:
            await ask(self._store, _nothing)
            self.is_open = True
        return self._store

    # --- workers ---
    async def serve(self, registry: Registry, invoke: Invoke, ready: Callable[[], object] = lambda: None) -> None:
        """Run what *registry* has, on this event loop, until cancelled; stand by while another process does.

        Raises:
            EngineError: if this process serves it already, or the process that drives the file has other services.
        """
        store = await self._opened()
        if self.path is None:
            services = {service for service, _ in registry.kinds} - {APPROVALS}
            if shared := sorted(services & {one for driver in self._drivers for one in driver.services}):
                raise EngineError(
                    f"Cannot serve {', '.join(shared)} twice in memory: one worker drives the runs of a service. "
                    "Give all its modules to one worker."
                )
            await self._drive(Driver(store, registry, invoke, self._options, self._owner_of), ready, is_alone=False)
            return
        lock = _file.DriverLock.of(self.path)
        try:
            await self._stand_by(lock, registry, ready)
            self._driver_lock = lock
            await self._drive(Driver(store, registry, invoke, self._options, self._owner_of), ready, is_alone=True)
        finally:
            self._driver_lock = None
            lock.release()

    def is_driving(self) -> bool:
        """Return whether this process runs bodies."""
        return bool(self._drivers)

    async def _drive(self, driver: Driver, ready: Callable[[], object], *, is_alone: bool) -> None:
        self._drivers.append(driver)
        try:
            await driver.drive(ready, is_alone=is_alone)
        finally:
            try:
                await driver.stop()
            finally:
                driver.watchdog.stop()
                self._drivers.remove(driver)
                self._store.repair()
                if (heir := self._owner_of(APPROVALS)) is not None:
                    deliver([(heir.loop, heir.inherit, ())])

    async def _stand_by(self, lock: _file.DriverLock, registry: Registry, ready: Callable[[], object]) -> None:
        ours, others = {service for service, _ in registry.kinds} - {APPROVALS}, 0
        while not lock.try_lock():
            theirs: set[str] = self._store.read(_housekeeping.driven_services) - {APPROVALS}
            # A driver that has just begun writes its own in a moment.
            others = others + 1 if theirs and theirs != ours else 0
            if theirs == ours:
                ready()
            if others * self._options.standby_s > 1:
                raise EngineError(
                    f"Cannot stand by for {self.path}: the worker that drives it serves {', '.join(sorted(theirs))}, "
                    f"this one {', '.join(sorted(ours)) or 'nothing'}, and a file is driven by one process. Give the "
                    "modules of both to one worker, or give this one a file of its own: `file:PATH`."
                )
            await asyncio.sleep(self._options.standby_s)

    def _owner_of(self, service: str) -> Driver | None:
        """Return the driver of a service: the first that has it, since all have `APPROVALS`."""
        return next((driver for driver in self._drivers if service in driver.services), None)

    # --- clients ---
    async def start(
        self, target: Target, payload: Json, headers: Mapping[str, str], *, run_id: str
    ) -> Mapping[str, str] | None:
        """Store a run, and return the headers of one that exists already."""
        store, stored = await self._opened(), answers.dumps(dict(headers))
        found = await ask(store, changes.start_run, run_id, target, answers.dumps(payload), stored)
        return None if found is None else json.loads(found)

    async def result(self, run_id: str, timeout_s: float | None) -> Outcome:
        """Wait for a run's end."""
        store = await self._opened()
        loop = asyncio.get_running_loop()
        waiter = (loop, loop.create_future())
        with self._lock:
            self._waiters.setdefault(run_id, []).append(waiter)
        try:
            # Each end reaches it from now on, so it looks once at what was before.
            outcome: Outcome | None = store.read(journal.outcome_of, run_id)
            if outcome is not None:
                return outcome
            if isinstance(store, FileStore):
                store.look()
                if not self._drivers:
                    loop.call_later(_ALONE_S, self._warn_if_alone, waiter[1])
            return await asyncio.wait_for(waiter[1], timeout_s)
        except asyncio.TimeoutError:
            raise TimeoutError(f"Run {run_id!r} has not ended after {timeout_s:g} s; it goes on.") from None
        finally:
            with self._lock:
                waiters = self._waiters.get(run_id)
                if waiters and waiter in waiters:
                    waiters.remove(waiter)
                    if not waiters:
                        del self._waiters[run_id]

    async def signal(self, run_id: str, name: str, payload: Json) -> None:
        """Keep a signal for a run."""
        await ask(await self._opened(), changes.add_signal, run_id, name, answers.dumps(payload))

    async def cancel(self, run_id: str) -> None:
        """Cancel a run and the runs that it called."""
        await ask(await self._opened(), changes.cancel_run, run_id)

    async def resume(self, run_id: str) -> None:
        """Let a blocked run begin again."""
        await ask(await self._opened(), changes.resume_run, run_id)

    async def runs(
        self, *, status: Status | None = None, service: str | None = None, limit: int = 100
    ) -> list[RunInfo]:
        """Return the latest runs, without their steps."""
        return await self._read(_info.list_runs, status, service, limit)

    async def run(self, run_id: str) -> RunInfo:
        """Return one run with its steps and what it waits for."""
        return await self._read(_info.one_run, run_id)

    async def infos(self, run_ids: Sequence[str]) -> list[RunInfo]:
        """Return the runs of those ids that there are, with their steps."""
        return await self._read(_info.some_runs, run_ids)

    async def states(self, service: str) -> list[tuple[str, Json]]:
        """Return the key and the state of every entity of a service."""
        return await self._read(_info.list_states, service)

    async def _read(self, query: Callable[..., Any], *args: Any) -> Any:
        store = await self._opened()
        if self.path is None:
            return store.read(query, *args)
        assert isinstance(store, FileStore)
        return await asyncio.get_running_loop().run_in_executor(None, store.look_through, query, *args)

    # --- metrics ---
    def count_open(self) -> Mapping[tuple[str, str], int]:
        """Return how many open runs there are by service and health, in any thread."""
        return _counts.count_open(self._read_here, {one for driver in list(self._drivers) for one in driver.services})

    def count_asked(self) -> Mapping[tuple[str, str], tuple[int, int]]:
        """Return how many decisions are waited for by service and name, and when the first was asked, in any thread."""
        return _counts.count_asked(self._read_here)

    def _read_here(self, query: Callable[..., Any], *args: Any) -> Any:
        store = self._store
        return (store.look_through if isinstance(store, FileStore) else store.read)(query, *args)

    async def close(self) -> None:
        """Give back files and connections."""
        if self.path is None:
            self.close_now()
        else:
            await asyncio.get_running_loop().run_in_executor(None, self.close_now)

    def close_now(self) -> None:
        """Give back files and connections, and wait until that is done."""
        if not self.is_foreign and not self.is_closed:
            self.is_closed = True
            self._store.close()

    def _warn_if_alone(self, waiter: asyncio.Future[Outcome]) -> None:
        if self.path is None or self._drivers or self._has_warned or self.is_closed or waiter.done():
            return
        if not _file.has_driver(self.path):
            self._has_warned = True
            logger.warning(
                "No worker drives %s: what is asked for is kept, and waits until one is started: `otelier worker`.",
                self.path,
            )

    # --- calls of the store, see `Listener` ---
    def drives(self) -> bool:
        """Return whether this process drives the runs."""
        return bool(self._drivers) or self.path is None

    def version_of(self, service: str) -> int | None:
        """Return the version of the worker of a service in this process."""
        return next((driver.registry.version for driver in self._drivers if service in driver.services), None)

    def watches(self) -> bool:
        """Return whether anybody waits for what other processes do."""
        return bool(self._drivers or self._waiters)

    def look(self) -> None:
        """Look whether the loops of the drivers go on, and whether they may."""
        if self._driver_lock is not None and not self._driver_lock.holds():
            self._store.broken = error = _file.lost_lock(self._store.shown)  # nothing is written beside who has it
            self._driver_lock = None
            deliver(self.failed(error))
        for driver in list(self._drivers):
            driver.watchdog.look()

    def calls(self, note: journal.Note) -> Sequence[Call]:
        """Return what is to be called because of a note."""
        calls: list[Call] = [(driver.loop, driver.noted, (note,)) for driver in self._drivers]
        if note.what == "end" and self._waiters:
            calls.extend(self._ended(note.run_id, note.data))
        return calls

    def _ended(self, run_id: str, outcome: str) -> list[Call]:
        with self._lock:
            waiters = self._waiters.pop(run_id, [])
        return [(loop, _settle, (future, json.loads(outcome))) for loop, future in waiters]

    def changed(self, conn: sqlite3.Connection) -> Sequence[Call]:
        """Return what is to be called because another process changed the file."""
        calls: list[Call] = []
        if self._drivers:
            notices = conn.execute("SELECT n, what, run FROM notice WHERE n>? ORDER BY n", (self._noticed,)).fetchall()
            for _, what, run_id in notices:
                data = _NOTED.get(what, journal.open_run)(conn, run_id)
                calls.extend(
                    (driver.loop, driver.noted, (journal.Note(what, run_id, data),)) for driver in self._drivers
                )
            if notices:
                self._noticed = notices[-1][0]
                self._store.submit_later(_forget_notices, self._noticed)
        with self._lock:
            waited = list(self._waiters)
        for first in range(0, len(waited), _MANY):
            some = waited[first : first + _MANY]
            marks = ",".join("?" * len(some))
            for run_id, outcome in conn.execute(
                f"SELECT id, outcome FROM run WHERE ended IS NOT NULL AND id IN ({marks})",  # noqa: S608 -- our marks
                some,
            ).fetchall():
                calls.extend(self._ended(run_id, outcome))
        return calls

    def failed(self, error: BaseException) -> Sequence[Call]:
        """Return what is to be called because the store failed."""
        return [(driver.loop, driver.fault, (error,)) for driver in self._drivers]


def _nothing(_tx: journal.Transaction) -> None:
    """Open the connection, which is all that is asked for."""


def _forget_notices(tx: journal.Transaction, last: int) -> None:
    tx.conn.execute("DELETE FROM notice WHERE n<=?", (last,))


def _settle(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():
        future.set_result(outcome)


@on_fork
def _leave_to_the_parent() -> None:
    global _engines_lock
    _engines_lock = threading.Lock()
    engines = list(_all)
    _inherited.append(engines)
    _inherited_files.update(one.path for one in engines if one.path is not None and one.is_open)
    _file.forget_locks()


@on_reset
def _close_all() -> None:
    """Close every engine: what memory held is forgotten, and no thread of a file goes on."""
    for engine in list(_all):
        engine.close_now()
