"""The list of commands."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from otelier.cli.demo import _command as demo
from otelier.cli.doctor import _command as doctor
from otelier.cli.runs import _list, _show, _verbs
from otelier.cli.worker import _command as worker

app = typer.Typer(
    name="otelier",
    help="OpenTelemetry-native runtime context for AI agents.",
    no_args_is_help=True,
    add_completion=False,
    # A fault shall show Python's own traceback, without the values of local variables.
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"otelier {version('otelier')}")
        raise typer.Exit


@app.callback()
def common(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """OpenTelemetry-native runtime context for AI agents."""


app.command("demo")(demo.demo)
app.command("doctor")(doctor.doctor)
app.command("worker")(worker.worker)
app.command("runs")(_list.runs)
app.command("show")(_show.show)
app.command("approvals")(_list.approvals)
app.command("approve")(_verbs.approve)
app.command("reject")(_verbs.reject)
app.command("signal")(_verbs.signal)
app.command("cancel")(_verbs.cancel)
app.command("resume")(_verbs.resume)
