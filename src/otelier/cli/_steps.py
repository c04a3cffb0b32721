"""Progress of a command: one line for each step, with a spinner while it runs if somebody watches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.status import Status
from rich.text import Text

_TITLE_CHARS = 14


class Steps:
    """Shows the steps of a command on *console*."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, title: str, doing: str) -> Generator[Callable[[str], None]]:
        """Show what is being done until the block ends, and then what was done and how long that took.

        The block gets a function that changes the text; the last one stays on the line.
        """
        started_s = time.monotonic()
        shown = doing
        status = Status(f"{title:<{_TITLE_CHARS}} {doing}", console=self._console)

        def show(text: str) -> None:
            nonlocal shown
            shown = text
            status.update(f"{title:<{_TITLE_CHARS}} {text}")

        mark = ("✗ ", "red")
        try:
            with status:
                yield show
            mark = ("✓ ", "green")
        finally:
            took_s = time.monotonic() - started_s
            took = (f"  {took_s:.1f} s" if took_s >= 0.05 else "", "dim")
            self._console.print(Text.assemble(mark, (f"{title:<{_TITLE_CHARS}} ", "bold"), shown, took))


_WIDTH = 100
"""Columns when the output is no terminal; rich's own 80 would break tables that a log or a file has room for."""


def results() -> Console:
    """Return the console for results."""
    return _console(sys.stdout)


def progress() -> Console:
    """Return the console for progress."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")  # a sign that the terminal does not know must not end the command
    return Console(file=stream, highlight=False, width=None if stream.isatty() else _WIDTH)
