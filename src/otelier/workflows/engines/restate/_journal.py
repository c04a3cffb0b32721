"""A run's journal on the server, read as ops: what each is, when it began and ended, and which the body waits for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final, cast

from otelier.codec import read_json
from otelier.workflows.engines.protocol import approval_in
from otelier.workflows.engines.restate._names import CALLS, GIVEN_UP_LABEL, signal_name
from otelier.workflows.engines.shown import StepInfo

COLUMNS: Final = 'id, "index", entry_type, name, entry_json, appended_at'
"""What `ops_of` reads of `sys_journal`."""
_KEPT: Final = "'Command: Run', 'Command: Sleep', 'Command: Call', 'Command: AttachInvocation'"
_FAILED: Final = "44,91,102,97,108,115,101,44,123"
"""`,[false,{` as the server shows bytes: in the result of a step that failed."""
OUTLINE: Final = (
    'id, "index", entry_type, name, appended_at,'
    f" CASE WHEN entry_type='Notification: Call' OR entry_type='Notification: Run' AND entry_json LIKE '%{_FAILED}%'"
    f" THEN entry_json WHEN entry_type LIKE 'Notification: %' OR entry_type IN ({_KEPT})"
    " THEN entry_lite_json END AS entry_json"
)
"""The same without what steps, signals and other runs gave, which may be a megabyte each: for lists. Ops lack their
errors then, but for steps, and their times are those of the server."""
_LABEL: Final = re.compile(r"(\d+) (step|sleep|signal|call|result|send) (.*)", re.DOTALL)


@dataclass(slots=True)
class OpSeen:
    """One op, as the journal has it."""

    number: int
    kind: str
    name: str
    begin_ns: int
    command: int
    """Place of its first entry among the commands of the journal."""
    end_ns: int | None = None
    run_id: str | None = None
    error: str | None = None
    failure: Mapping[str, Any] | None = None
    """What a step failed with."""
    due_ns: int | None = None
    answer: int | None = None
    """Completion of what it asked `otelier.run`."""
    limit: int | None = None
    """Completion of its sleep."""

    def step(self, attempt: int, executions: int) -> StepInfo:
        """Return it as it is shown."""
        tries = executions if self.kind == "step" and self.end_ns is None else 1
        return StepInfo(self.name, self.kind, attempt, tries, self.begin_ns, self.end_ns, self.error, self.run_id)

    def waits_for(self) -> str:
        """Return what it waits for, in words."""
        until = f"until {at(self.due_ns).isoformat(timespec='seconds')}" if self.due_ns else ""
        if self.kind == "sleep":
            return until
        asked = approval_in(self.name)
        shown = f"{self.kind} {self.name}" if asked is None else f"approval {asked[1]}"
        return f"{shown} {until}".rstrip()


@dataclass(slots=True)
class _Entries:
    """Entries of one journal, by what they are asked for."""

    completions: dict[int, tuple[Any, int]] = field(default_factory=dict[int, "tuple[Any, int]"])
    """Result of each completion, and when it was appended."""
    signals: dict[str, tuple[Any, int]] = field(default_factory=dict[str, "tuple[Any, int]"])
    attached: dict[str, int] = field(default_factory=dict[str, int])
    """Completion of the wait for each invocation."""
    given_up: dict[int, int] = field(default_factory=dict[int, int])


def at(ns: int) -> datetime:
    """Return a time."""
    return datetime.fromtimestamp(ns / 1e9, timezone.utc)


def time_ns(text: str) -> int:
    """Return a time of the server, which has milliseconds."""
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000) * 1_000_000


def ops_of(rows: Iterable[Mapping[str, Any]]) -> list[OpSeen]:
    """Return the ops of one run, by the rows of its journal in their order."""
    entries, ops, last, command = _Entries(), dict[int, OpSeen](), None, -1
    marks: dict[int, int] = {}
    for row in rows:
        kind, entry, appended = (
            row["entry_type"],
            json.loads(row.get("entry_json") or "{}"),
            time_ns(row["appended_at"]),
        )
        if kind.startswith("Notification: "):
            _note(entry["Notification"], entries, appended)
            continue
        command += 1
        body: Mapping[str, Any] = next(iter(entry.get("Command", {"": {}}).values()))
        if kind == "Command: Run":
            last = _begun(row["name"], entries, ops, appended, command)
            if last is not None:
                marks[last.number] = body["completion_id"]
        elif kind == "Command: AttachInvocation":
            entries.attached[body["target"].get("InvocationId", "")] = body["completion_id"]
        elif kind == "Command: Sleep" and (op := ops.get(int(row["name"] or -1))) is not None:
            op.limit, op.due_ns = body["completion_id"], (body["wake_up_time"] + 1) * 1_000_000
        elif kind == "Command: Call" and (op := _asking(body, ops, last)) is not None:
            op.answer = body["result_completion_id"]
    taken: dict[str, int] = {}
    for op in ops.values():
        mark = entries.completions.get(marks[op.number])
        if op.kind == "step":
            _step_end(op, mark)
        else:
            if mark is not None and (told := _value(mark[0])) is not None:
                op.begin_ns = told[0]
            _wait_end(op, entries, taken)
        if op.end_ns is None and op.number in entries.given_up:
            op.end_ns = entries.given_up[op.number]
    return list(ops.values())


def _begun(name: str, entries: _Entries, ops: dict[int, OpSeen], appended: int, command: int) -> OpSeen | None:
    if name.endswith(GIVEN_UP_LABEL):
        entries.given_up[int(name.removesuffix(GIVEN_UP_LABEL))] = appended
        return None
    found = _LABEL.fullmatch(name)
    if found is None:
        return None
    shown, run_id = found[3], None
    if found[2] == "call":
        shown, _, run_id = found[3].partition(CALLS)
    elif found[2] == "result":
        run_id = found[3]
    op = ops[int(found[1])] = OpSeen(int(found[1]), found[2], shown, appended, command, run_id=run_id)
    return op


def _asking(body: Mapping[str, Any], ops: dict[int, OpSeen], last: OpSeen | None) -> OpSeen | None:
    """Return the op that asks `otelier.run` by a call: the one that began last, but where nobody had a handler."""
    asked = body.get("request", body)["invocation_target"]["VirtualObject"]
    if asked["handler"] == "end":  # of the run itself
        return None
    if asked["handler"] == "start" and (last is None or last.run_id != asked["key"]):
        return next((op for op in reversed(ops.values()) if op.kind == "call" and op.run_id == asked["key"]), None)
    return last


def _note(notification: Mapping[str, Any], entries: _Entries, appended: int) -> None:
    if "ty" in notification:  # of an outline: that there is a result, and not which
        told = notification["id"]
        if "SignalName" in told:
            entries.signals[told["SignalName"]] = notification["result"], appended
        elif "CompletionId" in told:
            entries.completions[told["CompletionId"]] = notification["result"], appended
        return
    if "Signal" in notification:
        name = notification["Signal"]["id"].get("Name")
        if name is not None:
            entries.signals[name] = notification["Signal"].get("result"), appended
        return
    for body in notification.get("Completion", {}).values():
        entries.completions[body["completion_id"]] = body.get("result"), appended


def _value(result: Any) -> Any:
    """Return what a result says, `None` for a failure."""
    success = _member(result, "Success")
    return None if success is None else read_json(bytes(success).decode())


def _member(value: Any, name: str) -> Any:
    """Return a member of an object, `None` where there is none."""
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None


def _step_end(op: OpSeen, found: tuple[Any, int] | None) -> None:
    value = None if found is None else _value(found[0])
    if value is not None:
        op.begin_ns, op.end_ns, _, result = value
        op.error = error_line(result)
        op.failure = result[1] if op.error is not None else None
    elif found is not None:
        op.end_ns = found[1]


def _wait_end(op: OpSeen, entries: _Entries, taken: dict[str, int]) -> None:
    late = entries.completions.get(op.limit) if op.limit is not None else None
    if op.kind == "signal":
        number = taken.get(op.name, 0)
        found = entries.signals.get(signal_name(op.name, number))
        if found is not None and (late is None or found[1] <= late[1]):
            taken[op.name] = number + 1
            op.end_ns = max(op.begin_ns, _member(_value(found[0]), "at") or found[1])
        elif late is not None:
            op.end_ns = late[1]
    elif op.kind == "sleep":
        op.end_ns = None if late is None else max(late[1], op.due_ns or 0)
    elif op.answer is not None and (found := entries.completions.get(op.answer)) is not None:
        answer = _value(found[0])
        invocation = _member(answer, "invocation")
        if invocation is None:
            is_unknown = _member(answer, "handlers") is not None  # it is asked again
            op.end_ns = None if is_unknown else _member(answer, "at") or found[1]
            return
        ended = entries.completions.get(entries.attached.get(invocation, -1))
        if ended is not None:
            op.end_ns = _member(_value(ended[0]), "at") or ended[1]
            op.error = _failure_line(ended[0])


def error_line(value: Any) -> str | None:
    """Return the first line of the error in a value that says it is a failure, as outcomes do."""
    if not isinstance(value, list):
        return None
    pair = cast("list[Any]", value)
    if len(pair) != 2 or pair[0] is not False or not isinstance(pair[1], dict):
        return None
    return f"{_member(pair[1], 'type')}: {_member(pair[1], 'message')}".partition("\n")[0]


def _failure_line(result: Any) -> str | None:
    failure = _member(result, "Failure")
    if failure is None:
        return None
    message = str(_member(failure, "message"))
    try:
        return error_line([False, read_json(message)])
    except ValueError:
        return message.partition("\n")[0]


def last_failure(ops: Sequence[OpSeen]) -> Mapping[str, Any] | None:
    """Return what a step failed with that is tried again now, or after a pause: the op after it."""
    for op in ops:
        for before in ops if op.end_ns is None else ():
            paused = op.kind == "sleep" and before.number == op.number - 1
            again = op.kind == "step" and before.number < op.number and before.name == op.name
            if before.kind == "step" and before.failure is not None and (paused or again):
                failures = [one.failure for one in ops if one.failure is not None]
                return failures[-1]
    return None


def open_waits(ops: Iterable[OpSeen]) -> tuple[list[OpSeen], bool]:
    """Return the waits that go on, and whether a step does."""
    going = [op for op in ops if op.end_ns is None]
    return [op for op in going if op.kind != "step"], any(op.kind == "step" for op in going)
