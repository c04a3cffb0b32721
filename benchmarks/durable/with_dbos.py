"""The side of DBOS on SQLite, in an environment of its own; see `scripts/bench_workflows.sh`.

As it comes it uses a rollback journal at `synchronous=FULL`, and looks for messages every second; `journal`,
`synchronous` and `poll` are for runs beside ours with the same settings.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import Any

from dbos import DBOS, DBOSClient, SetWorkflowID

from durable.serving import BEGUN, RESULT, SEEN, TIMES, Commands, Side, serve

FOR_EVER_S = 1e8
chosen: dict[str, str] = {}


class Connection(sqlite3.Connection):
    """A connection with the settings that were asked for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if sqlite3.sqlite_version_info < (3, 42):  # it knows no 'subsec', which DBOS writes
            self.create_function("unixepoch", -1, lambda *_: time.time())
        for name, value in chosen.items():
            self.execute(f"PRAGMA {name}={value}")


@DBOS.step()
async def work() -> dict[str, Any]:
    return dict(RESULT)


@DBOS.workflow()
async def stepping(count: int) -> None:
    BEGUN.append(time.time())
    for _ in range(count):
        began = time.perf_counter()
        await work()
        TIMES.append(time.perf_counter() - began)


@DBOS.workflow()
async def waiting(_: int) -> None:
    BEGUN.append(time.time())
    await DBOS.recv_async("go", timeout_seconds=FOR_EVER_S)
    SEEN[str(DBOS.workflow_id)] = time.time()


HANDLERS = {"stepping": stepping, "waiting": waiting}


class Dbos(Side):
    """DBOS on one SQLite file."""

    def __init__(self) -> None:
        self.client: DBOSClient

    async def open(self, path: str, journal: str = "", synchronous: str = "", poll: float = 1.0) -> None:
        chosen.clear()
        if journal:
            chosen.update(busy_timeout="30000", journal_mode=journal, synchronous=synchronous)
        DBOS(
            config={
                "name": "bench",
                "system_database_url": f"sqlite:///{path}",
                "executor_id": "bench",
                "application_version": "1",
                "enable_otlp": False,
                "log_level": "CRITICAL",
                "notification_listener_polling_interval_sec": poll,
                "db_engine_kwargs": {"connect_args": {"factory": Connection}},
            }
        )
        await asyncio.to_thread(DBOS.launch)

    async def close(self) -> None:
        os._exit(0)

    async def start(self, handler: str, run_id: str, count: int = 0) -> Callable[[], Awaitable[Any]]:
        with SetWorkflowID(run_id):
            handle = await DBOS.start_workflow_async(HANDLERS[handler], count)
        return handle.get_result

    async def signal(self, run_id: str) -> None:
        await DBOS.send_async(run_id, None, topic="go")

    async def connect(self, path: str) -> None:
        chosen.update(busy_timeout="30000", journal_mode="WAL", synchronous="FULL")
        import sqlalchemy

        engine = sqlalchemy.create_engine(f"sqlite:///{path}", connect_args={"factory": Connection})
        self.client = DBOSClient(system_database_engine=engine)

    async def send(self, run_id: str) -> None:
        await self.client.send_async(run_id, None, topic="go")


if __name__ == "__main__":
    serve(Commands(Dbos()))
