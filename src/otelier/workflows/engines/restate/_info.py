"""Runs as they are shown: read from the server's tables, so that it needs no worker."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from otelier.codec import error_to_json, read_json
from otelier.errors import EngineError, ReplayError
from otelier.workflows.engines.answers import BRING_BACK, another_op, dumps, ended_early, unknown_run
from otelier.workflows.engines.protocol import APPROVAL, APPROVALS, Json
from otelier.workflows.engines.restate._answers import Failed, outcome_of
from otelier.workflows.engines.restate._journal import (
    COLUMNS,
    OUTLINE,
    OpSeen,
    last_failure,
    open_waits,
    ops_of,
    time_ns,
)
from otelier.workflows.engines.restate._names import END, RUN, RUNS, service_name, version_of
from otelier.workflows.engines.restate._options import Options
from otelier.workflows.engines.restate._server import Server
from otelier.workflows.engines.shown import HEALTHS, RunInfo, Status, StepInfo, shown_trace_id

UNSEEN_PAUSE_S: Final = 0.05
"""After how long a run is looked for again that was started just now."""
QUEUED: Final = "its turn"
"""What a write of an entity waits for behind others."""
_MISMATCH: Final = "RT0016"
_MANY: Final = 200
_SHOWN: Final = (
    "SELECT i.id, i.idempotency_key AS run_id, i.status, i.created_at, i.completed_at, i.completion_result,"
    " i.completion_failure, i.retry_count, i.last_failure, i.last_failure_error_code,"
    " i.last_failure_related_command_index AS failed_at, i.suspended_waiting_future_json AS waits, d.endpoint"
    " FROM sys_invocation i LEFT JOIN sys_service s ON s.name=i.target_service_name"
    " LEFT JOIN sys_deployment d ON d.id=COALESCE(i.pinned_deployment_id, s.deployment_id) WHERE"
)
"""What the server knows of an invocation, and the worker where it began or will begin. By their ids it finds few of
many at once, and by nothing else."""
_OF_RUNS: Final = f" i.invoked_by_service_name='{RUNS}' AND i.idempotency_key IS NOT NULL"
_ENDED: Final[dict[Status | None, str]] = {
    "completed": " AND i.status='completed' AND i.completion_result='success'",
    "failed": " AND i.status='completed' AND i.completion_result='failure' AND i.completion_failure NOT LIKE '[409]%'",
    "cancelled": " AND i.status='completed' AND i.completion_failure LIKE '[409]%'",
}
_OPEN: Final = " AND i.status<>'completed'"
_BLOCKED: Final = f"(i.status='paused' OR COALESCE(i.last_failure_error_code, '')='{_MISMATCH}')"
_MAYBE: Final[dict[Status | None, str]] = {
    None: _OPEN,
    "blocked": f"{_OPEN} AND {_BLOCKED}",
    "running": f" AND i.status='running' AND NOT {_BLOCKED}",
    "waiting": f"{_OPEN} AND NOT {_BLOCKED}",
}
"""The invocations that may have a status; what a body waits for is seen in its journal only."""
_CLOSED: Final = " AND i.status='completed'"
_FAILURE: Final = re.compile(r"\[(\d+)[^\]]*\] ?(.*)", re.DOTALL)
_ENDS: Final = "attempts to perform the following: 'call'"
_WAITS: Final = "Notifications awaited on this await point:"
_DIFFERS: Final = re.compile(r"name: (\d+) (\w+) (.*) != (\d+) (\w+) (.*)")


class Reader:
    """Reads a server's tables."""

    def __init__(self, server: Server, options: Options) -> None:
        self._server, self._unseen_s = server, options.again_s

    async def invocation_of(self, run_id: str) -> str | None:
        """Return the invocation of a run; `None` if there is none."""
        run = (await self._state_of(run_id)).get(RUN)
        return None if run is None else run["invocation"]

    async def ended(self, run_id: str) -> str | None:
        """Return how a run has told that it ended, also one that ended before its turn; `None` for an open one."""
        end = (await self._known([run_id])).get(run_id, {}).get(END)
        return None if end is None else end["status"]

    async def called_by(self, run_id: str) -> list[str]:
        """Return the runs that a run called, but for detached ones."""
        parent = _quoted(f'"parent":{dumps(run_id)}')
        rows = await self._server.rows(
            "SELECT service_key, value_utf8 FROM state"  # noqa: S608 -- quoted
            f" WHERE service_name='{RUNS}' AND key='{RUN}' AND strpos(value_utf8, {parent})>0"
        )
        found = [(row["service_key"], read_json(row["value_utf8"])) for row in rows]
        return [child for child, run in found if run["parent"] == run_id and not run["detached"]]

    async def runs(self, *, status: Status | None, service: str | None, limit: int) -> list[RunInfo]:
        """Return open runs by their health, then ended ones; of each the latest first, without their steps.

        Those of ours are among them only where their service is asked for.
        """
        of = f"{_OF_RUNS} AND {_of_service(APPROVALS if service is None else service, is_it=service is not None)}"
        found: list[RunInfo] = []
        if status in _MAYBE:
            rows = await self._rows(f"{of}{_MAYBE[status]}")
            ops = await self._ops([row["id"] for row in rows], OUTLINE)
            infos = [_info(row, ops.get(row["id"])) for row in rows]
            found = [info for info in infos if status is None or info.status == status]
            found.sort(key=lambda info: (HEALTHS.index(info.health), -info.begin_ns))
        if (status is None or status in _ENDED) and len(found) < limit:
            most = f"ORDER BY i.created_at DESC LIMIT {limit - len(found)}"
            ended = [_info(row, None) for row in await self._rows(f"{of}{_ENDED.get(status, _CLOSED)} {most}")]
            over = {info.workflow_id for info in ended}  # some ended since the question before
            found = [info for info in found if info.workflow_id not in over]
            found += sorted(ended, key=lambda info: -info.begin_ns)
        return found[:limit]

    async def infos(self, run_ids: Sequence[str]) -> list[RunInfo]:
        """Return the runs of those ids that there are, with their steps, but not what these gave."""
        rows = await self._rows_of(run_ids)
        ops = await self._ops([row["id"] for row in rows], OUTLINE)
        return [_info(row, ops.get(row["id"]), is_one=True) for row in rows]

    async def run(self, run_id: str) -> RunInfo:
        """Return one run with its steps and what it waits for.

        Raises:
            UnknownRunError: if there is none.
        """
        row = await self._row_of(run_id)
        ops = (await self._ops([row["id"]])).get(row["id"], [])
        outcome = await self._server.output(row["id"], run_id) if row["status"] == "completed" else None
        return _info(row, ops, is_one=True, outcome=outcome)

    async def outline(self, run_id: str) -> RunInfo:
        """Return one run as `infos` does.

        Raises:
            UnknownRunError: if there is none.
        """
        row = await self._row_of(run_id)
        return _info(row, (await self._ops([row["id"]], OUTLINE)).get(row["id"]), is_one=True)

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

    async def _rows(self, where: str) -> list[dict[str, Any]]:
        """Return invocations that are runs now; an id may have been used before."""
        rows = await self._server.rows(f"{_SHOWN}{where}")
        return _joined(rows, await self._known([row["run_id"] for row in rows]))

    async def _row_of(self, run_id: str) -> dict[str, Any]:
        ends = time.monotonic() + self._unseen_s
        while not (rows := await self._rows_of([run_id])):
            known = await self._state_of(run_id)
            if RUN not in known or END in known or time.monotonic() > ends:
                raise unknown_run(run_id)
            await asyncio.sleep(UNSEEN_PAUSE_S)  # it was started just now, and is on its way to its partition
        return rows[0]

    async def _state_of(self, run_id: str) -> dict[str, Any]:
        """Return what `otelier.run` keeps of a run; a server that starts tells of one partition after the other."""
        while True:
            found = (await self._known([run_id])).get(run_id, {})
            if RUN in found or not self._server.may_start():
                return found
            await asyncio.sleep(UNSEEN_PAUSE_S)

    async def _rows_of(self, run_ids: Sequence[str]) -> list[dict[str, Any]]:
        known = await self._known(run_ids)
        rows: list[dict[str, Any]] = []
        for ids in _parts([state[RUN]["invocation"] for state in known.values() if RUN in state]):
            rows += await self._server.rows(f"{_SHOWN} i.id IN ({ids})")
        return _joined(rows, known)

    async def _known(self, run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what `otelier.run` keeps of each run."""
        found: dict[str, dict[str, Any]] = {}
        for keys in _parts(run_ids):
            query = (
                "SELECT service_key, key, value_utf8 FROM state"  # noqa: S608 -- quoted
                f" WHERE service_name='{RUNS}' AND key IN ('{RUN}', '{END}') AND service_key IN ({keys})"
            )
            for row in await self._server.rows(query):
                found.setdefault(row["service_key"], {})[row["key"]] = read_json(row["value_utf8"])
        return found

    async def _ops(self, invocations: Sequence[str], columns: str = COLUMNS) -> dict[str, list[OpSeen]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for ids in _parts(invocations):
            query = f'SELECT {columns} FROM sys_journal WHERE id IN ({ids}) ORDER BY id, "index"'  # noqa: S608 -- quoted
            for row in await self._server.rows(query):
                found.setdefault(row["id"], []).append(row)
        return {invocation: ops_of(rows) for invocation, rows in found.items()}


def _parts(ids: Sequence[str]) -> Iterator[str]:
    """Yield ids as lists for an `IN`, none of them too long."""
    for first in range(0, len(ids), _MANY):
        yield ",".join(map(_quoted, ids[first : first + _MANY]))


def _joined(rows: Sequence[dict[str, Any]], known: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of runs with what is known of them."""
    found: list[dict[str, Any]] = []
    for row in rows:
        state = known.get(row["run_id"], {})
        if state.get(RUN, {}).get("invocation") == row["id"]:
            found.append({**row, "run": state[RUN], "ended": state.get(END)})
    return found


def _of_service(service: str, *, is_it: bool) -> str:
    """Return the condition that an invocation is of a service: of its own handlers, or of an entity's."""
    plain = service_name(service, "", is_entity=False)
    entities = service_name(service, "X", is_entity=True).removesuffix("X")
    rest = f"substr(i.target_service_name, {len(entities) + 1})"
    is_entity = f"starts_with(i.target_service_name, {_quoted(entities)}) AND strpos({rest}, '.')=0"
    is_of = f"(i.target_service_ty='service' AND i.target_service_name={_quoted(plain)}"
    return f"{'' if is_it else 'NOT '}{is_of} OR i.target_service_ty='virtual_object' AND {is_entity})"


def _info(row: Mapping[str, Any], ops: list[OpSeen] | None, *, is_one: bool = False, outcome: Any = None) -> RunInfo:
    run: Mapping[str, Any] = row["run"]
    ended: Mapping[str, Any] = row["ended"] or {}
    service, handler, key = run["target"]
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
        version=version_of(row.get("endpoint") or "") or 1,
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
    tries = row.get("retry_count") or 1
    return error_to_json(EngineError(f"{words.partition(chr(10))[0]} (tried {tries} time{'' if tries == 1 else 's'})"))


def _mismatch(run_id: str, words: str, recorded: OpSeen | None) -> Exception:
    found = _DIFFERS.search(words)
    if found is not None:
        number, kind, name, other_number, other_kind, other_name = found.groups()
        made = f"{other_kind} {other_name!r}" + (f" as op {other_number}" if other_number != number else "")
        return another_op(run_id, int(number), kind, name, made)
    if recorded is not None and _ENDS in words:  # every op begins with an entry of another kind
        return ended_early(run_id, recorded.number, recorded.kind, recorded.name)
    if _WAITS in words:
        return ReplayError(
            f"Run {run_id!r} is blocked: its code waits for {words.partition(_WAITS)[2].strip()} where what was "
            "recorded went on. The code has changed, or `asyncio.timeout`, `wait_for` or a task group cut a wait of "
            f"its body, which a replay cannot repeat: use `timeout_s=`. {BRING_BACK}"
        )
    return ReplayError(f"Run {run_id!r} is blocked: what was recorded does not fit its code: {words} {BRING_BACK}")


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
