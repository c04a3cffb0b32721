"""The entry point: checks for the extra `cli`, and turns errors of ours into one line."""

from __future__ import annotations

import sys

from otelier.cli._extras import require
from otelier.errors import OtelierError


def main() -> None:
    """Run the command that the command line names; what goes wrong is one line on stderr and exit code 1."""
    try:
        require("cli", "typer", "rich")
        # Imported here: this module must load without the extra, to say that it is missing.
        from otelier.cli._commands import app

        app()
    except OtelierError as error:
        print(f"otelier: {error}", file=sys.stderr)
        sys.exit(1)
