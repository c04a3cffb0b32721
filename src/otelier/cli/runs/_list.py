"""`otelier runs` and `otelier approvals`: lists."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, cast, get_args

import typer
from rich.console import Console
from rich.text import Text

from otelier.cli._times import clock, iso, lasted
from otelier.cli.runs._asking import (
    EngineOption,
    JsonOption,
    open_client,
    printable,
    seconds_of,
)
from otelier.cli.runs._watch import WatchOption, shown
from otelier.errors import WorkflowUseError

if TYPE_CHECKING:
    from otelier import Client
    from otelier.workflows import PendingApproval, RunInfo

Status: TypeAlias = Literal["running", "waiting", "blocked", "completed", "failed", "cancelled"]
STYLES: Final = {
    "blocked": "bold red",
    "waiting approval": "bold yellow",
    "retrying": "yellow",
    "waiting": "cyan",
    "running": "bold cyan",
    "failed": "red",
    "cancelled": "dim",
    "completed": "green",
}
"""How each health looks, in the order in which lists show them."""
_HEALTHS: Final = tuple(STYLES)
_OF_HEALTH: Final[dict[str, tuple[Status, ...]]] = {
    "waiting approval": ("waiting", "running"),
    "retrying": ("waiting", "running"),
}
_WIDE: Final = 90
"""Columns that have room for how long a run took."""
_MAX_SHOWN: Final = 10_000
_MAX_LOOKED_AT: Final = 10_000


def runs(
    *,
    status: Annotated[str | None, typer.Option(help=f"One of {', '.join(get_args(Status))}.")] = None,
    service: Annotated[str | None, typer.Option(help="Service of the runs.")] = None,
    health: Annotated[str | None, typer.Option(help=f"One of {', '.join(_HEALTHS)}.")] = None,
    handler: Annotated[str | None, typer.Option(help="Workflow, function or Type.method.")] = None,
    older: Annotated[str | None, typer.Option(help="Only those that began longer ago, such as 1h.")] = None,
    limit: Annotated[int, typer.Option(help="How many at most.")] = 50,
    as_json: JsonOption = False,
    watch: WatchOption = False,
    engine: EngineOption = None,
) -> None:
    """List runs: blocked ones first, then those that wait for a person, and the ended ones last."""
    _check("--status", status, get_args(Status))
    _check("--health", health, _HEALTHS)
    if not 1 <= limit <= _MAX_SHOWN:
        raise WorkflowUseError(f"Cannot list {limit} runs: `--limit` is a number from 1 to {_MAX_SHOWN:,}.")
    older_s = None if older is None else seconds_of(older)
    asked = _Asked(cast("Status | None", status), service, health, handler, older_s, limit)
    client = open_client(engine)

    def show(answer: tuple[Sequence[RunInfo], bool], console: Console) -> None:
        found, is_cut = answer
        if as_json:
            print(json.dumps([as_data(one) for one in found], indent=2))
        elif found:
            _show_runs(found, console, asked)
        if not found:
            _tell_of_none(f"There are no runs{asked.told()}.", console, watch=watch, as_json=as_json)
        if is_cut:
            told = (
                f"otelier: Looked at {_MAX_LOOKED_AT:,} runs of a status, and there are more. Name a `--service` too."
            )
            print(told, file=sys.stderr)

    shown(lambda: _find(client, asked), show, "reading the runs", watch=watch, is_text=not as_json)


@dataclasses.dataclass(frozen=True)
class _Asked:
    status: Status | None
    service: str | None
    health: str | None
    handler: str | None
    older_s: float | None
    limit: int

    def fits(self, run: RunInfo) -> bool:
        return (
            (self.health is None or run.health == self.health)
            and (self.handler is None or run.handler == self.handler)
            and (self.older_s is None or run.begin_ns < time.time_ns() - int(self.older_s * 1e9))
        )

    def told(self) -> str:
        """Return what is asked for as the end of a sentence, so that a wrong filter is seen."""
        named = {"status": self.status, "health": self.health, "service": self.service, "handler": self.handler}
        parts = [f"{name} {value!r}" for name, value in named.items() if value is not None]
        if self.older_s is not None:
            parts.append(f"an age of more than {lasted(self.older_s)}")
        return f" with {', '.join(parts)}" if parts else " yet"

    @property
    def statuses(self) -> Sequence[Sequence[Status]]:
        """The statuses that may have what is asked for, the most urgent first; those that mix stand together."""
        if self.status is not None:
            return ((self.status,),)
        if self.health is not None:
            return (_OF_HEALTH.get(self.health, (cast("Status", self.health),)),)
        return (("blocked",), ("waiting", "running"), ("failed",), ("cancelled",), ("completed",))


async def _find(client: Client, asked: _Asked) -> tuple[list[RunInfo], bool]:
    """Return what is asked for, and whether there may be more of it than was looked at."""
    # An engine lists open runs by health: without a filter, and for the first health of a status, the first ones do.
    sieved = asked.handler is not None or asked.older_s is not None or asked.health in ("retrying", "waiting")
    most = _MAX_LOOKED_AT if sieved else asked.limit
    found: dict[str, RunInfo] = {}  # one that changes meanwhile may be listed twice
    is_cut = False
    for statuses in asked.statuses:
        for status in statuses:
            listed = await client.runs(status=status, service=asked.service, limit=most)
            is_cut |= sieved and len(listed) == most
            found.update((one.workflow_id, one) for one in listed if asked.fits(one))
        if len(found) >= asked.limit:  # what follows is less urgent
            break
    ordered = sorted(found.values(), key=lambda one: (_rank(one.health), -one.begin_ns))
    return ordered[: asked.limit], is_cut and len(ordered) < asked.limit


def _rank(health: str) -> int:
    return _HEALTHS.index(health) if health in _HEALTHS else len(_HEALTHS)


def _check(option: str, value: str | None, choices: Sequence[str]) -> None:
    if value is not None and value not in choices:
        raise WorkflowUseError(f"Cannot list runs by {option} {value[:40]!r}: it is one of {', '.join(choices)}.")


def as_data(run: RunInfo) -> dict[str, Any]:
    """Return what `--json` prints of a run."""
    return {
        "workflow_id": run.workflow_id,
        "service": run.service,
        "handler": run.handler,
        "key": run.key,
        "status": run.status,
        "health": run.health,
        "version": run.version,
        "parent_id": run.parent_id,
        "begin": iso(run.begin_ns),
        "end": iso(run.end_ns),
        "result": run.result,
        "error": run.error,
    }


def _tell_of_none(text: str, console: Console, *, watch: bool, as_json: bool) -> None:
    """Say that there is nothing: what reads the output gets nothing, or `[]`; what is watched has it in its place."""
    if not watch:
        print(f"otelier: {printable(text)}", file=sys.stderr)
    elif not as_json:
        console.print(Text(printable(text)), soft_wrap=True)


def _show_runs(found: Sequence[RunInfo], console: Console, asked: _Asked) -> None:
    names = [printable(f"{one.service}/{one.handler}") for one in found]
    id_width = min(max(len(one.workflow_id) for one in found), 36)
    is_wide = console.width >= _WIDE
    name_width = min(max(map(len, names)), max(console.width - id_width - (43 if is_wide else 31), 12))
    for one, name in zip(found, names):
        took = lasted(((one.end_ns or time.time_ns()) - one.begin_ns) / 1e9)
        began = clock(one.begin_ns, "%m-%d %H:%M")
        head = Text.assemble(
            (f"{one.health:<16} ", STYLES.get(one.health, "")), (f"{printable(one.workflow_id):<{id_width}}", "bold")
        )
        rest = Text.assemble(
            f"{cut(name, name_width):<{name_width}} ", (f"{began} {took}" if is_wide else began, "dim")
        )
        if head.cell_len + 1 + rest.cell_len > console.width:  # an id is not cut: people copy it
            console.print(head, soft_wrap=True)
            console.print(Text.assemble(f"  {cut(name, max(console.width - 14, 8))} ", (began, "dim")), soft_wrap=True)
        else:
            console.print(Text.assemble(head, " ", rest), soft_wrap=True)
        if one.error is not None:
            # The line above says which run it is, and that it is blocked.
            told = first_line(one.error).replace(f"Run {one.workflow_id!r} is blocked: ", "", 1)
            console.print(Text(f"  → {cut(told, console.width - 4)}", "dim"), soft_wrap=True)
    if len(found) == asked.limit:
        console.print(Text(f"The first {asked.limit}; `--limit` shows more, `otelier show ID` one of them.", "dim"))


def first_line(error: Any) -> str:
    """Return what a line has room for of a stored error."""
    return printable(f"{error.get('type')}: {error.get('message')}".partition("\n")[0])


def cut(text: str, width: int) -> str:
    """Return the beginning of *text* that *width* columns hold.

    Example:
        >>> cut("orders/refund", 8)
        'orders/…'
    """
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"


def approvals(*, as_json: JsonOption = False, watch: WatchOption = False, engine: EngineOption = None) -> None:
    """List what open runs ask people for, the earliest deadline first."""

    def show(found: Sequence[PendingApproval], console: Console) -> None:
        if as_json:
            print(json.dumps([_approval_data(one) for one in found], indent=2))
        elif found:
            _show_approvals(found, console)
        if not found:
            _tell_of_none("No run waits for a decision.", console, watch=watch, as_json=as_json)

    shown(open_client(engine).approvals, show, "reading the approvals", watch=watch, is_text=not as_json)


def _approval_data(one: PendingApproval) -> dict[str, Any]:
    return {
        **dataclasses.asdict(one),
        "required_roles": list(one.required_roles),
        "asked_at": one.asked_at.isoformat(),
        "deadline": None if one.deadline is None else one.deadline.isoformat(),
    }


def _show_approvals(found: Sequence[PendingApproval], console: Console) -> None:
    now = datetime.now(timezone.utc)
    for one in found:
        until = "no deadline" if one.deadline is None else f"expires in {lasted((one.deadline - now).total_seconds())}"
        if one.deadline is not None and one.deadline <= now:
            until = "expires as soon as a worker runs"
        roles = f", needs {' or '.join(one.required_roles)}" if one.required_roles else ""
        head = Text.assemble((printable(one.workflow_id), "bold"), "  ", (printable(one.name), "yellow"))
        console.print(head, soft_wrap=True)
        asks = f"  {one.service}/{one.handler}, {until}{roles}"
        console.print(Text(printable(asks)), soft_wrap=True)
        if one.payload is not None:
            told = printable(json.dumps(one.payload, ensure_ascii=False))
            console.print(Text(f"  {cut(told, console.width - 2)}", "dim"), soft_wrap=True)
    console.print(Text("Decide: otelier approve ID --name NAME, or otelier reject ID --name NAME.", "dim"))
