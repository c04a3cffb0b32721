"""Durable agents whose process is killed, at each thing that happens in a conversation."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otelier.testing import OpenAIServer
from tests.workflows.killed_agent import SPECIALIST
from tests.workflows.restating import free_port
from tests.workflows.talks import PLACE

ROOT = Path(__file__).parents[2]
STEPS = ("pre_run", "think", "find", "weigh", "think#2", "specialist", "think#3", "post_run")


@pytest.fixture(scope="module")
def nursery() -> Iterator[subprocess.Popen[str]]:
    """The process that forks one for each life."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.workflows.killed_agent"],
        cwd=ROOT,
        env={**os.environ, "OTELIER_WORKER_BIND": f"127.0.0.1:{free_port()}"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        yield program
        program.stdin.close()  # type: ignore[union-attr]
        program.wait(60)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """Answers by what it is asked, and counts."""
    with OpenAIServer() as made:

        def says(number: int, text: str | None = None, calls: Any = (), model: str = "gpt-4.1") -> None:
            made.reply(
                text,
                tool_calls=calls,
                usage={"input_tokens": 10, "output_tokens": 5},
                when=lambda request: request.model == model and len(request.messages) == number,
                times=None,
            )

        says(1, calls=[("find", {"number": 1}), ("weigh", {"number": 2})])
        says(4, calls=[("specialist", {"task": "find it"})])
        says(1, "In Italy.", model=SPECIALIST)
        says(6, PLACE.model_dump_json())
        yield made


@dataclass
class Lived:
    """One life."""

    status: int
    events: list[tuple[str, str | None]]

    @property
    def recorded(self) -> set[str]:
        """Steps that the body saw the end of."""
        return {step for what, step in self.events if what == "has" and step is not None}

    @property
    def done(self) -> set[str]:
        """Steps in which something happened."""
        return {step for what, step in self.events if what not in ("has", "waits", "ended") and step is not None}

    @property
    def result(self) -> Any:
        """Result of the run."""
        (found,) = [step for what, step in self.events if what == "ended" and step is not None]
        for number, call_id in enumerate(dict.fromkeys(re.findall(r"call_\w+", found))):
            found = found.replace(call_id, f"call_{number}")  # the server gives each call of its own
        return json.loads(found)


def live(nursery: Any, server: OpenAIServer, folder: Path, number: int, *, kill_at: int, place: str | None) -> Lived:
    """Live once, with the file of *folder*, or at another place."""
    log = folder / f"log-{number}"
    nursery.stdin.write(f"{place or folder / 'runs.db'} {log} {folder / 'spans'} {kill_at} {server.base_url}\n")
    nursery.stdin.flush()
    status = int(nursery.stdout.readline())
    return Lived(status, [tuple(json.loads(line)) for line in log.read_text().splitlines()])


def spans_of(folder: Path) -> list[Any]:
    """What was exported in all lives."""
    return [json.loads(line) for line in (folder / "spans").read_text().splitlines()]


def asked(server: OpenAIServer) -> Counter[str]:
    """How often each question was asked."""
    return Counter(json.dumps([request.model, request.messages]) for request in server.requests)


def check_spans(folder: Path) -> None:
    """The agent's span and those of its steps are there once, or twice the same, and so are their parents."""
    spans = spans_of(folder)
    ids = {span[1] for span in spans}
    ours = [span for span in spans if span[0].startswith(("invoke_workflow", "invoke_agent triage", "run_step"))]
    assert [span[0] for span in ours if span[2] is not None and span[2] not in ids] == []
    assert len({span[3] for span in ours}) == 1
    by_id: dict[int, Any] = {}
    for span in ours:
        if not span[0].startswith("run_step"):  # the same bytes; a step was done twice if it was cut
            assert by_id.setdefault(span[1], span) == span
        by_id[span[1]] = span
    assert Counter(span[0] for span in by_id.values()) == Counter(
        ["invoke_workflow talking", "invoke_agent triage", *(f"run_step {step}" for step in STEPS)]
    )


def check_killed(
    nursery: Any, server: OpenAIServer, folder: Path, kill_at: int, expected: Any, place: str | None
) -> None:
    """Kill it there, and let it end in a second life."""
    before = asked(server)
    folder.mkdir()
    first = live(nursery, server, folder, 1, kill_at=kill_at, place=place)
    assert first.status == -signal.SIGKILL, first.events
    second = live(nursery, server, folder, 2, kill_at=0, place=place)
    where = f"killed at {kill_at}: {first.events[-1]}"
    assert second.status == 0, where
    assert second.result == expected, where
    assert first.recorded & second.done == set(), where
    twice = [question for question, count in (asked(server) - before).items() if count > 1]
    in_flight = [what for what, _ in first.events].count("asks") + [what for what, _ in second.events].count("asks") - 4
    assert len(twice) <= in_flight <= 1, where
    check_spans(folder)


@pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_an_agent_that_is_killed_goes_on_where_it_was(tmp_path, nursery, server, every):
    """Killed at any moment it gives the same; it asks again only the question in flight, and repeats only cut steps."""
    check_places(tmp_path, nursery, server, every, None)


@pytest.mark.restate
@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.slow)])
def test_an_agent_whose_worker_is_killed_goes_on_in_the_next_one(tmp_path, nursery, server, restate, every):
    """The same on a Restate server, which keeps what was recorded, and waits for a worker."""
    check_places(tmp_path, nursery, server, every, restate.address)


def check_places(folder: Path, nursery: Any, server: OpenAIServer, every: int, place: str | None) -> None:
    """Let it be killed at each of the things that happen where nobody kills it, or some of them."""
    (folder / "whole").mkdir()
    whole = live(nursery, server, folder / "whole", 1, kill_at=0, place=place)
    assert whole.status == 0
    assert whole.result["output"] == PLACE.model_dump()
    assert whole.result["usage"] == [4, 60]
    assert len(server.requests) == 4
    check_spans(folder / "whole")
    for kill_at in range(1, len(whole.events), every):
        check_killed(nursery, server, folder / str(kill_at), kill_at, whole.result, place)
