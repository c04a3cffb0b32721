"""`--watch`: what a command shows, shown anew every 2 seconds until Ctrl-C."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Annotated, Any, Final, TypeAlias, TypeVar

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from otelier.cli._steps import results
from otelier.cli._times import clock
from otelier.cli.runs._asking import ask

T = TypeVar("T")
_EVERY_S: Final = 2.0

WatchOption: TypeAlias = Annotated[
    bool, typer.Option("--watch", help="Show it anew every 2 seconds, until Ctrl-C; in a pipe one below the other.")
]


def shown(
    look: Callable[[], Coroutine[Any, Any, T]],
    show: Callable[[T, Console], None],
    doing: str,
    *,
    watch: bool,
    is_text: bool,
    is_over: Callable[[T], bool] = lambda _: False,
) -> None:
    """Show what *look* gives; with *watch* again and again, in a terminal in the same place.

    Args:
        look: Asks the engine.
        show: Prints what it gave.
        doing: What is told while that takes long.
        watch: Whether to go on until Ctrl-C.
        is_text: Whether it is for people: JSON is printed one below the other in a terminal, too.
        is_over: Whether nothing more will change, which ends it as well.
    """
    console = results()
    if not watch:
        show(ask(look(), doing), console)
        return
    try:
        # Asked before a terminal is drawn on, which would mix that with what tells of a long wait.
        answers = _answers(ask(look(), doing), look, is_over)
        if is_text and console.is_terminal and not console.is_dumb_terminal:
            _redraw(answers, show, console)
        else:
            _print(answers, show, console)
    except KeyboardInterrupt:  # which is how it is meant to end
        pass


def _answers(
    found: T, look: Callable[[], Coroutine[Any, Any, T]], is_over: Callable[[T], bool]
) -> Iterator[tuple[T, bool]]:
    """Yield *found* and then what *look* gives every 2 seconds, each with whether it is the last."""
    while not is_over(found):
        yield found, False
        time.sleep(_EVERY_S)
        found = asyncio.run(look())
    yield found, True


def _print(answers: Iterable[tuple[T, bool]], show: Callable[[T, Console], None], console: Console) -> None:
    for number, (found, _) in enumerate(answers):
        if number:
            console.print()
        show(found, console)
        console.file.flush()  # who reads the pipe waits for it


def _redraw(answers: Iterable[tuple[T, bool]], show: Callable[[T, Console], None], console: Console) -> None:
    # It writes each picture at once, over the former one, and the last one stays.
    with Live(console=console, auto_refresh=False) as live:
        for found, is_last in answers:
            drawn = _drawn(found, show, console)
            if not is_last:
                now = clock(time.time_ns(), "%H:%M:%S")
                drawn.append(f"{now}, every {_EVERY_S:g} s; Ctrl-C ends it.", "dim")
            live.update(drawn, refresh=True)


def _drawn(found: T, show: Callable[[T, Console], None], console: Console) -> Text:
    """Return what *show* prints for a terminal as wide as it is now."""
    page = Console(
        file=io.StringIO(),
        width=console.width,
        force_terminal=True,
        color_system=console.color_system,  # pyright: ignore[reportArgumentType] -- one of those names
        no_color=console.no_color,
        highlight=False,
    )
    show(found, page)
    assert isinstance(page.file, io.StringIO)
    return Text.from_ansi(page.file.getvalue(), end="").append("\n")
