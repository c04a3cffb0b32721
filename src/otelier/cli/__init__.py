"""The command line: `otelier demo`, `otelier doctor`, and those of workflows.

Nothing here is loaded by `import otelier`, and typer and rich (extra `cli`) only by `main`.
"""

from __future__ import annotations

from otelier.cli._main import main

__all__ = ["main"]
