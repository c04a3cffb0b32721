"""A day at the desk: what each command says of 1,000 runs, and what the verbs do to many of them."""

from __future__ import annotations

import json
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from otelier.cli._commands import app
from otelier.cli.runs import _list
from tests.cli.desk import HEALTHS, NUMBERS, desk, minutes_of
from tests.waiting import until


def test_a_day_at_the_desk(place: Path | str, monkeypatch: pytest.MonkeyPatch):
    """Lists tell the most urgent first, approvals come in the order of their deadlines, and verbs reach all."""
    with desk(place) as engine:

        def otelier(*arguments: str, stdin: str = "", code: int = 0) -> Any:
            done = CliRunner().invoke(app, [*arguments, "--engine", engine], input=stdin)
            assert done.exit_code == code, (done.output, done.exception)
            return done

        def listed(*arguments: str) -> list[Any]:
            return json.loads(otelier(*arguments, "--json").stdout)

        def healths() -> dict[str, int]:
            return Counter(one["health"] for one in listed("runs", "--limit", "1000"))

        # --- the morning: what is there?
        found = listed("runs", "--limit", "1000")
        assert {health: len(list(some)) for health, some in groupby(found, lambda one: one["health"])} == HEALTHS
        assert list(HEALTHS) == [health for health, _ in groupby(found, lambda one: one["health"])]
        shown = otelier("runs").stdout.splitlines()
        assert [line for line in shown if line.startswith("blocked")] == shown[0:100:2]
        assert all("'charge'" in line and "'bill'" in line for line in shown[1:100:2])
        assert shown[-1].startswith("The first 50")
        assert len(listed("runs", "--health", "retrying", "--limit", "1000")) == NUMBERS["flaky"]
        assert "\nwaits until 20" in otelier("show", "flaky-3").stdout
        assert "→ ConnectionError: bank " in otelier("runs", "--health", "retrying").stdout
        assert len(listed("runs", "--handler", "paid", "--limit", "1000")) == NUMBERS["paid"]
        assert (
            otelier("runs", "--older", "1h").stderr
            == "otelier: There are no runs with an age of more than 1 h 0 min.\n"
        )

        monkeypatch.setattr(_list, "_MAX_LOOKED_AT", 200)
        some = otelier("runs", "--handler", "flaky", "--limit", "300")
        assert "Looked at 200 runs of a status, and there are more." in some.stderr
        monkeypatch.undo()

        # --- decisions, the next to expire first
        asked = listed("approvals")
        by_deadline = sorted(range(NUMBERS["refund"]), key=minutes_of)
        assert [one["workflow_id"] for one in asked] == [f"refund-{n}" for n in by_deadline]
        boss = [one["workflow_id"] for one in asked if one["required_roles"]]
        others = [one["workflow_id"] for one in asked if not one["required_roles"]]
        refused = otelier("approve", "-", "--name", "refund", stdin="\n".join([*boss[:2], others[0]]), code=1)
        assert refused.stderr.count("needs the role 'boss'") == 2
        assert refused.stdout.startswith(f"✓ {others[0]} approved")
        done = otelier("approve", "-", "--name", "refund", "--role", "boss", stdin="\n".join([*boss, *others[1:100]]))
        assert [line.split()[1] for line in done.stdout.splitlines()] == [*boss, *others[1:100]]
        otelier("reject", *others[100:], "--name", "refund")
        assert otelier("approvals").stderr == "otelier: No run waits for a decision.\n"

        # --- the rest
        some = "\n".join(f"paid-{n}" for n in range(NUMBERS["paid"]))
        assert otelier("signal", "-", "--name", "paid", stdin=some).stdout.count("was sent 'paid'") == NUMBERS["paid"]
        blocked = "\n".join(one["workflow_id"] for one in found[: NUMBERS["changed"]])
        assert otelier("resume", "-", stdin=blocked).stdout.count("begins again") == NUMBERS["changed"]
        otelier("cancel", *(f"flaky-{n}" for n in range(NUMBERS["flaky"])))
        evening = {"blocked": 50, "completed": 800, "failed": 50, "cancelled": 100}
        until(lambda: healths() == evening, every_s=0.2)
        assert otelier("resume", "flaky-0", "changed-0", code=1).stdout == "✓ changed-0 begins again\n"
        assert "→ ValueError: account 7 is closed" in otelier("show", "settle-7").stdout
