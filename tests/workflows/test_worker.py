"""Workers: starting runs, ids, headers, versions, results, and leaving."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from otelier.errors import EngineError, RunExistsError, StreamElsewhere, WorkflowUseError
from otelier.workflows import Client, Context, RunHandle, Worker, function, workflow
from tests.workflows.working import Lives, deadline, on_a_loop, opened, outcome, raises_sentence, until, worker_of


@workflow
async def facts(ctx: Context, note: Any = None) -> Any:
    return [ctx.run_id, ctx.component_type, ctx.object_id, ctx.method_name, ctx.attempt, ctx.version, ctx.step_id]


@workflow
async def heads(ctx: Context) -> Any:
    headers = ctx.headers()
    below = await ctx.task("shop", "below")
    return [dict(headers), headers["x-REQUEST"], headers.get("none", "-"), "X-Request" in headers, below]


@function
async def below(ctx: Context) -> Any:
    return [dict(ctx.headers()), ctx.component_type]


@workflow
async def waits(ctx: Context) -> Any:
    return [ctx.version, await ctx.signal("on")]


@on_a_loop
async def test_a_run_has_an_id_of_its_own_or_the_one_it_was_given(place: str | None):
    """`workflow_id=` names a run; a second start with an equal input is that run, another input is refused."""
    async with opened(place) as engine, worker_of(engine, facts, waits) as worker:
        one = await worker.start(facts, workflow_id="o-1")
        assert await one.result() == ["o-1", "workflow", None, None, 1, 1, None]
        again = await worker.start(facts, workflow_id="o-1")
        assert (again.workflow_id, (await again.result())[0]) == ("o-1", "o-1")
        for handler, args in ((facts, ({"other": 1},)), (waits, ())):
            with raises_sentence(RunExistsError, "'o-1'", "another handler or input"):
                await worker.start(handler, *args, workflow_id="o-1")
        other, third = await worker.start(facts), await worker.start(facts)
        assert len({other.workflow_id, third.workflow_id, "o-1"}) == 3
        for wrong, kind in (("", ValueError), ("a\nb", ValueError), (7, TypeError)):
            with raises_sentence(kind, "a workflow id"):
                await worker.start(facts, workflow_id=wrong)  # type: ignore[arg-type]


@on_a_loop
async def test_a_result_may_be_waited_for_a_time(place: str | None):
    """`result(timeout_s=)` raises `TimeoutError`, the run goes on, and any number may wait for it."""
    async with opened(place) as engine, worker_of(engine, waits) as worker:
        handle = await worker.start(waits, workflow_id="r")
        with raises_sentence(TimeoutError, "'r' has not ended", "it goes on"):
            await handle.result(timeout_s=0.01)
        with raises_sentence(ValueError, "timeout_s"):
            await handle.result(timeout_s=-1)
        both = asyncio.gather(handle.result(), handle.result(60))
        await engine.signal("r", "on", {"payload": 7})
        assert await both == [[1, 7], [1, 7]]


@on_a_loop
async def test_a_result_in_a_body_is_recorded(place: str | None):
    """A replay gets the result that the first life got, or the time-out; what a run yields cannot be read there."""
    held: dict[str, RunHandle] = {}

    @workflow
    async def flow(ctx: Context) -> Any:
        handle = held["o-1"]
        with raises_sentence(TimeoutError, "o-1 took longer than 0.01 s"):
            await handle.result(timeout_s=0.01)
        await ctx.signal.emit("on", 7, target_workflow_id="o-1")
        with raises_sentence(StreamElsewhere, "cannot be read in a body"):
            await anext(handle.stream())
        got = [await handle.result(), await handle.result(60), await ctx.step("live", handle.result)]
        return [await ctx.step("after", lambda: "after"), *got]

    lives = Lives(5)
    async with opened(place) as engine, worker_of(engine, flow, waits) as worker:
        held["o-1"] = await worker.start(waits, workflow_id="o-1")
        with lives(lambda run_id: run_id == "r"):
            assert await (await worker.start(flow, workflow_id="r")).result() == ["after", *[[1, 7]] * 3]
        kinds = [step.kind for step in (await Client(engine).run("r")).steps]
        assert kinds == ["sleep", "result", "send", "result", "sleep", "result", "step", "step"]


@on_a_loop
async def test_a_run_that_a_body_starts_needs_an_id(place: str | None):
    """Else each replay would start one more; with an id it is one run in all lives, and a step starts what it likes."""
    held: list[Any] = []

    @workflow
    async def flow(ctx: Context) -> Any:
        worker, client = held
        for start in (lambda: worker.start(facts), lambda: client.start("shop", "facts")):
            with raises_sentence(WorkflowUseError, "in the body of flow without an id", "`ctx.spawn`"):
                await start()
        first = await (await worker.start(facts, workflow_id="below")).result()

        async def live() -> Any:
            return (await (await client.start("shop", "facts")).result())[1]

        return [first[0], await ctx.step("live", live)]

    async with opened(place) as engine, worker_of(engine, flow, facts) as worker:
        held += [worker, Client(engine)]
        with Lives(2)(lambda run_id: run_id == "r"):
            assert await (await worker.start(flow, workflow_id="r")).result() == ["below", "workflow"]
        assert len(await engine.runs()) == 3


@on_a_loop
async def test_headers_are_kept_without_what_authorises(place: str | None):
    """Headers are found in any case, in called runs too; secrets are dropped before they are stored; 8 kB at most."""
    given = {
        "X-Request": "7",
        "Authorization": "Bearer abc",
        "Proxy-Authorization": "Basic abc",
        "COOKIE": "session=1",
        "X-API-Key": "k",
        "x-db-password": "hunter2",
    }
    async with opened(place) as engine, worker_of(engine, heads, below) as worker:
        handle = await worker.start(heads, headers=given)
        kept = {"x-request": "7"}
        assert await handle.result() == [kept, "7", "-", True, [kept, "function"]]
        with raises_sentence(WorkflowUseError, "bytes, and 8,192 are the limit"):
            await worker.start(heads, headers={"x": "y" * 8_200})
        for wrong in ({1: "a"}, {"a": 1}):
            with raises_sentence(TypeError, "give text"):
                await worker.start(heads, headers=wrong)  # type: ignore[arg-type]
    if place is not None and not place.startswith("restate:"):
        stored = b"".join(file.read_bytes() for file in Path(place).parent.iterdir() if file.name.startswith("runs.db"))
        assert b"x-request" in stored
        assert not any(secret.encode() in stored for secret in ("Bearer", "session=1", "hunter2", "Basic"))


@on_a_loop
async def test_a_run_keeps_the_version_that_it_was_started_with(place: str | None):
    """New code carries old runs, and branches on `ctx.version`."""
    async with opened(place) as engine:
        async with worker_of(engine, waits, version=1) as worker:
            await worker.start(waits, workflow_id="old")
            await until(lambda: _waits(engine, "old"))
        async with worker_of(engine, waits, version=2) as worker:
            await worker.start(waits, workflow_id="new")
            for run_id, version in (("old", 1), ("new", 2)):
                await engine.signal(run_id, "on", {"payload": 0})
                assert await engine.result(run_id, 60) == [True, [version, 0]]


async def _waits(engine: Any, run_id: str) -> bool:
    return (await engine.run(run_id)).waiting_for is not None


@on_a_loop
async def test_a_worker_is_used_once_and_in_its_block(place: str | None):
    """Before and after its block it starts nothing; inside it a second entry is refused."""
    async with opened(place) as engine:
        worker = Worker("shop", modules=[facts], engine=engine)
        with raises_sentence(WorkflowUseError, "is not at work", "`async with`"):
            await worker.start(facts)
        async with worker:
            with raises_sentence(WorkflowUseError, "is at work already"):
                await worker.__aenter__()
            await (await worker.start(facts)).result()
        with raises_sentence(WorkflowUseError, "is not at work"):
            await worker.start(facts)
        with raises_sentence(WorkflowUseError, "has ended its work", "make another one"):
            await worker.__aenter__()


@on_a_loop
async def test_leaving_gives_steps_time_and_begins_nothing(place: str | None):
    """A step that runs when the block ends is recorded; what follows it begins in the next worker."""
    begun, done = asyncio.Event(), list[str]()

    @workflow
    async def flow(ctx: Context) -> list[str]:
        async def slow() -> str:
            begun.set()
            await asyncio.sleep(0.05)
            done.append("slow")
            return "slow"

        first = await ctx.step("slow", slow)
        return [first, await ctx.step("after", lambda: done.append("after") or "after")]

    async with opened(place) as engine:
        async with worker_of(engine, flow) as worker:
            await worker.start(flow, workflow_id="r")
            await begun.wait()
        assert done == ["slow"]
        async with worker_of(engine, flow):
            assert await engine.result("r", 60) == [True, ["slow", "after"]]
    assert done == ["slow", "after"]


@on_a_loop
async def test_leaving_that_is_cancelled_cuts_steps_and_stays_cancelled(place: str | None):
    """Who is cancelled while steps are given their time sees it, and the worker has ended: another one may begin."""
    begun, leaving, is_cut = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @workflow
    async def flow(ctx: Context) -> str:
        async def slow() -> str:
            begun.set()
            try:
                await asyncio.sleep(0 if is_cut.is_set() else 3600)
            except asyncio.CancelledError:
                is_cut.set()
                raise
            return "done"

        return await ctx.step("slow", slow)

    async def work() -> None:
        async with worker_of(engine, flow) as worker:
            await worker.start(flow, workflow_id="r")
            await begun.wait()
            asyncio.get_running_loop().call_soon(leaving.set)

    async with opened(place) as engine, deadline():
        working = asyncio.ensure_future(work())
        await leaving.wait()
        working.cancel()
        await asyncio.wait((working,))
        assert working.cancelled()
        assert is_cut.is_set()
        async with worker_of(engine, flow):
            assert await engine.result("r", 60) == [True, "done"]


@on_a_loop
async def test_an_engine_that_cannot_be_used_is_told_on_entry(tmp_path: Path):
    """A wrong address and a file that is no file of ours fail `async with`, with the address."""
    with raises_sentence(EngineError, "'redis://x'", "`memory:`, `file:PATH` nor `restate://HOST`"):
        async with Worker("shop", modules=[facts], engine="redis://x"):
            pass
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"no database" * 1_000)
    with raises_sentence(EngineError, "broken.db", "damaged"):
        async with Worker("shop", modules=[facts], engine=f"file:{broken}"):
            pass


@on_a_loop
async def test_failures_of_runs_are_raised_as_what_they_are(place: str | None):
    """The error of a run is made again where its class is known, else it is a `StepError` with its type."""

    @workflow
    async def fails(ctx: Context, kind: str) -> None:
        raise {"key": KeyError("sku"), "own": _Declined("no"), "local": _local()}[kind]

    async with opened(place) as engine, worker_of(engine, fails) as worker:
        found = [await outcome((await worker.start(fails, kind)).result()) for kind in ("key", "own", "local")]
    assert [repr(found[0]), repr(found[1])] == ["KeyError('sku')", "_Declined('no')"]
    assert (type(found[2]).__name__, found[2].type.endswith("Local"), found[2].message) == ("StepError", True, "gone")


class _Declined(Exception):
    pass


def _local() -> Exception:
    class Local(Exception):
        pass

    return Local("gone")


def test_a_context_shows_its_run():
    """The representation names handler and run, and no input."""
    shown: list[str] = []

    @workflow
    async def flow(ctx: Context) -> None:
        shown.extend([repr(ctx), repr(ctx.sleep(0)), repr(ctx.headers())])

    async def main() -> None:
        async with opened(None) as engine, worker_of(engine, flow) as worker:
            await (await worker.start(flow, workflow_id="r")).result()

    asyncio.run(main())
    assert shown == ["<Context of flow in r>", "<ctx.sleep>", "<0 headers>"]


@pytest.mark.parametrize("given", [{"service_name": ""}, {"service_name": "s", "version": -1}])
def test_wrong_facts_of_a_worker_are_refused(given: dict[str, Any]):
    """A service has a name, a version is a number."""
    with raises_sentence(ValueError, "Cannot use"):
        Worker(**given, modules=[facts], engine="memory:")
