"""Signals: kept per run and name, oldest first, taken once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from otelier.errors import RunEndedError, UnknownRunError, WorkflowUseError
from otelier.workflows.engines.protocol import Run
from tests.workflows.engines.serving import Handlers, on_a_loop, opened, serving, step, until, waits_for


@on_a_loop
async def test_signals_are_kept_and_taken_oldest_first(place: str | None):
    """Signals sent before, while and after a run waits are taken by name in the order in which they were sent."""
    handlers, gate = Handlers(), asyncio.Event()

    async def flow(run: Run, payload: Any) -> Any:
        async def later() -> Any:
            await gate.wait()

        await run.step("later", later)
        first = [await run.signal("a", None), await run.signal("b", None), await run.signal("a", None)]
        await run.signal("pause", None)
        return [*first, await run.signal("a", None)]

    target = handlers.add(flow)
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            for n in range(2):
                await engine.signal("r", "a", n)
            gate.set()
            await engine.signal("r", "b", "b")
            await engine.signal("r", "a", 2)
            await waits_for(engine, "r", "signal pause")
        async with serving(engine, handlers):
            await engine.signal("r", "pause", None)
            assert await engine.result("r", 60) == [True, [0, "b", 1, 2]]


@on_a_loop
async def test_a_wait_that_times_out_gives_none_and_leaves_the_signal(place: str | None):
    """A late signal goes to the next wait of its name, and the time-out is recorded."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        first = await run.signal("a", 0.01)
        await run.signal("go", None)
        return [first, await run.signal("a", 3600)]

    target = handlers.add(flow)
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(target, None, {}, run_id="r")
            await waits_for(engine, "r")
            await engine.signal("r", "a", "late")
        async with serving(engine, handlers):
            await engine.signal("r", "go", None)
            assert await engine.result("r", 60) == [True, [None, "late"]]


@on_a_loop
async def test_a_second_wait_for_one_name_is_refused(place: str | None):
    """A run waits once for a name; after that wait was seen or given up, it may wait again."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        first = run.signal("a", None)
        with pytest.raises(WorkflowUseError, match="'a' twice"):
            run.signal("a", None)
        first.start()
        await run.signal("b", None)
        with pytest.raises(WorkflowUseError):
            run.signal("a", None)
        run.cancel(first)
        return await run.signal("a", None)

    target = handlers.add(flow)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        await engine.signal("r", "a", "kept")
        await engine.signal("r", "b", None)
        # It came for the first wait, which was given up before the body saw it.
        assert await engine.result("r", 60) == [True, "kept"]


@on_a_loop
async def test_a_signal_to_nobody_is_an_error(place: str | None):
    """An unknown run and one that has ended take no signal."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        return None

    target = handlers.add(flow)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        await engine.result("r", 60)
        with pytest.raises(RunEndedError, match="completed") as ended:
            await engine.signal("r", "a", None)
        assert (ended.value.workflow_id, ended.value.status) == ("r", "completed")
        with pytest.raises(UnknownRunError, match="'nobody'"):
            await engine.signal("nobody", "a", None)
        with pytest.raises(UnknownRunError):
            await engine.result("nobody", None)
        with pytest.raises(UnknownRunError):
            await engine.run("nobody")


@on_a_loop
async def test_a_send_happens_once_and_tells_how_it_went(place: str | None):
    """A signal sent by a body is there once after its replay, and failures are values."""
    handlers = Handlers()

    async def receiver(run: Run, payload: Any) -> Any:
        return [await run.signal("a", None), await run.signal("a", 0.05)]

    async def sender(run: Run, payload: Any) -> Any:
        sent = await run.send("to", "a", payload)
        failed = await run.send("nobody", "a", payload)
        await run.signal("go", None)
        ended = await run.send("to", "a", payload)
        return [sent, failed[1]["type"], ended[1]["type"]]

    targets = handlers.add(receiver), handlers.add(sender)
    async with opened(place) as engine:
        async with serving(engine, handlers):
            await engine.start(targets[0], None, {}, run_id="to")
            await engine.start(targets[1], {"n": 1}, {}, run_id="from")
            assert await engine.result("to", 60) == [True, [{"n": 1}, None]]
            await waits_for(engine, "from")
        async with serving(engine, handlers):
            await engine.signal("from", "go", None)
            assert await engine.result("from", 60) == [True, [[True, None], "UnknownRunError", "RunEndedError"]]


@on_a_loop
async def test_a_run_signals_itself(place: str | None):
    """A step's effect may be a signal to its own run."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        op = run.signal("self", None)
        op.start()
        await run.send(run.id, "self", 1)
        await step(run, "between")
        return await op

    target = handlers.add(flow)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, None, {}, run_id="r")
        assert await engine.result("r", 60) == [True, 1]


@on_a_loop
async def test_many_signals_at_once_are_each_taken_once(place: str | None):
    """Signals of many senders while the receiver waits are all taken, none twice."""
    handlers = Handlers()

    async def flow(run: Run, count: Any) -> Any:
        return sorted([await run.signal("n", None) for _ in range(count)])

    target = handlers.add(flow)
    async with opened(place) as engine, serving(engine, handlers):
        await engine.start(target, 50, {}, run_id="r")
        await asyncio.gather(*(engine.signal("r", "n", n) for n in range(50)))
        assert await engine.result("r", 60) == [True, list(range(50))]


# On Restate a body is told of a signal only while it waits for an op: see the tests above.
@on_a_loop
async def test_a_signal_that_a_wait_took_for_nobody_is_kept(path: str | None):
    """A wait that is given up before the body saw its signal gives it back: to the next wait, of the next life too."""
    handlers = Handlers()

    async def flow(run: Run, payload: Any) -> Any:
        first = run.signal("s", None)
        first.start()
        await until(lambda: first.done() or run.replaying())
        run.cancel(first)
        await run.signal("go", None)
        return await run.signal("s", None)

    target = handlers.add(flow)
    async with opened(path) as engine:
        await engine.start(target, None, {}, run_id="r")
        await engine.signal("r", "s", "kept")
        async with serving(engine, handlers):
            await waits_for(engine, "r", "signal go")
        async with serving(engine, handlers):
            await engine.signal("r", "go", None)
            assert await engine.result("r", 60) == [True, "kept"]


@on_a_loop
async def test_signals_of_another_process_are_each_taken_once(tmp_path: Path):
    """What a client of the file sends is told with each of its signals anew, and taken once; none outlives its run."""
    handlers, path = Handlers(), tmp_path / "runs.db"

    async def flow(run: Run, payload: Any) -> Any:
        found = [await run.signal("s", None) for _ in range(20)]
        return [found, await run.signal("s", 0.2)]

    target = handlers.add(flow)
    async with opened(str(path)) as engine, opened(str(path)) as client, serving(engine, handlers):
        await client.start(target, None, {}, run_id="r")
        await waits_for(engine, "r", "signal s")
        for number in range(20):
            await client.signal("r", "s", number)
        await client.signal("r", "other", None)
        assert await client.result("r", 60) == [True, [list(range(20)), None]]
        assert engine._store.read(lambda conn: conn.execute("SELECT count(*) FROM signal").fetchone()) == (0,)
