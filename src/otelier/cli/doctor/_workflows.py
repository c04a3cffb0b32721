"""Workflows: where runs are kept, who drives them, and what waits for somebody.

No finding has ids or payloads of runs: a diagnosis is shown to others.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Final

from otelier import settings
from otelier.cli._times import lasted
from otelier.cli.doctor._findings import Finding
from otelier.cli.doctor._restate import of_server
from otelier.errors import OtelierError

if TYPE_CHECKING:
    from otelier.workflows import Client, PendingApproval, RunInfo
    from otelier.workflows.engines.restate import Inspection

_AREA: Final = "workflows"
_MAX_OPEN: Final = 100_000
_LATEST: Final = 100
_AHEAD_S: Final = 2.0
"""How far ahead of the clock a recorded time may be: less is the work of those who correct clocks."""


def workflows() -> Iterator[Finding]:
    """Yield what is known of the runs of the engine that `OTELIER_ENGINE` names; nothing where none were ever kept."""
    address = settings.ENGINE.value()
    kind, _, path = address.partition(":")
    if kind == "memory":
        yield _note("runs are kept in memory", "Only the process of their worker can look at them.")
        return
    file = Path(path).expanduser() if kind == "file" and path else None
    if file is not None:
        if not file.exists():
            if address == settings.ENGINE.default:  # a program without workflows
                return
            yield _note(f"no runs are kept in {file.absolute()}: there is no such file", "No worker has made it yet.")
            return
        address = f"file:{file.resolve()}"
    from otelier.workflows import Client  # what it loads costs time, and is not needed above

    try:
        client = Client(address)
        if file is None:
            server = _seen(address)
            yield from of_server(server)
            if server.oldest is not None:
                return
        found = asyncio.run(_look(client))
    except OtelierError as error:
        yield Finding(
            area=_AREA,
            severity="error",
            what=f"the engine {address} cannot be used",
            why=str(error),
            do="Mend that, or name another one in OTELIER_ENGINE.",
        )
        return
    if file is not None:
        yield Finding(area=_AREA, severity="ok", what=f"runs are kept in {address}")
        yield _driver(file.resolve(), found)
    yield from _open(found)
    yield from _asked(found.approvals)
    yield from _clock(found)


def _seen(address: str) -> Inspection:
    from otelier.workflows.engines.restate import inspect  # an extra, which `Client` has asked for

    return asyncio.run(inspect(address))


@dataclass(frozen=True)
class _Found:
    open: Sequence[RunInfo]
    latest: Sequence[RunInfo]
    approvals: Sequence[PendingApproval]


async def _look(client: Client) -> _Found:
    found: list[RunInfo] = []
    for status in ("blocked", "waiting", "running"):
        found += await client.runs(status=status, limit=_MAX_OPEN)
    return _Found(found, await client.runs(limit=_LATEST), await client.approvals())


def _driver(path: Path, found: _Found) -> Finding:
    from otelier.workflows.engines.local import attendance

    now = attendance(path)
    if now.is_driven:
        who = "a worker" if now.driver is None else f"the worker of process {now.driver}"
        others = f"{'process' if len(now.standbys) == 1 else 'processes'} {', '.join(map(str, now.standbys))}"
        standby = f"; {others} stand{'s' if len(now.standbys) == 1 else ''} by" if now.standbys else ""
        if now.driver is not None and not now.standbys:
            standby = "; none stands by"
        return Finding(area=_AREA, severity="ok", what=f"{who} drives the runs{standby}")
    if not found.open:
        return _note("no worker drives the runs", "None is open, so nothing waits for one.")
    return Finding(
        area=_AREA,
        severity="warning",
        what=f"no worker drives the runs, and {_runs(len(found.open))} open",
        why="What is open stands still, and what is asked for waits.",
        do="Start one: otelier worker MODULE",
    )


def _open(found: _Found) -> Iterator[Finding]:
    healths = Counter(run.health for run in found.open)
    told = ", ".join(f"{count} {health}" for health, count in healths.most_common())
    versions = Counter(run.version for run in found.open)
    of = ", ".join(f"{count} of version {version}" for version, count in sorted(versions.items()))
    if found.open:
        yield Finding(area=_AREA, severity="ok", what=f"open runs: {told}")
        yield Finding(area=_AREA, severity="ok", what=f"they were started by code of these versions: {of}")
    if healths["blocked"]:
        yield Finding(
            area=_AREA,
            severity="warning",
            what=f"{_runs(healths['blocked'])} blocked",
            why="Their code does not fit what is recorded of them, or was begun again and again without getting on.",
            do="otelier runs --health blocked shows why; after the fix, otelier resume lets them go on.",
        )


def _asked(approvals: Sequence[PendingApproval]) -> Iterator[Finding]:
    if not approvals:
        return
    now = datetime.now(timezone.utc)
    waited = lasted(max((now - one.asked_at).total_seconds() for one in approvals))
    due = [one.deadline for one in approvals if one.deadline is not None]
    first = min(due) if due else None
    until = "" if first is None else f"; the next expires in {lasted((first - now).total_seconds())}"
    if first is not None and first <= now:
        until = "; some expire as soon as a worker runs"
    number = f"{len(approvals)} decision{' is' if len(approvals) == 1 else 's are'}"
    yield _note(
        f"{number} waited for, the oldest for {waited}{until}",
        "Their runs stand still until a person decides.",
        "otelier approvals lists them.",
    )


def _clock(found: _Found) -> Iterator[Finding]:
    times = [at for run in (*found.open, *found.latest) for at in (run.begin_ns, run.end_ns) if at is not None]
    ahead_s = (max(times, default=0) - time.time_ns()) / 1e9
    if ahead_s > _AHEAD_S:
        yield Finding(
            area=_AREA,
            severity="warning",
            what=f"recorded times are {lasted(ahead_s)} ahead of this machine's clock",
            why="It was set back, or the file came from another machine: waits end later by as much.",
            do="Look whether the clock is right, such as by timedatectl.",
        )
    elif times:
        yield Finding(area=_AREA, severity="ok", what="no recorded time is ahead of the clock")


def _runs(count: int) -> str:
    return f"{count} run is" if count == 1 else f"{count} runs are"


def _note(what: str, why: str, do: str | None = None) -> Finding:
    return Finding(area=_AREA, severity="note", what=what, why=why, do=do)
