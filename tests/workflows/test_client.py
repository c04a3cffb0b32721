"""Clients: start, look at and tell runs, from any process, thread and event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

import otelier
from otelier.errors import (
    ApprovalError,
    CodecError,
    EngineError,
    ReplayError,
    RunEndedError,
    RunExistsError,
    StepError,
    UnknownRunError,
    WorkflowError,
)
from otelier.workflows import Client, Context, Handler, Worker, function, workflow
from otelier.workflows.engines.local import LocalEngine
from tests.workflows.engines.serving import on_a_loop, opened, raises_sentence, until

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["memory", "file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Where the engine keeps its runs; `None` is in memory."""
    return None if request.param == "memory" else str(tmp_path / "runs.db")


@workflow
async def greet(ctx: Context, name: str, mark: str = "!") -> Any:
    return f"Hello {name}{mark}"


@workflow
async def paid(ctx: Context) -> Any:
    return await ctx.signal("paid")


@function
async def fails(ctx: Context) -> Any:
    await ctx.step("fine", lambda: 1)
    raise KeyError("sku")


@workflow
async def told(ctx: Context) -> Any:
    await ctx.sleep(0)
    return dict(ctx.headers())


@asynccontextmanager
async def working(engine: LocalEngine | str, *handlers: Handler) -> AsyncIterator[Worker]:
    async with Worker("shop", modules=handlers or (greet, paid, fails, told), engine=engine) as worker:
        yield worker


@contextmanager
def worker_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `otelier worker` on a file until the block ends."""
    command = [sys.executable, "-m", "tests.workflows.serve_shop", str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@on_a_loop
async def test_a_run_is_started_by_the_names_of_its_service_and_handler(place: str | None):
    """A dict whose keys fit is passed by name, anything else as the one argument; no module is needed for it."""
    async with opened(place) as engine, working(engine):
        client = Client(engine)
        assert await (await client.start("shop", "greet", "Ada")).result(60) == "Hello Ada!"
        assert await (await client.start("shop", "greet", {"name": "Bob", "mark": "?"})).result(60) == "Hello Bob?"
        handle = await client.start("shop", "greet", "Ada", workflow_id="r")
        assert (handle.workflow_id, await handle.result(60)) == ("r", "Hello Ada!")


@on_a_loop
async def test_an_id_that_exists_is_that_run(place: str | None):
    """Started again with the same input it is the same run; with another one that is an error."""
    async with opened(place) as engine, working(engine):
        client = Client(engine)
        await client.start("shop", "paid", workflow_id="r")
        again = await client.start("shop", "paid", workflow_id="r")
        with raises_sentence(RunExistsError, "'r'", "shop/paid"):
            await client.start("shop", "greet", "Ada", workflow_id="r")
        await client.signal("r", "paid", 42)
        assert await again.result(60) == 42


@on_a_loop
async def test_headers_reach_the_run(place: str | None):
    """`ctx.headers()` returns them, without those that authorise."""
    async with opened(place) as engine, working(engine):
        handle = await Client(engine).start("shop", "told", headers={"X-Tenant": "a", "Authorization": "Bearer b"})
        assert await handle.result(60) == {"x-tenant": "a"}


@on_a_loop
async def test_runs_lists_the_latest_first(place: str | None):
    """By status and service, at most as many as are asked for, without their steps."""
    async with opened(place) as engine, working(engine):
        client = Client(engine)
        for n in range(3):
            await (await client.start("shop", "greet", str(n), workflow_id=f"g{n}")).result(60)
        await client.start("shop", "paid", workflow_id="p")

        async def waits() -> bool:
            return [one.workflow_id for one in await client.runs(status="waiting")] == ["p"]

        await until(waits)
        assert [one.workflow_id for one in await client.runs()] == ["p", "g2", "g1", "g0"]
        assert [one.workflow_id for one in await client.runs(status="completed", limit=2)] == ["g2", "g1"]
        assert [one.workflow_id for one in await client.runs(service="shop", limit=1)] == ["p"]
        assert await client.runs(service="other") == []
        assert all(one.steps == () for one in await client.runs())


@on_a_loop
async def test_run_shows_steps_result_and_error(place: str | None):
    """One run has its steps, how it ended, and what it waits for; what otelier adds by itself is not shown."""
    async with opened(place) as engine, working(engine):
        client = Client(engine)
        failed = await client.start("shop", "fails", workflow_id="f")
        with pytest.raises(KeyError):
            await failed.result(60)
        await client.start("shop", "paid", workflow_id="p")

        async def waits() -> bool:
            return (await client.run("p")).waiting_for == "signal paid"

        await until(waits)
        info = await client.run("f")
        assert (info.service, info.handler, info.status, info.health) == ("shop", "fails", "failed", "failed")
        assert info.error is not None
        assert info.error["type"] == "KeyError"
        assert [(one.name, one.kind, one.attempt) for one in info.steps] == [("fine", "step", 1)]
        assert info.steps[0].end_ns is not None
        assert info.begin_ns <= info.steps[0].begin_ns <= info.steps[0].end_ns


@on_a_loop
async def test_signal_cancel_and_resume_need_a_run_that_fits(place: str | None):
    """Unknown and ended runs are errors, a cancelled one ends, and what is not blocked just goes on."""
    async with opened(place) as engine, working(engine):
        client = Client(engine)
        for verb in (client.cancel, client.resume, client.run):
            with raises_sentence(UnknownRunError, "'nope'"):
                await verb("nope")
        with raises_sentence(UnknownRunError, "'nope'"):
            await client.signal("nope", "paid")
        handle = await client.start("shop", "paid", workflow_id="p")
        await client.resume("p")
        await client.cancel("p")
        with pytest.raises(StepError, match="RunCancelled"):
            await handle.result(60)
        assert (await client.run("p")).status == "cancelled"
        await client.cancel("p")
        with raises_sentence(RunEndedError, "'p'", "cancelled"):
            await client.resume("p")
        with raises_sentence(RunEndedError, "'p'", "'paid'", "cancelled"):
            await client.signal("p", "paid")


@on_a_loop
async def test_a_blocked_run_is_resumed(tmp_path: Path):
    """After its code was mended a run goes on where it was."""
    path, names = str(tmp_path / "runs.db"), ["first"]

    @workflow
    async def changes(ctx: Context) -> Any:
        await ctx.step(names[0], lambda: None)
        return await ctx.signal("go on")

    async with opened(path) as engine:
        client = Client(engine)
        async with working(engine, changes):
            handle = await client.start("shop", "changes", workflow_id="r")

            async def waits() -> bool:
                return (await client.run("r")).waiting_for == "signal go on"

            await until(waits)
        names[0] = "second"
        async with working(engine, changes):

            async def blocked() -> bool:
                return [one.health for one in await client.runs(status="blocked")] == ["blocked"]

            await until(blocked)
            error = (await client.run("r")).error
            assert error is not None
            assert error["type"] == ReplayError.__name__
            assert "'first'" in error["message"]
            assert "'second'" in error["message"]
            names[0] = "first"
            await client.resume("r")
            await client.signal("r", "go on", 1)
            assert await handle.result(60) == 1


@on_a_loop
async def test_a_client_works_on_any_loop_and_in_any_thread(place: str | None):
    """One client, made here, starts and waits in a thread with a loop of its own."""
    async with opened(place) as engine, working(engine):
        client, found = Client(engine), list[Any]()

        async def elsewhere() -> None:
            handle = await client.start("shop", "paid", workflow_id="r")
            await client.signal("r", "paid", "there")
            found.append(await handle.result(60))

        thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
        thread.start()
        await until(lambda: not thread.is_alive())
        assert found == ["there"]


@on_a_loop
async def test_memory_is_shared_in_a_process():
    """Workers and clients that name `memory:` mean the same one."""
    async with working("memory:"):
        assert await (await Client("memory:").start("shop", "greet", "Ada")).result(60) == "Hello Ada!"


@on_a_loop
async def test_a_worker_in_another_process_runs_and_is_told(tmp_path: Path):
    """Start, signal, decision, cancel and a look from a process beside the driver, on a file."""
    path = tmp_path / "runs.db"
    with worker_process(path):
        client = Client(f"file:{path}")
        handle = await client.start("shop", "order", "o-1", workflow_id="o-1")
        waiting = await client.start("shop", "paid", workflow_id="p")
        cancelled = await client.start("shop", "paid", workflow_id="c")

        async def asks() -> bool:
            return [one.workflow_id for one in await client.approvals()] == ["o-1"]

        await until(asks)
        await client.approve("o-1", "refund", approver="ada", roles=["admin"], comment="fine")
        assert await handle.result(60) == ["approved", "ada", "fine"]
        await client.signal("p", "paid", 42)
        assert await waiting.result(60) == 42
        await client.cancel("c")
        with pytest.raises(StepError, match="RunCancelled"):
            await cancelled.result(60)
        steps = (await client.run("o-1")).steps
        assert [(one.kind, one.name, one.run_id is not None) for one in steps] == [
            ("step", "charge", False),
            ("call", "shop/ship", True),
            ("approval", "refund", False),
        ]


@on_a_loop
async def test_a_decision_outlives_the_worker_that_was_to_take_it(tmp_path: Path):
    """Decided while no worker runs, after the last one was killed, it is taken by the next."""
    path = tmp_path / "runs.db"
    client = Client(f"file:{path}")
    with worker_process(path) as process:
        handle = await client.start("shop", "order", "o-1", workflow_id="o-1")

        async def asks() -> bool:
            return [one.workflow_id for one in await client.approvals()] == ["o-1"]

        await until(asks)
        process.send_signal(signal.SIGKILL)
        process.wait()
        deciding = asyncio.create_task(client.reject("o-1", "refund", approver="bob", roles=["admin"]))
        await asyncio.wait((deciding,), timeout=0.1)
        assert not deciding.done()
        with worker_process(path):
            assert (await deciding).decision == "rejected"
            assert await handle.result(60) == ["rejected", "bob", None]


@on_a_loop
async def test_each_run_gets_one_decision_however_often_the_worker_is_killed(tmp_path: Path):
    """Two people decide each of many at once while workers come and are killed: one is taken, the run gets that one."""
    path, count = tmp_path / "runs.db", 12
    client = Client(f"file:{path}")
    runs = [f"o-{n}" for n in range(count)]
    handles = [await client.start("shop", "order", run, workflow_id=run) for run in runs]

    async def decide(run: str, verb: Any) -> Any:
        try:
            return await verb(run, "refund", approver=verb.__name__, roles=["admin"])
        except (ApprovalError, RunEndedError) as exc:
            return exc

    async def decide_twice(run: str) -> list[Any]:
        async def is_asked() -> bool:
            return any(one.workflow_id == run for one in await client.approvals())

        await until(is_asked)
        return await asyncio.gather(decide(run, client.approve), decide(run, client.reject))

    def kill_some() -> None:
        for number in range(8):
            with worker_process(path) as process:
                if number < 7:
                    try:
                        process.wait(0.05 * (number % 3))
                    except subprocess.TimeoutExpired:
                        pass
                else:
                    is_over.wait(120)

    is_over = threading.Event()
    killing = asyncio.get_running_loop().run_in_executor(None, kill_some)
    try:
        told = await asyncio.gather(*(decide_twice(run) for run in runs))
        got = [await handle.result(60) for handle in handles]
    finally:
        is_over.set()
        await killing
    for (decision, approver, _), answers in zip(got, told):
        taken = [one for one in answers if not isinstance(one, Exception)]
        assert [(one.decision, one.approver) for one in taken] == [(decision, approver)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_client_made_before_a_fork_works_after_it(tmp_path: Path):
    """A web server makes it when it loads, and forks its workers afterwards."""
    program = """
import asyncio, os, sys
from otelier import Client
client = Client("file:" + sys.argv[1])
async def start(name):
    await client.start("shop", "paid", workflow_id=name)
child = os.fork()
asyncio.run(start("child" if child == 0 else "parent"))
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
async def listed():
    return sorted(one.workflow_id for one in await client.runs())
print(asyncio.run(listed()))
"""
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "runs.db")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "['child', 'parent']\n", done.stderr


@on_a_loop
async def test_the_wait_is_linked_to_the_span_that_sends_the_signal(place: str | None, otelier_spans: Any):
    """A client's signal is a span of its own, a producer, and the run's wait tells of it."""
    async with opened(place) as engine, working(engine):
        client = Client(engine)
        handle = await client.start("shop", "paid", workflow_id="r")
        await client.signal("r", "paid", 1)
        await handle.result(60)
    sent, waited = otelier_spans.find("emit_signal paid"), otelier_spans.find("wait_signal paid")
    assert (sent.kind, waited.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert [link.context.span_id for link in waited.links] == [sent.context.span_id]
    assert otelier_spans.find("invoke_workflow paid").kind is SpanKind.CONSUMER


@pytest.mark.parametrize(
    ("call", "error", "parts"),
    [
        (lambda one: one.start("shop", "", 1), ValueError, ["a handler's name"]),
        (lambda one: one.start("s\n", "paid"), ValueError, ["a service's name"]),
        (lambda one: one.start("otelier.approvals", "Approvals.decide", 1), ValueError, ["otelier.approvals"]),
        (lambda one: one.start("shop", "paid", workflow_id="x" * 257), ValueError, ["a workflow id", "256"]),
        (lambda one: one.start("shop", "paid", float("nan")), CodecError, ["the input of paid", "nan"]),
        (lambda one: one.start("shop", "paid", "x" * 1_000_001), CodecError, ["the input of paid", "1,000,000"]),
        (lambda one: one.start("shop", "paid", headers={"a": 1}), TypeError, ["headers"]),
        (lambda one: one.start("shop", "paid", headers={"a": "x" * 9000}), WorkflowError, ["8,192"]),
        (lambda one: one.signal("r", "paid", {1, 2}), CodecError, ["the payload of signal 'paid'"]),
        (lambda one: one.signal("r", "otelier.approval/0/x"), ValueError, ["Client.approve"]),
        (lambda one: one.signal(7, "paid"), TypeError, ["int", "a workflow id"]),
        (lambda one: one.runs(status="lost"), ValueError, ["'lost'", "blocked"]),
        (lambda one: one.runs(limit=0), ValueError, ["limit", "100,000"]),
        (lambda one: one.runs(limit=1.5), TypeError, ["float", "limit"]),
        (lambda one: one.run("a\x1bb"), ValueError, ["printable"]),
    ],
)
@on_a_loop
async def test_bad_input_is_refused(call: Any, error: type[Exception], parts: list[str]):
    """What could not be stored or shown is an error that names it, and nothing is stored."""
    async with opened(None) as engine:
        client = Client(engine)
        with raises_sentence(error, *parts):
            await call(client)
        assert await client.runs() == []


def test_a_bad_address_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A client of nothing cannot be made; without an address it is that of the environment."""
    with raises_sentence(EngineError, "'nowhere'", "file:PATH"):
        Client("nowhere")
    monkeypatch.setenv("OTELIER_ENGINE", f"file:{tmp_path / 'here.db'}")
    assert str(tmp_path / "here.db") in repr(Client())


def test_the_front_door_has_them():
    """`from otelier import workflow, function, entity, Worker, Client` gives those of the room."""
    assert (otelier.Client, otelier.Worker, otelier.workflow) == (Client, Worker, workflow)
