"""`otelier worker`: it serves modules until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from otelier.workflows import Client
from tests.cli.children import OTELIER, environment, run
from tests.cli.working import ROOT, refusal, working
from tests.waiting import until

PAUSES = """
import asyncio
from otelier import workflow

@workflow
async def pause(ctx, mark: str):
    async def wait():
        open(mark, "w").close()
        await asyncio.sleep(1)
        return "slept"
    await ctx.step("wait", wait)
    return await ctx.signal("go on")
"""


def test_it_says_what_it_serves_and_where(tmp_path):
    """Each service with its handlers, and the file by its whole name."""
    with working(tmp_path / "runs.db") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.read(), process.stderr.read()
    assert "shop  entity Stock, function ship, workflow broken, workflow order, workflow paid" in out
    assert "bank  function charge" in out
    assert "stopping" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_waits_for_steps(tmp_path, number):
    """A step that runs when it is told to stop ends and is recorded; the exit code is 0."""
    (tmp_path / "pauses.py").write_text(PAUSES)
    path, mark = tmp_path / "runs.db", tmp_path / "mark"
    with working(path, "pauses", folder=tmp_path) as worker:
        client = Client(f"file:{path}")
        asyncio.run(client.start("pauses", "pause", str(mark), workflow_id="r"))
        until(mark.exists)
        worker.send_signal(number)
        assert worker.wait(60) == 0
    (step, *_) = asyncio.run(client.run("r")).steps
    assert (step.name, step.attempt, step.end_ns is not None) == ("wait", 1, True)


def test_a_module_gets_the_service_that_is_named(tmp_path):
    """`module:service` names it, handlers with a service of their own keep that, and so does `--version`."""
    with working(tmp_path / "runs.db", "tests.workflows.shop:orders", "--version", "3") as process:
        client = Client(f"file:{tmp_path / 'runs.db'}")

        async def look():
            handle = await client.start("orders", "paid", workflow_id="r")
            await client.signal("r", "paid", 1)
            assert await handle.result(60) == 1
            assert await (await client.start("bank", "charge")).result(60) == "charged"
            return (await client.run("r")).version

        assert asyncio.run(look()) == 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


WARNS = """
import logging
from otelier import workflow

class Exports(logging.Handler):
    __module__ = "opentelemetry.instrumentation.logging"
    def emit(self, record):
        pass

logging.getLogger().addHandler({})

@workflow
async def warns(ctx):
    logging.getLogger("otelier").warning("a disk is full")
"""


@pytest.mark.parametrize("handler", ["Exports()", "logging.StreamHandler()"])
def test_warnings_are_shown_once(tmp_path, handler):
    """Where OpenTelemetry's handler is the only one, as under `opentelemetry-instrument`, too."""
    (tmp_path / "noisy.py").write_text(WARNS.format(handler))
    path = tmp_path / "runs.db"
    with working(path, "noisy", folder=tmp_path) as worker:

        async def warned():
            await (await Client(f"file:{path}").start("noisy", "warns")).result(60)

        asyncio.run(warned())
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
        assert worker.stderr is not None
        assert worker.stderr.read().count("a disk is full") == 1


def test_a_second_one_stands_by_and_takes_over(tmp_path):
    """It waits while the first one drives the file, and drives it when that was killed."""
    path = tmp_path / "runs.db"
    client = Client(f"file:{path}")
    with working(path) as first, working(path) as second:
        assert second.stderr is not None
        assert "stands by: another process drives this file." in second.stderr.readline()
        asyncio.run(client.start("shop", "paid", workflow_id="r"))
        first.kill()
        first.wait()

        async def signalled():
            from otelier.workflows import RunHandle

            await client.signal("r", "paid", 2)
            handle = await client.start("shop", "paid", workflow_id="r")
            assert isinstance(handle, RunHandle)
            return await handle.result(60)

        assert asyncio.run(signalled()) == 2
        assert "has taken over" in second.stderr.readline()


STUCK = """
import pathlib, time
from otelier import workflow

@workflow
async def stuck(ctx, mark: str):
    def wait():
        pathlib.Path(mark).touch()
        time.sleep(3600)
    await ctx.step("wait", wait)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(tmp_path, number):
    """Whoever does not want to wait for a step that blocks tells it twice, and sees no traceback."""
    (tmp_path / "stuck.py").write_text(STUCK)
    path, mark = tmp_path / "runs.db", tmp_path / "mark"
    with working(path, "stuck", folder=tmp_path) as worker:
        asyncio.run(Client(f"file:{path}").start("stuck", "stuck", str(mark), workflow_id="r"))
        until(mark.exists)
        worker.send_signal(number)
        assert worker.stderr is not None
        assert "stopping" in worker.stderr.readline()
        worker.send_signal(number)
        assert worker.wait(60) == -number
        assert worker.stderr.read() == ""


@pytest.mark.slow
def test_a_step_that_blocks_for_ever_does_not_keep_the_process(tmp_path):
    """After its 20 seconds the worker ends with exit code 0, and the step runs again at the next start."""
    (tmp_path / "stuck.py").write_text(STUCK)
    path, mark = tmp_path / "runs.db", tmp_path / "mark"
    with working(path, "stuck", folder=tmp_path) as worker:
        asyncio.run(Client(f"file:{path}").start("stuck", "stuck", str(mark), workflow_id="r"))
        until(mark.exists)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
        assert worker.stderr is not None
        assert "a step goes on in its thread" in worker.stderr.read()
    (step, *_) = asyncio.run(Client(f"file:{path}").run("r")).steps
    assert step.end_ns is None


def test_a_reader_that_goes_away_does_not_end_it(tmp_path):
    """`otelier worker … | head -1` goes on working without its reader."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [OTELIER, "worker", "tests.workflows.shop", "--engine", f"file:{tmp_path / 'runs.db'}"]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=writing, stderr=subprocess.PIPE) as process:
        os.close(writing)
        client = Client(f"file:{tmp_path / 'runs.db'}")

        async def charged():
            return await (await client.start("bank", "charge", workflow_id="r")).result(60)

        assert asyncio.run(charged()) == "charged"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def test_a_long_path_is_one_line(tmp_path):
    """What somebody copies from a log is not cut in two."""
    with working(tmp_path / ("a" * 120) / "runs.db") as process:  # looks at the first line
        assert process.poll() is None


def test_runs_in_memory_are_told_to_be_its_own(tmp_path):
    """Nobody else can start runs of a worker in memory, and it says so."""
    command = [OTELIER, "worker", "tests.workflows.shop", "--engine", "memory:"]
    with subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "serves from memory:" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert "Only this process reaches these runs; with `--engine file:PATH`" in process.stdout.read()


def test_one_with_other_services_is_refused(tmp_path):
    """A file is driven by one process: both lists are named, and what to do."""
    (tmp_path / "pauses.py").write_text(PAUSES)
    with working(tmp_path / "runs.db"):
        command = f"import os; os.chdir({str(tmp_path)!r}); from otelier.cli import main; main()"
        done = run(sys.executable, "-c", command, "worker", "pauses", "--engine", f"file:{tmp_path / 'runs.db'}")
    assert done.returncode == 1
    assert done.stderr.startswith("otelier: Cannot stand by for")
    assert "serves bank, shop, this one pauses" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["no_such_module_here"], ["Cannot import 'no_such_module_here'"]),
        (["tests.workflows.nothing_here"], ["there is no module 'tests.workflows.nothing_here'"]),
        (["a b"], ["'a b'", "package.module"]),
        (["shop:"], ["'shop:'", "package.module:service"]),
        (["tests/workflows/shop.py"], ["Write `tests.workflows.shop`, or"]),
        (["./tests/workflows/shop"], ["Write `tests.workflows.shop`, or"]),
        (["no_such_shop.py"], ["names a file, not a module. Write `no_such_shop`."]),
        (["json"], ["has nothing to run", "@workflow"]),
        (["tests.workflows.shop", "--engine", "nowhere"], ["'nowhere'", "file:PATH"]),
        (["tests.workflows.shop", "--engine", "file:/proc/nowhere/runs.db"], ["/proc/nowhere"]),
        (["tests.workflows.shop:otelier.approvals"], ["otelier.approvals"]),
        (["tests.workflows.shop", "--service", "x" * 300], ["a service's name"]),
    ],
)
def test_bad_arguments_are_one_line(arguments, parts, monkeypatch, capsys):
    """What is wrong is told in a line, with exit code 1 and no traceback."""
    told = refusal(monkeypatch, capsys, "worker", *arguments)
    assert [part for part in parts if part not in told] == []


def test_what_fails_in_a_module_shows_where(tmp_path):
    """An import that fails inside the user's module shows its own lines, and none of otelier or typer."""
    for number, (code, error) in enumerate(
        {
            "import no_such_thing_at_all": "ModuleNotFoundError: No module named 'no_such_thing_at_all'",
            "x = (": "SyntaxError: '(' was never closed",
            "def fail():\n    raise ValueError('boom')\n\nfail()": "ValueError: boom",
        }.items()
    ):
        (tmp_path / f"needs{number}.py").write_text(code)
        command = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from otelier.cli import main; main()"
        done = run(sys.executable, "-c", command, "worker", f"needs{number}")
        assert done.returncode == 1
        *shown, told, last = done.stderr.splitlines()
        files = {line.split('"')[1] for line in shown if line.startswith('  File "')}
        assert files == {str(tmp_path / f"needs{number}.py")}
        assert told == error
        assert last == f"otelier: Cannot import 'needs{number}': it raised {error.partition(':')[0]}, as shown above."
