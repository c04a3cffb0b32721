"""What a Restate server is not given to keep or does not take, and that what waits outlives it."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

import otelier
from otelier.errors import EngineError, WorkflowUseError
from otelier.workflows import Client, Context, function, workflow
from tests.workflows.restating import RestateServer
from tests.workflows.working import on_a_loop, opened, raises_sentence, until, worker_of

pytest.importorskip("restate", reason="the extra `restate` is not installed")

pytestmark = pytest.mark.restate
_SMALL = "\n".join(f'[{part}]\nmessage-size-limit = "4MiB"' for part in ("worker.invoker", "networking"))
_TABLES = (
    "sys_invocation",
    "sys_journal",
    "sys_journal_events",
    "state",
    "sys_inbox",
    "sys_idempotency",
    "sys_promise",
)


def _columns(server: RestateServer) -> dict[str, list[str]]:
    rows = server.rows("SELECT table_name, column_name FROM information_schema.columns")
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["table_name"], []).append(row["column_name"])
    return found


def _kept(server: RestateServer) -> bytes:
    """Return all that the server has: each table's rows, binary columns also as bytes, and the files of its folder."""
    columns, found = _columns(server), list[bytes]()
    for table in sorted(set(_TABLES) & columns.keys()):
        for row in server.rows(f"SELECT * FROM {table}"):
            for value in row.values():
                found.append(json.dumps(value).encode())
                found.append(_bytes(value))
    found += [file.read_bytes() for file in server.folder.rglob("*") if file.is_file()]
    return b"\n".join(found)


def _bytes(value: Any) -> bytes:
    """Return what a text has if it is hexadecimal or base64, as binary columns are shown, or bytes as numbers."""
    text = value if isinstance(value, str) else ""
    for decoded in (bytes.fromhex, lambda text: base64.b64decode(text, validate=True)):
        try:
            return decoded(text)
        except ValueError:
            continue
    return b""


@function
async def below(ctx: Context) -> dict[str, str]:
    return dict(ctx.headers())


@workflow
async def heads(ctx: Context) -> Any:
    found = [dict(ctx.headers()), await ctx.task("shop", "below")]
    await ctx.signal("go")
    return found


@on_a_loop
async def test_headers_that_are_too_large_are_refused_before_anything_is_stored(restate: RestateServer):
    """70 kB of them start no run; as much as is allowed reaches the body and what it calls, in any script."""
    async with opened(restate.address) as engine, worker_of(engine, heads, below) as worker:
        client = Client(engine)
        for size in (8_300, 70_000):
            for start in (
                lambda given: worker.start(heads, headers=given),
                lambda given: client.start("shop", "heads", headers=given),
            ):
                with raises_sentence(WorkflowUseError, "bytes, and 8,192 are the limit"):
                    await start({"x-large": "y" * size})
        assert await engine.runs() == []
        assert restate.rows("SELECT id FROM sys_invocation") == []
        assert restate.rows("SELECT key FROM state") == []
        given = {"x-large": "y" * 8_000, "x-name": "J\u00fcrgen \U0001f989"}
        with otelier.context(user_id="u" * 200, session_id="s" * 200):
            handle = await worker.start(heads, workflow_id="r", headers=given)
        await client.signal("r", "go")
        assert await handle.result(60) == [given, given]


@on_a_loop
async def test_what_authorises_is_nowhere_on_the_server(restate: RestateServer):
    """Neither a table nor a file of the server has a secret of a header, of the run or of what it calls; others are."""
    secret = {
        "Authorization": "Bearer canary-1", "proxy-authorization": "Basic canary-2", "Cookie": "session=canary-3",
        "X-API-Key": "canary-4", "x-db-password": "canary-5", "x-access-token": "canary-6", "Set-Cookie": "a=canary-7",
    }  # fmt: skip
    async with opened(restate.address) as engine, worker_of(engine, heads, below) as worker:
        client = Client(engine)
        first = await worker.start(heads, workflow_id="r", headers={**secret, "x-request": "not-secret-1"})
        await client.start("shop", "heads", workflow_id="s", headers={**secret, "x-request": "not-secret-2"})

        async def are_waiting() -> bool:
            return all([(await engine.run(one)).waiting_for is not None for one in ("r", "s")])

        await until(are_waiting)
        for run_id in ("r", "s"):
            await client.signal(run_id, "go")
        kept = {"x-request": "not-secret-1"}
        assert await first.result(60) == [kept, kept]
        assert (await engine.result("s", 60))[0]
        found = _kept(restate)
    assert b"not-secret-1" in found
    assert b"not-secret-2" in found
    assert b"canary" not in found


@workflow
async def measure(ctx: Context, text: str = "") -> int:
    return len(text or await ctx.step("long", lambda: "x" * 6_000_000))


@on_a_loop
async def test_a_payload_above_the_limit_of_the_server_is_told_and_lost_nowhere(monkeypatch: pytest.MonkeyPatch):
    """A start is refused in the server's words; a step is retried, shows them, and ends once the limit is raised."""
    monkeypatch.setenv("OTELIER_PAYLOAD_MAX_BYTES", "10000000")
    server = RestateServer(_SMALL)
    try:
        await asyncio.to_thread(server.start)
        async with opened(server.address) as engine, worker_of(engine, measure) as worker:
            with raises_sentence(EngineError, "did not take the request", "length limit exceeded"):
                await worker.start(measure, "y" * 6_000_000)
            handle = await worker.start(measure, workflow_id="r")

            async def is_told() -> bool:
                info = await engine.run("r")
                return info.health == "retrying" and "message size limit" in str(info.error)

            await until(is_told)
            server.kill()
            server.configure()
            await asyncio.to_thread(server.start)
            assert await handle.result(60) == 6_000_000
    finally:
        server.close()


@workflow
async def waits(ctx: Context, how: str) -> Any:
    if how == "sleep":
        return await ctx.sleep(1)
    if how == "approval":
        return (await ctx.human.approval("go")).approver
    return await ctx.signal("go")


@on_a_loop
async def test_each_wait_goes_on_after_the_server_was_killed(restate: RestateServer):
    """Sleeps, signals and approvals outlive the server, and so does a client that waits for a result."""
    async with opened(restate.address) as engine, worker_of(engine, waits) as worker:
        client = Client(engine)
        handles = [await worker.start(waits, how, workflow_id=how) for how in ("sleep", "approval", "signal")]

        async def are_waiting() -> bool:
            return bool(await client.approvals()) and bool((await engine.run("signal")).waiting_for)

        await until(are_waiting)
        results = asyncio.gather(*(handle.result(60) for handle in handles))
        restate.kill()
        await asyncio.to_thread(restate.start)
        await client.approve("approval", "go", approver="ada")
        await client.signal("signal", "go", 7)
        assert await results == [None, "ada", 7]
