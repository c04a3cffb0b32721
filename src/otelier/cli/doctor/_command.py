"""`otelier doctor`: print the diagnosis."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from otelier.cli._steps import progress, results
from otelier.cli.doctor._findings import Finding, Severity

_MARKS: dict[Severity, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "note": ("·", "dim"),
    "warning": ("!", "yellow"),
    "error": ("✗", "red"),
}


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check what is active, what is wrong and how to fix it.

    Run it with the environment of your service.
    `opentelemetry-instrument otelier doctor` shows what opentelemetry-instrument sets up.
    The exit code is 1 if something does not work.
    Headers and passwords are never printed.
    """
    # Imported here: it loads the SDK and the instrumentor.
    from otelier.cli.doctor._diagnosis import diagnose

    with progress().status("looking at this process and its environment"):
        findings = diagnose()
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        show(findings, results())
    if any(finding.severity == "error" for finding in findings):
        raise typer.Exit(1)


def show(findings: Iterable[Finding], console: Console) -> None:
    """Print *findings* by area, with what to do below what is wrong, and their numbers at the end."""
    listed = list(findings)
    former = None
    for finding in listed:
        if finding.area != former:
            console.print(Text(f"\n{finding.area}" if former else finding.area, "bold"))
            former = finding.area
        mark, style = _MARKS[finding.severity]
        said = (finding.what, "dim" if finding.severity == "note" else "")
        _print(console, Text.assemble((f"{mark} ", style), said), hanging=2)
        if finding.why:
            _print(console, Text.assemble("  ", (finding.why, "dim")), hanging=2)
        if finding.do:
            _print(console, Text.assemble(("  → ", style), finding.do), hanging=4)
    console.print(Text(f"\n{summary(listed)}", "bold"))


def summary(findings: Iterable[Finding]) -> str:
    """Return how many findings of each severity there are.

    Example:
        >>> summary([Finding(area="a", severity="error", what="b"), Finding(area="a", severity="ok", what="c")])
        '1 error, 0 warnings.'
    """
    numbers = Counter(finding.severity for finding in findings)
    errors, warnings = numbers["error"], numbers["warning"]
    if not errors and not warnings:
        return "Nothing is wrong."
    return f"{errors} error{'' if errors == 1 else 's'}, {warnings} warning{'' if warnings == 1 else 's'}."


def _print(console: Console, text: Text, *, hanging: int) -> None:
    """Print *text* two columns in, and its further lines *hanging* columns more."""
    indent = 2
    for number, line in enumerate(text.wrap(console, console.width - indent - hanging)):
        line.rstrip()
        console.print(Text.assemble(" " * (indent + (hanging if number else 0)), line))
