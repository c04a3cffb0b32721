"""`python -m tests.seeds.report`: what the pages of the seeds show, run.

First every code block of cogent's page about `RunContext` and of AGNT5's about the Context API, with the tests that ran
it and the names it was given, then every example of the two egisai pages, with the attributes that each span got.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryDirectory
from typing import NamedTuple
from xml.etree import ElementTree as ET

from opentelemetry import _logs, metrics, trace

from otelier.testing import OpenAIServer, SpanRecord, SpanRecorder, reset
from tests.seeds import agnt5, cogent
from tests.seeds.running import ALL, point_client_at

SHOWN = (
    "user.id",
    "user.roles",
    "session.id",
    "gen_ai.conversation.id",
    "otelier.workflow.id",
    "gen_ai.agent.name",
    "gen_ai.agent.id",
    "otelier.agent.id",
    "otelier.agent.source",
    "gen_ai.main_agent.name",
    "deployment.environment.name",
)


def lines(span: SpanRecord) -> list[str]:
    """Return the text for one span: its name and kind, then each attribute of ours."""
    attributes = [f"      {name} = {span.attributes[name]!r}" for name in SHOWN if name in span.attributes]
    return [f"    {span.name} ({span.kind})", *(attributes or ["      nothing of otelier's"])]


def say(text: str) -> None:
    """Print *text*."""
    sys.stdout.write(text + "\n")


class Blocks(NamedTuple):
    """The code blocks of one page."""

    page: str
    tests: str
    """Module with their tests."""
    titles: Iterable[str]
    supplied: Mapping[str, Mapping[str, str]]
    notes: Mapping[str, str]
    """What is to be said of a block, by its title."""


PAGES = (
    Blocks("RunContext", "test_cogent.py", cogent.BLOCKS, cogent.SUPPLIED, cogent.CONTRADICTIONS),
    Blocks("Context API", "test_agnt5.py", agnt5.BLOCKS, agnt5.SUPPLIED, agnt5.UNREACHED),
)


def blocks(of: Blocks) -> int:
    """Run and print the blocks of a page; returns how many passed."""
    ran: dict[str, list[tuple[str, bool]]] = {title: [] for title in of.titles}
    with TemporaryDirectory() as folder:
        told = Path(folder) / "tests.xml"
        tests = Path(__file__).with_name(of.tests)
        command = [sys.executable, "-m", "pytest", tests, "-q", "-o", "junit_family=xunit1", f"--junitxml={told}"]
        subprocess.run(command, check=False, stdout=PIPE)
        for test in ET.parse(told).iter("testcase"):
            passed = not {"failure", "error", "skipped"} & {part.tag for part in test}
            for block in test.iterfind("./properties/property[@name='block']"):
                ran[block.attrib["value"]].append((test.attrib["name"], passed))
    for title, tests_of_it in ran.items():
        say(f"\n{of.page}: {title}")
        for test, passed in tests_of_it:
            say(f"    {'passed' if passed else 'FAILED'} in {test}")
        for name, what in of.supplied.get(title, {}).items():
            say(f"    given {name}: {what}")
        if title in of.notes:
            say(f"    note: {of.notes[title]}")
    return sum(bool(of_it) and all(passed for _, passed in of_it) for of_it in ran.values())


def main() -> None:
    """Run everything and print it."""
    passed, count = sum(map(blocks, PAGES)), sum(len(list(of.titles)) for of in PAGES)
    recorder = SpanRecorder()
    trace.set_tracer_provider(recorder.tracer_provider)
    metrics.set_meter_provider(recorder.meter_provider)
    _logs.set_logger_provider(recorder.logger_provider)
    with OpenAIServer() as server:
        point_client_at(server.base_url)
        for example in ALL:
            reset()
            recorder.clear()
            example.run()
            say(f"\n{example.page}: {example.file}")
            spans = [span for span in recorder.records if not span.name.endswith((" http send", " http receive"))]
            say("\n".join(line for span in spans for line in lines(span)))
    say(f"\n{len(ALL)} examples, {passed} of {count} blocks")


if __name__ == "__main__":
    main()
