"""The page about operating workflows: its commands print what it shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.children import OTELIER, environment
from tests.waiting import until

PAGE = (Path(__file__).parents[2] / "docs" / "workflow-operating.md").read_text(encoding="utf-8")
MODULE, START, *_ = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SHOWN = [
    tuple(one.rstrip("\n").split("\n", 1))
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for one in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
]
OPEN = {
    "blocked": ["invoice-3", "invoice-4"], "waiting approval": ["order-1", "order-2"], "retrying": ["settle-5"],
    "waiting": ["parcel-6"], "failed": ["parcel-7"],
}  # fmt: skip
NO_TIME = [
    (r"file:\S+", "file:PATH"),
    (r"trace/[0-9a-f]{32}", "trace/ID"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\+00:00)?|\d\d-\d\d \d\d:\d\d", "DATE"),
    (r" *[█░]+ +", " BAR "),
    (r"\b\d+(\.\d+)? (ms|s|min|h|d)( \d+ (s|min|h))?\b", "TIME"),
]


def without_times(text: str) -> str:
    """Return *text* as it is at any time, on any machine."""
    for pattern, name in NO_TIME:
        text = re.sub(pattern, name, text)
    return " ".join(text.split())  # a line that is a little longer is broken elsewhere


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("jq") is None, reason="its commands use jq")
def test_its_commands_print_what_it_shows(tmp_path: Path):
    """Each command of the page, in its order, prints what is below it, but for times."""
    around = {
        **environment(), "PATH": f"{Path(OTELIER).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100",
        "OTELIER_ENGINE": f"file:{tmp_path / 'runs.db'}",
    }  # fmt: skip

    def runs() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for one in json.loads(run("otelier runs --json")):
            found.setdefault(one["health"], []).append(one["workflow_id"])
        return {health: sorted(ids) for health, ids in found.items()}

    def run(command: str) -> str:
        done = subprocess.run(command, shell=True, cwd=tmp_path, env=around, text=True, capture_output=True)
        return done.stdout or done.stderr  # a slow command tells there what it does

    @contextmanager
    def working(module: str) -> Iterator[str]:
        (tmp_path / "shop.py").write_text(module, encoding="utf-8")
        with subprocess.Popen(
            [OTELIER, "worker", "shop"], cwd=tmp_path, env=around, text=True, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline() + process.stdout.readline()
            finally:
                process.terminate()

    def shows(command: str, shown: str) -> None:
        wanted, said = without_times(shown), without_times(run(command))
        ends = time.monotonic() + 60
        while said != wanted and re.search(r"otelier (runs|show)[^|]*$", command) and time.monotonic() < ends:
            said = without_times(run(command))  # what it shows comes to be
        assert said == wanted, command

    (tmp_path / "start.py").write_text(START, encoding="utf-8")
    (_, served), *commands = SHOWN
    mended = next(number for number, (command, _) in enumerate(commands) if command == "otelier worker shop")
    with working(MODULE) as said:
        assert without_times(said) == without_times(served)
        subprocess.run([sys.executable, "start.py"], cwd=tmp_path, env=around, check=True)
        until(lambda: runs().get("waiting") == ["invoice-3", "invoice-4", "parcel-6"])
    with working(MODULE.replace('"book"', '"bill"')):
        until(lambda: runs() == OPEN)
        for command, shown in commands[:mended]:
            shows(command, shown)
    with working(MODULE) as said:
        assert without_times(said) == without_times(commands[mended][1])
        for command, shown in commands[mended + 1 :]:
            shows(command, shown)
        until(lambda: runs().get("waiting") == ["invoice-3", "invoice-4"])
