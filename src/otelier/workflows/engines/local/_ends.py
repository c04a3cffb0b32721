"""Ops that wait for the end of another run, in this process."""

from __future__ import annotations

import json
from typing import Any

from otelier.workflows.engines.local import _journal as journal
from otelier.workflows.engines.local._op import LocalOp
from otelier.workflows.engines.local._store import Done


class RunEnds:
    """Ops that wait for the end of a run, by its id; each gets an outcome of its own, since bodies change theirs."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[LocalOp]] = {}

    def add(self, op: LocalOp) -> None:
        """Record the outcome of its run as the result of *op*, once that has ended."""
        self._waiting.setdefault(op.ref or "", []).append(op)

    def drop(self, op: LocalOp) -> None:
        """Forget *op*, which was given up or left."""
        waiting = self._waiting.get(op.ref or "")
        if waiting and op in waiting:
            waiting.remove(op)
            if not waiting:
                del self._waiting[op.ref or ""]

    def ended(self, run_id: str, outcome: str) -> None:
        """Let the ops be recorded that waited for a run which has ended."""
        for op in self._waiting.pop(run_id, ()):
            op.life.record(op, json.loads(outcome))

    def end_with(self, run_id: str, outcome: str, rows: list[journal.Statement]) -> Done:
        """Add to *rows*, which end a run, what records the ops that waited for it; return what is to be called then."""
        ended: list[LocalOp] = []
        for op in self._waiting.pop(run_id, ()):
            statements = op.life.recording(op, json.loads(outcome))
            if statements is not None:
                rows.extend(statements)
                ended.append(op)

        def done(_: Any, error: BaseException | None) -> None:
            for op in ended:
                op.recorded(None, error)

        return done

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()
