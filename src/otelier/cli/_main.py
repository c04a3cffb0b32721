"""The entry point: checks for the extra `cli`, and turns errors of ours into one line."""

from __future__ import annotations

import os
import sys

from otelier.cli._extras import require
from otelier.errors import OtelierError


def main() -> None:
    """Run the command that the command line names; what goes wrong is one line on stderr and exit code 1."""
    _open_streams()
    try:
        require("cli", "typer", "rich")
        # Imported here: this module must load without the extra, to say that it is missing.
        from otelier.cli._commands import app

        app()
    except OtelierError as error:
        print(f"otelier: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # such as a full disk under `> file`; what else can fail is told as an error of ours
        print(f"otelier: Cannot write the output: {error.strerror or error}.", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in the buffer would fail again
        sys.exit(1)


def _open_streams() -> None:
    """Give a process that was started with closed streams some: the next file it opens would be its output."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 -- for as long as the process
