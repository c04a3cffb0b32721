"""Runs as they are shown: read from the server's tables, so that it needs no worker."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from otelier.codec import error_to_json, read_json
from otelier.errors import EngineError, ReplayError
from otelier.workflows.engines.protocol import APPROVAL, APPROVALS, Json
from otelier.workflows.engines.restate._answers import dumps, unknown_run
from otelier.workflows.engines.restate._asking import outcome_of
from otelier.workflows.engines.restate._journal import COLUMNS, OpSeen, last_failure, open_waits, ops_of, time_ns
from otelier.workflows.engines.restate._names import RUNS, service_name
from otelier.workflows.engines.restate._pump import Failed
from otelier.workflows.engines.restate._registry import END, RUN
from otelier.workflows.engines.restate._server import Server
from otelier.workflows.engines.shown import RunInfo, Status, StepInfo, shown_trace_id

QUEUED: Final = "its turn"
"""What a write of an entity waits for behind others."""
_MISMATCH: Final = "RT0016"
_MANY: Final = 200
_SHOWN: Final = (
    "SELECT r.service_key AS run_id, r.value_utf8 AS run, e.value_utf8 AS ended, i.id, i.status, i.created_at,"  # noqa: S608 -- ours
    " i.completed_at, i.completion_result, i.completion_failure, i.retry_count, i.last_failure,"
    " i.last_failure_error_code, i.last_failure_related_command_index AS failed_at,"
    " i.suspended_waiting_future_json AS waits, d.endpoint FROM sys_invocation i"
    f" JOIN state r ON r.service_name='{RUNS}' AND r.key='{RUN}' AND r.service_key=i.idempotency_key"
    f" LEFT JOIN state e ON e.service_name='{RUNS}' AND e.key='{END}' AND e.service_key=i.idempotency_key"
    " LEFT JOIN sys_deployment d ON d.id=i.pinned_deployment_id"
    f" WHERE i.invoked_by_service_name='{RUNS}'"
)
_ENDED: Final[dict[Status | None, str]] = {
    "completed": " AND i.status='completed' AND i.completion_result='success'",
    "failed": " AND i.status='completed' AND i.completion_result='failure' AND i.completion_failure NOT LIKE '[409]%'",
    "cancelled": " AND i.status='completed' AND i.completion_failure LIKE '[409]%'",
}
_OPEN: Final = " AND i.status<>'completed'"
_CLOSED: Final = " AND i.status='completed'"
_BY_HEALTH: Final = ("blocked", "waiting approval", "retrying", "waiting", "running")
_VERSION: Final = re.compile(r"/v(\d+)/?$")
_FAILURE: Final = re.compile(r"\[(\d+)[^\]]*\] ?(.*)", re.DOTALL)
_ENDS: Final = "attempts to perform the following: 'call'"
_WAITS: Final = "Notifications awaited on this await point:"
_DIFFERS: Final = re.compile(r"name: (\d+) (\w+) (.*) != (\d+) (\w+) (.*)")


class Reader:
    """Reads a server's tables."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def invocation_of(self, run_id: str) -> str | None:
        """Return the invocation of a run; `None` if there is none."""
        found = await self._kept(run_id, RUN)
        return None if found is None else found["invocation"]

    async def ended(self, run_id: str) -> str | None:
        """Return how a run has told that it ended, also one that ended before its turn; `None` for an open one."""
        found = await self._kept(run_id, END)
        return None if found is None else found["status"]

    async def _kept(self, run_id: str, key: str) -> dict[str, Json] | None:
        where = f"service_name='{RUNS}' AND service_key={_quoted(run_id)} AND key='{key}'"
        rows = await self._server.rows(f"SELECT value_utf8 FROM state WHERE {where}")  # noqa: S608 -- quoted
        return read_json(rows[0]["value_utf8"]) if rows else None

    async def called_by(self, run_id: str) -> list[str]:
        """Return the open runs that a run called, but for detached ones."""
        parent = _quoted(f'%"parent":{_json_text(run_id)}%')
        rows = await self._server.rows(f"{_SHOWN}{_OPEN} AND r.value_utf8 LIKE {parent}")
        found = [(row["run_id"], read_json(row["run"])) for row in rows]
        return [child for child, run in found if run["parent"] == run_id and not run["detached"]]

    async def runs(self, *, status: Status | None, service: str | None, limit: int) -> list[RunInfo]:
        """Return open runs by their health, then ended ones; of each the latest first, without their steps.

        Those of ours are among them only where their service is asked for.
        """
        wanted = APPROVALS if service is None else service
        given = _quoted(f'%"target":[{_json_text(wanted)},%')
        of = f" AND r.value_utf8 {'NOT ' if service is None else ''}LIKE {given}"
        found: list[RunInfo] = []
        if status not in _ENDED:  # whether they wait is seen in their journals
            rows = await self._server.rows(f"{_SHOWN}{_OPEN}{of}")
            ops = await self._ops([row["id"] for row in rows])
            infos = [_info(row, ops.get(row["id"])) for row in rows]
            found = [info for info in infos if status is None or info.status == status]
            found.sort(key=lambda info: (_BY_HEALTH.index(info.health), -info.begin_ns))
        if status is None or status in _ENDED:
            where = _ENDED.get(status, _CLOSED) + of
            most = f"ORDER BY i.created_at DESC LIMIT {max(limit - len(found), 0)}"
            ended = [_info(row, None) for row in await self._server.rows(f"{_SHOWN}{where} {most}")]
            over = {info.workflow_id for info in ended}  # some ended since the question before
            found = [info for info in found if info.workflow_id not in over]
            found += sorted(ended, key=lambda info: -info.begin_ns)
        return found[:limit]

    async def run(self, run_id: str, *, with_result: bool = True) -> RunInfo:
        """Return one run with its steps and what it waits for.

        Raises:
            UnknownRunError: if there is none.
        """
        rows = await self._server.rows(f"{_SHOWN} AND i.idempotency_key={_quoted(run_id)}")
        rows = [row for row in rows if read_json(row["run"])["invocation"] == row["id"]]
        if not rows:
            raise unknown_run(run_id)
        row = rows[0]
        ops = (await self._ops([row["id"]])).get(row["id"], [])
        outcome = None
        if with_result and row["status"] == "completed":
            outcome = await self._server.output(row["id"], run_id)
        return _info(row, ops, is_one=True, outcome=outcome)

    async def states(self, service: str) -> list[tuple[str, Json]]:
        """Return the key and the state of every entity of a service."""
        start = service_name(service, "X.x", is_entity=True).removesuffix("X")
        rows = await self._server.rows(
            "SELECT service_name, service_key, key, value_utf8 FROM state"  # noqa: S608 -- quoted
            f" WHERE starts_with(service_name, {_quoted(start)}) ORDER BY service_name, service_key, key"
        )
        found: dict[tuple[str, str], dict[str, Json]] = {}
        for row in rows:
            if "." not in row["service_name"][len(start) :]:
                state = found.setdefault((row["service_name"], row["service_key"]), {})
                state[row["key"]] = read_json(row["value_utf8"])
        return [(key, state) for (_, key), state in found.items()]

    async def _ops(self, invocations: Sequence[str]) -> dict[str, list[OpSeen]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for first in range(0, len(invocations), _MANY):
            ids = ",".join(map(_quoted, invocations[first : first + _MANY]))
            query = f'SELECT {COLUMNS} FROM sys_journal WHERE id IN ({ids}) ORDER BY id, "index"'  # noqa: S608 -- quoted
            for row in await self._server.rows(query):
                found.setdefault(row["id"], []).append(row)
        return {invocation: ops_of(rows) for invocation, rows in found.items()}


def _info(row: Mapping[str, Any], ops: list[OpSeen] | None, *, is_one: bool = False, outcome: Any = None) -> RunInfo:
    run = read_json(row["run"])
    ended: dict[str, Any] = read_json(row["ended"]) if row.get("ended") else {}
    service, handler, key = run["target"]
    version = _VERSION.search(row.get("endpoint") or "")
    waits, has_step = open_waits(ops or ())
    tried_again = last_failure(ops or ())
    status = _status(row, waits, has_step)
    end_ns: int | None = None
    if status in {"completed", "failed", "cancelled"}:
        end_ns = ended.get("at") or time_ns(row["completed_at"])
        outcome = outcome or _outcome(row)
    executions = max(row.get("retry_count") or 1, 1)
    attempts: Counter[str] = Counter()
    steps: list[StepInfo] = []
    for op in ops if ops and is_one else ():
        if op.kind == "step":  # the attempts of a step have one name
            attempts[op.name] += 1
        steps.append(op.step(attempts[op.name] if op.kind == "step" else 1, executions))
    return RunInfo(
        workflow_id=row["run_id"],
        service=service,
        handler=handler,
        status=status,
        health=_health(row, status, waits, is_retried=(has_step and executions > 1) or tried_again is not None),
        version=int(version[1]) if version else 1,
        begin_ns=run.get("began") or time_ns(row["created_at"]),
        end_ns=end_ns,
        key=key,
        parent_id=run["parent"],
        result=outcome[1] if outcome and outcome[0] else None,
        error=outcome[1] if outcome and not outcome[0] else _trouble(row, status, ops or ()) or tried_again,
        steps=tuple(steps),
        waiting_for=_waiting_for(row, status, waits) if is_one else None,
        trace_id=shown_trace_id(row["run_id"], run["headers"]) if is_one else None,
    )


def _status(row: Mapping[str, Any], waits: list[OpSeen], has_step: bool) -> Status:
    state = row["status"]
    if state == "completed":
        if row.get("completion_result") == "success":
            return "completed"
        return "cancelled" if str(row.get("completion_failure")).startswith("[409]") else "failed"
    if state == "paused" or row.get("last_failure_error_code") == _MISMATCH:
        return "blocked"
    if state == "running":
        return "waiting" if waits and not has_step else "running"
    return "waiting"


def _health(row: Mapping[str, Any], status: Status, waits: list[OpSeen], *, is_retried: bool) -> str:
    if status not in {"running", "waiting"}:
        return status
    if any(op.name.startswith(APPROVAL) for op in waits) or f'"{APPROVAL}' in (row.get("waits") or ""):
        return "waiting approval"
    return "retrying" if is_retried or row["status"] == "backing-off" else status


def _outcome(row: Mapping[str, Any]) -> Any:
    """Return the failure of a run that has ended; a result is read for one run only."""
    found = _FAILURE.fullmatch(str(row.get("completion_failure") or ""))
    return None if found is None else outcome_of(row["run_id"], Failed(int(found[1]), found[2]))[0]


def _trouble(row: Mapping[str, Any], status: Status, ops: Sequence[OpSeen]) -> Mapping[str, Json] | None:
    """Return why a run is blocked, or tried again."""
    words, run_id = str(row.get("last_failure") or ""), row["run_id"]
    if status == "blocked":
        recorded = next((op for op in ops if op.command == row.get("failed_at")), None)
        return error_to_json(_mismatch(run_id, words, recorded))
    if row["status"] != "backing-off":
        return None
    return error_to_json(EngineError(words.partition("\n")[0]))


def _mismatch(run_id: str, words: str, recorded: OpSeen | None) -> Exception:
    mended = "Bring back the code that it began with, or branch on `ctx.version`; then `otelier resume` it."
    found = _DIFFERS.search(words)
    if found is not None:
        number, kind, name, other_number, other_kind, other_name = found.groups()
        differs = f"its code makes {other_kind} {other_name!r}"
        if other_number != number:
            differs += f" as op {other_number}"
        return ReplayError(
            f"Run {run_id!r} is blocked: at op {number} its journal has {kind} {name!r}, and {differs}, so what was "
            f"recorded does not fit. {mended}"
        )
    if recorded is not None and _ENDS in words:  # every op begins with an entry of another kind
        return ReplayError(
            f"Run {run_id!r} is blocked: its journal has {recorded.kind} {recorded.name!r} at op {recorded.number}, "
            f"and its code ended without it. {mended}"
        )
    if _WAITS in words:
        return ReplayError(
            f"Run {run_id!r} is blocked: its code waits for {words.partition(_WAITS)[2].strip()} where what was "
            "recorded went on. The code has changed, or `asyncio.timeout`, `wait_for` or a task group cut a wait of "
            f"its body, which a replay cannot repeat: use `timeout_s=`. {mended}"
        )
    return ReplayError(f"Run {run_id!r} is blocked: what was recorded does not fit its code: {words} {mended}")


def _waiting_for(row: Mapping[str, Any], status: Status, waits: list[OpSeen]) -> str | None:
    if status != "waiting":
        return None
    if row["status"] in {"pending", "inboxed"}:
        return QUEUED
    if row["status"] in {"scheduled", "ready", "backing-off"}:
        return "its worker"
    return ", ".join(op.waits_for() for op in waits) or None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _json_text(text: str) -> str:
    """Return *text* as it stands in stored JSON, for a `LIKE`, of which `%` and `_` match themselves, too."""
    return dumps(text)
