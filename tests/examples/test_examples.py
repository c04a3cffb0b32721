"""The programs in `examples/` run without a key and print the trace that their README shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from otelier.testing import OpenAIServer
from tests.waiting import until
from tests.workflows.restating import RestateServer, free_port

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/main.py"))


def run(name: str, **environment: str) -> str:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL", "OPENAI"))}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name / "main.py"],
        env={**clean, "NO_PROXY": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if " was held up for " not in line]  # by a busy machine
    assert not told, done.stderr
    return done.stdout


def shown(name: str) -> str:
    readme = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    found = re.search(r"```console\n\$ python examples/(\w+)/main\.py\n(.*?)```", readme, re.DOTALL)
    assert found, "README.md shows no run"
    assert found[1] == name
    return found[2]


def comparable(text: str) -> list[str]:
    """Return the trees of *text* in an order of their own, with ids numbered as they come."""
    numbers: dict[str, str] = {}
    text = re.sub(r"refund-o-\w+", "refund-o-1", text)
    text = re.sub(r"(?<=workflow\.id=')[^']+", lambda found: numbers.setdefault(found[0], f"w{len(numbers) + 1}"), text)
    return sorted(re.split(r"\n(?! )", text.strip()))


@pytest.mark.parametrize("name", NAMES)
def test_prints_the_trace_of_its_readme(name):
    """What a reader sees after copying the command is what the README promised, span by span."""
    assert comparable(run(name)) == comparable(shown(name))


@pytest.mark.parametrize("name", NAMES)
def test_asks_the_model_that_the_environment_names(name):
    """With a key and an address set, the example asks that model and starts no other."""
    with OpenAIServer() as server:
        run(name, OPENAI_API_KEY="mine", OPENAI_BASE_URL=server.base_url)
        assert server.requests
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer mine"}


@pytest.mark.restate
def test_a_refund_on_a_restate_server(restate: RestateServer):
    """One setting moves the refund to a Restate server; only how often its step was begun is not told there."""
    printed = run("refund", OTELIER_ENGINE=restate.address, OTELIER_WORKER_BIND=f"127.0.0.1:{free_port()}")
    assert comparable(printed) == comparable(shown("refund").replace(" otelier.step.executions=2", ""))


def test_a_refund_by_hand(tmp_path):
    """The commands of its README do what they show there, also with a worker that is killed between two of them."""
    folder = EXAMPLES / "refund"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL", "OPENAI"))}
    otelier = str(Path(sys.executable).with_name("otelier"))

    def does(command: str) -> str:
        assert f"$ {command}\n" in readme
        program, *words = command.split()
        if program == "python":
            words[0] = str(folder / words[0])
        done = subprocess.run(
            [sys.executable if program == "python" else otelier, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    with OpenAIServer() as model:
        address = {"OPENAI_API_KEY": "not-needed", "OPENAI_BASE_URL": model.base_url, "NO_PROXY": "127.0.0.1"}
        environment = {**clean, **address, "PYTHONPATH": str(folder)}

        @contextmanager
        def working():
            command = [otelier, "worker", "worker:refunds"]
            with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
                try:
                    assert process.stdout.readline().startswith("otelier worker, version 1, serves from file:")
                    yield
                finally:
                    process.kill()

        with working():
            assert does("python start.py o-2 42") == "started refund-o-2\n"
            until(lambda: does("otelier runs").startswith("waiting approval refund-o-2 refunds/refund "))
        with working():
            told = does("otelier approve refund-o-2 --name refund --role billing")
            assert told.startswith("✓ refund-o-2 approved 'refund' by ")
            until(lambda: "42 paid" in does("otelier show refund-o-2"))
            steps = does("otelier show refund-o-2").splitlines()[2:]
            assert [line.split("  ")[0][2:17].split(" █")[0] for line in steps[:1]] == ["assess"]
            assert len(steps) == 4
        assert len(model.requests) == 1


def test_every_example_of_the_plan_is_there():
    """Several agents, FastAPI, correlation, delegation and durable workflows each have a runnable example."""
    assert {"multi_agent", "fastapi_handler", "workflow_correlation", "triage_agent", "refund"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_is_listed(name):
    """Whoever opens the folder is told what each example shows."""
    assert f"[{name}]({name}/)" in (EXAMPLES / "README.md").read_text(encoding="utf-8")
