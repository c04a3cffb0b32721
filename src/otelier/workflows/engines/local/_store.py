"""The one connection that writes: in memory by whoever asks, of a file by one thread that commits in groups.

What is asked for is a *job*, a function that is given the open transaction. Jobs run in the order in which they were
asked for, and many share one transaction: a commit to a disk costs more than all they do. After it, each loop that
waits is woken once for all of them.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeAlias

from otelier.errors import EngineError, WorkflowError
from otelier.workflows.engines.local._journal import Note, Transaction, prepare
from otelier.workflows.engines.local._reader import Reader, unusable
from otelier.workflows.engines.local._same_file import SameFile, refuse_two_names

POLL_S = 0.02
"""How often other processes' changes are looked for, and how long a row may wait that nobody waits for."""
POLL_BUSY_S = 0.005
"""The same while there is much to commit: what another process asked for waits in this process's queues, too."""
CHECK_S = 0.2
"""How often the lock is looked at while there is nothing to write."""
REST_S = 0.0005
"""Rest after a commit when more waits already: other processes get the file, and the next group is larger."""
BUSY_STEP_S = 0.001
Done: TypeAlias = "Callable[[Any, BaseException | None], object]"
Job: TypeAlias = "Callable[..., Any]"
Item: TypeAlias = "tuple[asyncio.AbstractEventLoop | None, Done | None, Job, tuple[Any, ...]]"
Call: TypeAlias = "tuple[asyncio.AbstractEventLoop, Callable[..., object], tuple[Any, ...]]"


class Listener(Protocol):
    """The engine, as its store calls it: after commits and failures, in whatever thread those were."""

    def drives(self) -> bool:
        """Return whether this process drives the runs."""
        ...

    def version_of(self, service: str) -> int | None:
        """Return the version of the worker of a service in this process."""
        ...

    def calls(self, note: Note) -> Sequence[Call]:
        """Return what is to be called because of a note."""
        ...

    def changed(self, conn: sqlite3.Connection) -> Sequence[Call]:
        """Return what is to be called because another process changed the file."""
        ...

    def failed(self, error: BaseException) -> Sequence[Call]:
        """Return what is to be called because the store failed."""
        ...

    def watches(self) -> bool:
        """Return whether anybody waits for what other processes do."""
        ...

    def look(self) -> None:
        """Look whether event loops are held up; called from time to time while somebody watches."""
        ...


def call_all(calls: Sequence[tuple[Callable[..., object], tuple[Any, ...]]]) -> None:
    """Call what one commit brought to one loop; an exception of one does not keep the others from theirs."""
    for number, (function, args) in enumerate(calls):
        try:
            function(*args)
        except BaseException:
            rest = calls[number + 1 :]
            if rest:
                asyncio.get_running_loop().call_soon(call_all, rest)
            raise


def deliver(calls: Sequence[Call]) -> None:
    """Wake each loop once for all that is to be called on it."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Callable[..., object], tuple[Any, ...]]]] = {}
    for loop, function, args in calls:
        by_loop.setdefault(loop, []).append((function, args))
    for loop, ours in by_loop.items():
        try:
            loop.call_soon_threadsafe(call_all, ours)
        except RuntimeError:  # it was closed: nobody waits there
            pass


async def ask(store: Store, job: Job, *args: Any) -> Any:
    """Run a job, and return what it returned once that is committed."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def done(result: Any, error: BaseException | None) -> None:
        if not future.done():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    store.submit(loop, done, job, *args)
    return await future


class Store:
    """The writing connection. This class executes where it is asked: that is how memory is kept."""

    shown = "memory:"

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.broken: BaseException | None = None
        self._conn: sqlite3.Connection | None = None
        self._lock = threading.RLock()

    def submit(self, loop: asyncio.AbstractEventLoop | None, done: Done | None, job: Job, *args: Any) -> None:
        """Run *job* with the transaction and *args*; *done* is called on *loop* after the commit."""
        self.run([(loop, done, job, args)])

    def submit_later(self, job: Job, *args: Any) -> None:
        """Run *job* with the next ones, or soon."""
        self.run([(None, None, job, args)])

    def read(self, query: Callable[..., Any], *args: Any) -> Any:
        """Return what *query* reads of what is committed."""
        with self._lock:
            return query(self.connection(), *args)

    def connection(self) -> sqlite3.Connection:
        """Return the connection, opened and prepared."""
        if self._conn is None:
            conn = self.open()
            try:
                prepare(conn, self.shown)
            except BaseException:
                conn.close()
                raise
            self._conn = conn
        return self._conn

    def open(self) -> sqlite3.Connection:
        """Open the connection."""
        return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)

    def begin(self, conn: sqlite3.Connection) -> None:
        """Begin a transaction that writes."""
        conn.execute("BEGIN IMMEDIATE")

    def run(self, items: Sequence[Item]) -> None:
        """Run jobs in one transaction, and deliver what it brought."""
        with self._lock:
            if self.broken is not None:
                calls = self._refused(items, self.broken)
            else:
                try:
                    calls = self._run(items)
                except Exception as exc:  # the store cannot be used, or a job of ours is wrong: nothing was written
                    calls = self._failed(items, exc)
        if calls:
            deliver(calls)

    def _run(self, items: Sequence[Item]) -> list[Call]:
        conn, listener = self.connection(), self.listener
        tx = Transaction(conn, listener.drives(), listener.version_of)
        self.begin(conn)
        results: list[tuple[Item, Any, BaseException | None, list[Note]]] = []
        for item in items:
            result, error = None, None
            try:
                result = item[2](tx, *item[3])
            except WorkflowError as exc:
                error = exc
            if item[1] is not None or tx.notes:
                results.append((item, result, error, tx.notes))
                tx.notes = []
        conn.execute("COMMIT")
        calls: list[Call] = []
        for (loop, done, _, _), result, error, notes in results:
            if done is not None and loop is not None:
                calls.append((loop, done, (result, error)))
            for note in notes:
                calls.extend(listener.calls(note))
        return calls

    def _failed(self, items: Sequence[Item], exc: Exception) -> list[Call]:
        if self._conn is not None and self._conn.in_transaction:
            try:
                self._conn.execute("ROLLBACK")
            except sqlite3.Error:
                pass
        calls = self.listener.failed(exc)
        if calls:
            self.broken = exc  # nothing is written until its driver begins again from the last commit
        return [*self._refused(items, exc), *calls]

    def _refused(self, items: Sequence[Item], exc: BaseException) -> list[Call]:
        error = exc if isinstance(exc, EngineError) else unusable(self.shown, exc)
        return [(loop, done, (None, error)) for loop, done, _, _ in items if loop is not None and done is not None]

    def repair(self) -> None:
        """Try again: the driver has left all that went beyond the last commit."""
        self.broken = None

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            conn, self._conn = self._conn, None
            if conn is not None:
                try:
                    conn.close()
                except sqlite3.Error:  # what it could not write is not committed
                    pass


class FileStore(Store):
    """The writing connection of a file, owned by one thread, and two more that read."""

    def __init__(self, listener: Listener, path: Path, *, synchronous: str, busy_s: float) -> None:
        super().__init__(listener)
        self.path, self.shown = path, str(path)
        self._synchronous, self._busy_s = synchronous, busy_s
        self._queue: deque[Item] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._awake = self._closing = self._is_stale = False
        self._thread: threading.Thread | None = None
        self._quick, self._slow = Reader(self.open, path), Reader(self.open, path)
        self._start_lock = threading.Lock()
        self._same = SameFile(path)

    # --- asking ---
    def submit(self, loop: asyncio.AbstractEventLoop | None, done: Done | None, job: Job, *args: Any) -> None:
        """Put *job* into the queue."""
        self._queue.append((loop, done, job, args))
        if not self._awake:
            self._awake = True
            if self._thread is None:
                self._start()
            self._wake.put(None)

    def submit_later(self, job: Job, *args: Any) -> None:
        """Put *job* into the queue, which is looked at when somebody waits, or soon."""
        self._queue.append((None, None, job, args))
        if self._thread is None or not self.listener.watches():
            self.look()

    def look(self) -> None:
        """Let the thread look at its queue, and whether anybody watches."""
        if not self._awake:
            self._awake = True
            if self._thread is None:
                self._start()
            self._wake.put(None)

    def _start(self) -> None:
        with self._start_lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name=f"otelier journal {self.path.name}", daemon=True
                )
                self._thread.start()

    def read(self, query: Callable[..., Any], *args: Any) -> Any:
        """Return what *query* reads of what is committed, while the thread writes; it is a short one."""
        return self._quick.read(query, *args)

    def look_through(self, query: Callable[..., Any], *args: Any) -> Any:
        """Return what *query* reads, which may take long; short ones are not held up by it."""
        return self._slow.read(query, *args)

    def open(self) -> sqlite3.Connection:
        """Open a connection to the file."""
        refuse_two_names(self.path)
        conn = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            # A file that is being made by another process is locked for a moment.
            self._retried(conn, "PRAGMA journal_mode=WAL")
            conn.execute(f"PRAGMA synchronous={self._synchronous}")
        except BaseException:
            conn.close()
            raise
        return conn

    def begin(self, conn: sqlite3.Connection) -> None:
        """Begin a transaction; another process that writes is waited for, in short steps."""
        self._check_same()
        self._retried(conn, "BEGIN IMMEDIATE")

    def connection(self) -> sqlite3.Connection:
        """Return the connection, opened and prepared; another process may be preparing the file just now."""
        if self._is_stale:
            self._is_stale = False
            super().close()
            self._same.forget()
        until = time.monotonic() + self._busy_s
        while True:
            try:
                return super().connection()
            except sqlite3.OperationalError as exc:
                if "locked" not in str(exc) or time.monotonic() > until:
                    raise
                time.sleep(BUSY_STEP_S)

    def _check_same(self) -> None:
        if (error := self._same.gone()) is not None:
            self._is_stale = True  # who asks next gets what is there then
            raise error

    def _retried(self, conn: sqlite3.Connection, sql: str) -> None:
        until: float | None = None
        while True:
            try:
                conn.execute(sql).fetchall()
            except sqlite3.OperationalError as exc:
                if "locked" not in str(exc):
                    raise
                now = time.monotonic()
                if until is None:
                    until = now + self._busy_s
                elif now > until:
                    raise
                time.sleep(BUSY_STEP_S)
            else:
                return

    # --- the thread ---
    def _work(self) -> None:
        version, looked, checked, again = -1, 0.0, 0.0, False
        while True:
            watches = self.listener.watches()
            if again:
                time.sleep(REST_S)
            else:
                try:
                    self._wake.get(timeout=max(0.0, looked + POLL_S - time.monotonic()) if watches else None)
                except Empty:
                    pass
            self._awake = True  # nobody needs to wake it while it works
            worked = bool(self._queue)
            if worked:
                self.run(self._items())
            self._awake = False
            again = bool(self._queue)  # who came between the two lines above did not wake it
            if self._closing and not again:
                return
            if watches and (now := time.monotonic()) >= looked + (POLL_BUSY_S if worked else POLL_S):
                looked = now
                if worked or now >= checked + CHECK_S:
                    checked = now
                    self.listener.look()
                version = self._look_at_others(version)

    def _items(self) -> list[Item]:
        queue, items = self._queue, list[Item]()
        while queue:
            items.append(queue.popleft())
        return items

    def _look_at_others(self, version: int) -> int:
        if self.broken is not None:
            return version
        calls: Sequence[Call] = ()
        try:
            with self._lock:  # `repair` closes the connection, and SQLite does not bear that while it executes
                conn = self.connection()
                self._check_same()
                now = conn.execute("PRAGMA data_version").fetchone()[0]
                if now != version:
                    calls = self.listener.changed(conn)
        except sqlite3.Error:
            return version  # what is wrong shows at the next commit
        except EngineError as exc:
            with self._lock:
                deliver(self._failed((), exc))
            return version
        deliver(calls)
        return now

    def repair(self) -> None:
        """Begin anew with a fresh connection; its thread opens it, no other may touch the old one."""
        if self.broken is not None:
            self._is_stale = True
            self.broken = None

    def close(self) -> None:
        """End the thread after what its queue holds, and close the connections."""
        self._closing = True
        if self._thread is not None:
            self._wake.put(None)
            self._thread.join()
            self._thread = None
        super().close()
        self._quick.close()
        self._slow.close()
