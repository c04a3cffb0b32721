"""How the commands ask the engine: its address, the ids they are given, and a sign of life while they wait."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, TypeVar

import typer
from rich.console import Console

from otelier import settings
from otelier.cli._steps import progress
from otelier.errors import EngineError, OtelierError, WorkflowUseError

if TYPE_CHECKING:
    from otelier import Client

T = TypeVar("T")
_MAX_IDS: Final = 10_000
_MAX_ID_BYTES: Final = 1_100
_AT_ONCE: Final = 50
_TOLD_AFTER_S: Final = 1.0
_LONG_S: Final = 5.0
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

EngineOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--engine", help="Where runs are kept: file:PATH or restate://HOST. Without it, OTELIER_ENGINE."),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
IdsArgument: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="ID…", help="Workflow ids; - reads them from stdin, one a line.")
]


def open_client(engine: str | None) -> Client:
    """Return a client of an engine that other processes can reach.

    Raises:
        EngineError: if there is none at that address.
    """
    from otelier import Client

    address = settings.ENGINE.value(engine)
    kind, _, path = address.partition(":")
    if kind == "memory":
        raise EngineError(
            "Cannot look into `memory:`, which only the process has that made it. Keep runs in a file, `file:PATH`, "
            "and name that by `--engine` or OTELIER_ENGINE."
        )
    if kind == "file" and path and not (named := Path(path).expanduser()).is_file():
        what = "that is a folder" if named.is_dir() else "there is no such file"
        raise EngineError(
            f"There are no runs in {named.absolute()}: {what}. Name the file of your worker by `--engine file:PATH` "
            "or OTELIER_ENGINE."
        )
    return Client(address)


def ask(work: Coroutine[Any, Any, T], doing: str, *, is_late: bool = False) -> T:
    """Run *work* and return what it gave; after a second a terminal is told what it waits for, after 5 a pipe as well.

    Args:
        work: What is asked.
        doing: What is told.
        is_late: Whether the command takes longer than that already: a terminal is told at once then.

    Raises:
        OtelierError: also for an input that the engine refuses.
    """
    try:
        return asyncio.run(_told(work, doing, is_late))
    except (TypeError, ValueError) as exc:
        if isinstance(exc, OtelierError):
            raise
        raise OtelierError(str(exc)) from exc


async def _told(work: Coroutine[Any, Any, T], doing: str, is_late: bool) -> T:
    task, console = asyncio.ensure_future(work), progress()
    try:
        if console.is_terminal:
            await asyncio.wait((task,), timeout=0 if is_late else _TOLD_AFTER_S)
            if not task.done():
                with console.status(doing):
                    await _waited(task, console, doing)
        else:
            await _waited(task, console, doing)
    finally:
        task.cancel()
    return await task


async def _waited(task: asyncio.Future[T], console: Console, doing: str) -> None:
    """Wait, and tell once what is waited for if that takes long, as it does without a worker."""
    await asyncio.wait((task,), timeout=_LONG_S)
    if not task.done():
        told = (
            f"otelier: still {doing} after {_LONG_S:g} s; `otelier doctor` says whether engine and workers are there."
        )
        console.print(told, markup=False, soft_wrap=True)
        await asyncio.wait((task,))


def ids_of(given: Sequence[str]) -> list[str]:
    """Return the ids that a command line gives, each once, in their order.

    Raises:
        WorkflowUseError: if there are none, or too many.
    """
    found: dict[str, None] = {}
    for one in given:
        if one == "-":
            text = sys.stdin.read(_MAX_IDS * _MAX_ID_BYTES)
            found.update(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
        else:
            found[one] = None
    if not found:
        raise WorkflowUseError("There is no workflow id to work on. Give some, or `-` and one on each line of stdin.")
    if len(found) > _MAX_IDS:
        raise WorkflowUseError(f"Cannot work on more than {_MAX_IDS:,} ids at once. Give them in several calls.")
    return list(found)


def for_each(
    ids: Sequence[str], work: Callable[[str], Awaitable[str]], doing: str, tell: Callable[[str, str], None]
) -> None:
    """Do *work* for each id, some at a time, and tell of each, also if others fail.

    Raises:
        Exit: with code 1, if one of them failed; its error is a line on stderr. With 130 if it was interrupted.
    """

    async def one(run_id: str) -> str | Exception:
        try:
            return await work(run_id)
        except (OtelierError, TypeError, ValueError) as exc:
            return exc

    async def some(part: Sequence[str]) -> list[str | Exception]:
        return await asyncio.gather(*(one(run_id) for run_id in part))

    failed, begun = False, time.monotonic()
    for first in range(0, len(ids), _AT_ONCE):
        part = ids[first : first + _AT_ONCE]
        shown = f"{doing}: {first + 1} to {first + len(part)} of {len(ids)}" if len(ids) > 1 else doing
        try:
            outcomes = ask(some(part), shown, is_late=time.monotonic() - begun > _TOLD_AFTER_S)
        except KeyboardInterrupt:
            rest = ids[first + len(part) :]
            left = f" The {len(rest):,} ids from {printable(rest[0])!r} on were not asked for." if rest else ""
            print(
                f"otelier: Interrupted. What was asked for is kept, and a worker takes it when it runs.{left}",
                file=sys.stderr,
            )
            raise typer.Exit(130) from None
        for run_id, outcome in zip(part, outcomes):
            if isinstance(outcome, Exception):
                failed = True
                print(f"otelier: {printable(str(outcome))}", file=sys.stderr)
            else:
                tell(run_id, outcome)
    if failed:
        raise typer.Exit(1)


def seconds_of(text: str) -> float:
    """Return the seconds that a text such as `90s`, `15m`, `1h` or `7d` means.

    Raises:
        WorkflowUseError: if it means none.

    Example:
        >>> seconds_of("15m")
        900.0
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([smhd])", text, re.ASCII)
    if found is None:
        raise WorkflowUseError(f"Cannot read {text[:40]!r} as a time: write a number and s, m, h or d, such as `1h`.")
    return float(found[1]) * _UNITS[found[2]]


def printable(text: str) -> str:
    """Return *text* without what would move a terminal's cursor: it may be anybody's.

    Example:
        >>> printable("paid\\x1b[2J")
        'paid�[2J'
    """
    return "".join(one if one.isprintable() else " " if one in "\t\n" else "�" for one in text)
