"""Where commands print: the result on stdout, progress and complaints on stderr."""

from __future__ import annotations

import sys
from typing import TextIO

from rich.console import Console

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
