"""`otelier show`: one run, a line for each step and attempt."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from otelier import settings
from otelier.cli._times import clock, iso, lasted
from otelier.cli.runs._asking import EngineOption, JsonOption, open_client, printable
from otelier.cli.runs._list import STYLES, as_data, cut, first_line
from otelier.cli.runs._watch import WatchOption, shown

if TYPE_CHECKING:
    from otelier import Client
    from otelier.workflows import RunInfo, StepInfo

_MAX_TREE: Final = 1_000
_MAX_LEVELS: Final = 20
_TOOK_CHARS: Final = 11
_OPEN: Final = ("running", "waiting", "blocked")


def show(
    workflow_id: Annotated[str, typer.Argument(metavar="RUN", help="Workflow id.")],
    *,
    tree: Annotated[bool, typer.Option("--tree", help="Show the runs that it called as well.")] = False,
    as_json: JsonOption = False,
    watch: WatchOption = False,
    engine: EngineOption = None,
) -> None:
    """Show a run: each step and attempt with its time, its error, and what the run waits for.

    With --watch it ends as well when the run has ended.
    """
    link, client = settings.TRACE_URL.value(), open_client(engine)

    def show_it(found: Mapping[str, RunInfo], console: Console) -> None:
        run = found[workflow_id]
        if as_json:
            print(json.dumps({**_data(run, found), "trace_url": _trace_url(run, link)}, indent=2))
        else:
            _show(run, found, console, _trace_url(run, link))

    shown(
        lambda: _found(client, workflow_id, tree),
        show_it,
        "reading the run",
        watch=watch,
        is_text=not as_json,
        is_over=lambda found: all(run.end_ns is not None for run in found.values()),
    )


def _trace_url(run: RunInfo, link: str | None) -> str | None:
    return None if link is None or run.trace_id is None else link.replace("{trace_id}", run.trace_id)


async def _found(client: Client, workflow_id: str, tree: bool) -> dict[str, RunInfo]:
    """Return the run, and the runs below it, by id."""
    found, wanted = {workflow_id: await client.run(workflow_id)}, [workflow_id]
    while tree and wanted and len(found) < _MAX_TREE:
        for step in found[wanted.pop(0)].steps:
            child = step.run_id
            if step.kind == "call" and child is not None and child not in found and len(found) < _MAX_TREE:
                try:
                    found[child] = await client.run(child)
                except LookupError:  # it is not stored yet
                    continue
                wanted.append(child)
    return found


def _data(run: RunInfo, found: Mapping[str, RunInfo], level: int = 0) -> dict[str, Any]:
    steps = [
        {
            "name": step.name,
            "kind": step.kind,
            "attempt": step.attempt,
            "executions": step.executions,
            "begin": iso(step.begin_ns),
            "end": iso(step.end_ns),
            "error": step.error,
            "run_id": step.run_id,
        }
        for step in run.steps
    ]
    data = {**as_data(run), "waiting_for": run.waiting_for, "trace_id": run.trace_id, "steps": steps}
    children = [child for step in run.steps if (child := _child(step, found)) is not None]
    if children and level < _MAX_LEVELS:
        data["children"] = [_data(child, found, level + 1) for child in children]
    return data


def _child(step: StepInfo, found: Mapping[str, RunInfo]) -> RunInfo | None:
    return found.get(step.run_id) if step.kind == "call" and step.run_id is not None else None


def _show(run: RunInfo, found: Mapping[str, RunInfo], console: Console, link: str | None) -> None:
    now = time.time_ns()
    end = run.end_ns or now
    began = clock(run.begin_ns, "%Y-%m-%d %H:%M:%S")
    health = (run.health, STYLES.get(run.health, ""))
    console.print(Text.assemble((printable(run.workflow_id), "bold"), "  ", health), soft_wrap=True)
    what = f"{run.service}/{run.handler}" + (f" of {run.key!r}" if run.key is not None else "")
    console.print(Text(printable(f"{what}, version {run.version}, began {began}, {_took(run, now)}")), soft_wrap=True)
    if link is not None:
        console.print(Text(link, "dim"), soft_wrap=True)  # cut in two, it is no link
    lines = _Lines(run.begin_ns, end, found)
    lines.add(run, 0)
    lines.show(console)
    if run.waiting_for is not None:
        told = f"waits {'' if run.waiting_for.startswith('until ') else 'for '}{run.waiting_for}"
        console.print(Text(printable(told), "cyan"), soft_wrap=True)
    if run.error is not None:
        console.print(Text(f"→ {first_line(run.error)}", STYLES.get(run.status, "red")))
    elif run.status == "completed":
        told = printable(json.dumps(run.result, ensure_ascii=False))
        console.print(Text(f"→ {cut(told, console.width - 2)}", "green"), soft_wrap=True)
    if len(found) == _MAX_TREE:
        console.print(Text(f"Only {_MAX_TREE:,} runs of the tree are shown.", "dim"))


def _took(run: RunInfo, now: int) -> str:
    seconds = ((run.end_ns or now) - run.begin_ns) / 1e9
    return f"{'took' if run.end_ns is not None else 'for'} {lasted(seconds)}"


class _Lines:
    """The steps of a run and of those below it, on one axis of time."""

    def __init__(self, begin: int, end: int, found: Mapping[str, RunInfo]) -> None:
        self.begin, self.end, self.found = begin, end, found
        self.rows: list[tuple[str, StepInfo, int | None]] = []
        """Name, step, and the end of its run."""

    def add(self, run: RunInfo, level: int) -> None:
        """Add the steps of a run, and of its children below those that called them."""
        for step in run.steps:
            name = step.name if step.kind in ("step", "approval") else f"{step.kind} {step.name}"
            if step.kind == "sleep":
                name = "sleep"
            elif step.kind == "step" and step.attempt > 1:
                name = f"{name}, attempt {step.attempt}"
            if step.kind == "step" and step.executions > 1:
                name = f"{name} (begun {step.executions} times)"
            if step.kind == "approval":
                name = f"approval {name}"
            self.rows.append(("  " * level + printable(name), step, run.end_ns))
            child = _child(step, self.found)
            if child is not None and level < _MAX_LEVELS:
                self.end = max(self.end, child.end_ns or self.end)
                self.add(child, level + 1)

    def show(self, console: Console) -> None:
        """Print a line for each."""
        if not self.rows:
            return
        names = min(max(len(name) for name, _, _ in self.rows), max(console.width // 2 - 8, 16))
        bar = max(console.width - names - _TOOK_CHARS - 4, 8)
        for name, step, run_end in self.rows:
            console.print(self._line(name, step, run_end, names, bar), soft_wrap=True)
            if step.error is not None:
                console.print(Text(f"    → {printable(step.error)}", "red"))

    def _line(self, name: str, step: StepInfo, run_end: int | None, names: int, width: int) -> Text:
        ended = step.end_ns or run_end  # a run that is cancelled ends before what it waits for
        is_open, end = ended is None, self.end if ended is None else ended
        mark, style = ("… ", "cyan") if is_open else ("· ", "dim") if step.end_ns is None else ("✓ ", "green")
        if step.error is not None:
            mark, style = "✗ ", "red"
        first, last = self._column(step.begin_ns, width), self._column(end, width)
        block = "█" if step.kind == "step" else "░"
        drawn = f"{' ' * first}{block * max(last - first, 1)}"[:width]
        took = lasted((end - step.begin_ns) / 1e9) + ("…" if is_open else "")
        shown = f"{cut(name, names):<{names}} "
        return Text.assemble((mark, style), shown, (f"{drawn:<{width}} ", style), (f"{took:>{_TOOK_CHARS}}", "dim"))

    def _column(self, at: int, width: int) -> int:
        whole = max(self.end - self.begin, 1)
        return min(max((at - self.begin) * width // whole, 0), width - 1 if at < self.end else width)
