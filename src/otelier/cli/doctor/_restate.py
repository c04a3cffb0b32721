"""Workflows on Restate: the server and its clock, the workers that it knows, and what it tries again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from otelier.cli._times import lasted
from otelier.cli.doctor._findings import Finding

if TYPE_CHECKING:
    from otelier.workflows.engines.restate import Inspection, WorkerSeen

_AREA: Final = "workflows"
_APART_S: Final = 2.0
"""How far two clocks may be apart: less is the work of those who correct them."""
_MAX_TOLD: Final = 3
_MOVED: Final = (
    " If it has another URL now, lead these runs to it: PATCH /deployments/{id} of the server's admin side, with "
    '{{"uri": "URL/vN"}}.'
)


def of_server(seen: Inspection) -> Iterator[Finding]:
    """Yield what a server tells of itself and of its workers."""
    place = f"Restate's server {seen.version} at {seen.address}"
    if seen.oldest is not None:
        yield Finding(
            area=_AREA,
            severity="error",
            what=f"runs are kept on {place}, which is too old",
            why="It does not keep signals by name, so a run could lose one: no worker and no client uses it.",
            do=f"Use {seen.oldest} or later: npx @restatedev/restate-server",
        )
        return
    yield _ok(f"runs are kept on {place}")
    if seen.ingress_trouble is not None:
        yield Finding(
            area=_AREA,
            severity="error",
            what="its ingress does not answer, only its admin side does",
            why=f"Nothing can be started, signalled or decided. It says: {seen.ingress_trouble}",
            do="Name its port in OTELIER_ENGINE: restate://HOST[:8080][?admin=9070]",
        )
    if seen.ahead_s is not None:
        yield _clocks(seen.ahead_s)
    if not seen.workers:
        yield Finding(
            area=_AREA,
            severity="note",
            what="no worker is registered with it",
            why="It takes no run before one is.",
            do="Start one: otelier worker MODULE",
        )
    for worker in seen.workers:
        yield _worker(worker)
    for many, words in seen.failing[:_MAX_TOLD]:
        yield Finding(
            area=_AREA,
            severity="warning",
            what=f"the server tries {many} call{'' if many == 1 else 's'} of workers again and again",
            why=f"They stand still until one of the tries gets through. The server says: {words}",
            do="otelier runs --health retrying lists the runs among them.",
        )


def _clocks(ahead_s: float) -> Finding:
    if abs(ahead_s) <= _APART_S:
        return _ok("the server's clock and this machine's agree")
    return Finding(
        area=_AREA,
        severity="warning",
        what=f"the server's clock is {lasted(abs(ahead_s))} {'ahead of' if ahead_s > 0 else 'behind'} this machine's",
        why="Times of waits, deadlines and traces come from both, and do not fit together.",
        do="Look which one is right, such as by timedatectl on both machines.",
    )


def _worker(worker: WorkerSeen) -> Finding:
    has = ", ".join(worker.services) or "nothing of its own"
    what = f"version {worker.version} at {worker.url} has {has}"
    runs = f"{worker.open_runs} open run{'' if worker.open_runs == 1 else 's'} began there"
    if worker.trouble is None:
        return _ok(f"{what}; {runs}")
    if not worker.is_current and not worker.open_runs:
        return Finding(
            area=_AREA,
            severity="note",
            what=f"{what}; the server does not reach it, and nothing needs it any more",
            why=f"The server says: {worker.trouble}",
        )
    needs = " and ".join(
        [*(["new runs begin there"] if worker.is_current else []), *([runs] if worker.open_runs else [])]
    )
    return Finding(
        area=_AREA,
        severity="warning",
        what=f"{what}; the server does not reach it",
        why=f"{needs[0].upper()}{needs[1:]}: they wait for it. The server says: {worker.trouble}",
        do="Start its worker there again." + (_MOVED.format(id=worker.id) if worker.open_runs else ""),
    )


def _ok(what: str) -> Finding:
    return Finding(area=_AREA, severity="ok", what=what)
