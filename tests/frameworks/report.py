"""`python -m tests.frameworks.report`: whose the spans of each place in a request are, by framework and telemetry.

Ends with 1 when a span has another one's user, or has none where its request has one by then and a page of
`docs/frameworks` does not say so. Needs the environment that `make slow` makes.
"""
# ruff: noqa: T201 -- a command

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

from tests.frameworks.table import PLACES, SETUPS, ask
from tests.receiving import receiver_process
from tests.running.stage import Stage

WIDTHS = (12, 9, 11, 7)


def main(wanted: list[str]) -> int:
    """Print the rows of the set-ups whose names begin with one of *wanted*; of all without any."""
    wrong = 0
    head = ("framework", "telemetry", "handlers", "said in", *PLACES)
    print(" | ".join(f"{title:{width}}" for title, width in zip(head, (*WIDTHS, *[19] * len(PLACES)))))
    for setup in SETUPS:
        if wanted and not str(setup).startswith(tuple(wanted)):
            continue
        with (
            contextlib.redirect_stdout(sys.stderr),  # a stage tells what its commands printed
            tempfile.TemporaryDirectory() as name,
            receiver_process(Path(name)) as receiver,
        ):
            rows = ask(Stage(Path(name), receiver), setup)
        for (style, where), row in rows.items():
            told = (setup.framework, setup.telemetry, style, where, *(str(row[place]) for place in PLACES))
            print(
                " | ".join(f"{text:{width}}" for text, width in zip(told, (*WIDTHS, *[19] * len(PLACES)))), flush=True
            )
            wrong += sum(cell.wrong for cell in row.values())
            wrong += sum(cell.without for place, cell in row.items() if not setup.loses(style, place))
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
