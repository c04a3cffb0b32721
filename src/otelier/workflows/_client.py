"""Clients start runs, list them, and send them signals and decisions: from any process, thread and event loop."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast
from uuid import uuid4

from opentelemetry.context import get_current
from opentelemetry.trace import SpanKind

from otelier import names
from otelier.errors import RunEndedError
from otelier.faults import read_setting
from otelier.fields import get_context, roles_in
from otelier.settings import ENGINE
from otelier.telemetry import start_operation
from otelier.workflows._approvals import (
    Approval,
    Decision,
    PendingApproval,
    approval_of,
    decision_of,
    refusal,
    signal_of,
    target_of,
    time_of,
)
from otelier.workflows._body import END
from otelier.workflows._checks import checked_engine, checked_name, checked_run_id, checked_service, checked_signal
from otelier.workflows._handlers import read_error
from otelier.workflows._headers import sealed, start_headers
from otelier.workflows._payloads import read_limit, to_payload
from otelier.workflows._trace import link_caller, span_name
from otelier.workflows._worker import RunHandle, started_id
from otelier.workflows.engines import open_engine
from otelier.workflows.engines.protocol import APPROVALS, Engine, Json, Target, approval_in
from otelier.workflows.engines.shown import RunInfo, Status, StepInfo, how_ended

_STATUSES: Final = typing.get_args(Status)
_MAX_RUNS: Final = 100_000
_OPEN: Final = ("running", "waiting", "blocked")


class Client:
    """Starts runs and looks at them, and sends them signals and decisions.

    It has no work of its own, so it may be made once, and used in any thread and on any event loop. What it asks for
    is kept by the engine: without a worker it waits there.

    Args:
        engine: Where runs are kept: `memory:` of this process, `file:PATH`, `restate://HOST`, or an engine; `None` is
            `OTELIER_ENGINE`.

    Raises:
        EngineError: if the address is none, or what it names cannot be used.

    Example:
        >>> import asyncio
        >>> from otelier import Client, Worker, workflow
        >>> @workflow
        ... async def order(ctx, order_id: str):
        ...     return await ctx.signal("paid")
        >>> async def main():
        ...     async with Worker("orders", modules=[order], engine="memory:"):
        ...         client = Client("memory:")
        ...         handle = await client.start("orders", "order", "o-1")
        ...         await client.signal(handle.workflow_id, "paid", 42)
        ...         return await handle.result()
        >>> asyncio.run(main())
        42
    """

    def __init__(self, engine: str | Engine | None = None) -> None:
        checked_engine(engine)
        self._given = read_setting(ENGINE, engine) if engine is None or isinstance(engine, str) else engine
        read_limit()
        _ = self._engine  # an address that is none is refused here

    def __repr__(self) -> str:
        return f"<Client of {self._given}>"

    @property
    def _engine(self) -> Engine:
        """The engine: asked for each time, so that a child that was forked gets one of its own."""
        return open_engine(self._given) if isinstance(self._given, str) else self._given

    async def start(
        self,
        service: str,
        name: str,
        input: Any = None,
        *,
        workflow_id: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> RunHandle:
        """Start a run, and return its handle.

        Args:
            service: Service of the handler.
            name: Name of a workflow or a function there.
            input: A dict whose keys fit its parameters is passed by name, anything else as the one argument.
            workflow_id: Its id. A run of that id with this handler and input is taken as it is, and the span that is
                current here has a link to it; `None` makes an id.
            headers: What `ctx.headers()` returns there, such as those of a request; what authorises is dropped.

        Raises:
            RunExistsError: if a run of that id has another handler or input.
            CodecError: if *input* has no form in JSON, or is larger than `OTELIER_PAYLOAD_MAX_BYTES`.
            WorkflowUseError: in the body of a run, without *workflow_id*.
        """
        target = Target(checked_service(service), checked_name(name, "a handler's name"))
        run_id = started_id(workflow_id)
        payload = to_payload(input, what=f"the input of {name}")
        stored = start_headers(headers, run_id, span_name("workflow", name), is_client=True)
        engine = self._engine
        link_caller(run_id, stored, await engine.start(target, payload, stored, run_id=run_id))
        return RunHandle(engine, run_id, None, None)

    async def signal(self, workflow_id: str, name: str, payload: Any = None) -> None:
        """Send a signal to a run, which keeps it until it waits for one of that name.

        Raises:
            UnknownRunError: if there is no such run.
            RunEndedError: if it has ended.
            CodecError: if *payload* has no form in JSON, or is larger than `OTELIER_PAYLOAD_MAX_BYTES`.
        """
        run_id = checked_run_id(workflow_id)
        plain = to_payload(payload, what=f"the payload of signal {checked_signal(name)!r}")
        with start_operation(
            f"{names.EMIT_SIGNAL} {name}",
            get_current(),
            scope=names.SCOPE_WORKFLOWS,
            kind=SpanKind.PRODUCER,
            attributes={names.RUN_ID: run_id},
        ):
            await self._engine.signal(run_id, name, sealed(plain, get_current()))

    async def approve(
        self,
        workflow_id: str,
        name: str,
        *,
        approver: str | None = None,
        roles: Iterable[str] | None = None,
        comment: str | None = None,
    ) -> Approval:
        """Approve what a run asks for; returns once that holds.

        Who may claim to be *approver* and to have *roles* is for the caller to check: authenticate them first.

        Args:
            workflow_id: The run.
            name: Name of the approval.
            approver: Who decides; `None` is the `user_id` of the call context.
            roles: Roles they have; `None` is the `user_role` of the call context.
            comment: What they say about it.

        Returns:
            The decision, as the run gets it.

        Raises:
            ApprovalError: if the run does not ask for it, it was decided before, or all of the required roles lack.
            UnknownRunError: if there is no such run.
            RunEndedError: if it has ended.
        """
        return await self._decide(workflow_id, name, "approved", approver, roles, comment)

    async def reject(
        self,
        workflow_id: str,
        name: str,
        *,
        approver: str | None = None,
        roles: Iterable[str] | None = None,
        comment: str | None = None,
    ) -> Approval:
        """Reject what a run asks for; else as `approve`."""
        return await self._decide(workflow_id, name, "rejected", approver, roles, comment)

    async def _decide(
        self, workflow_id: str, name: str, decision: Decision, approver: Any, roles: Any, comment: Any
    ) -> Approval:
        run_id = checked_run_id(workflow_id)
        fields = get_context()
        request = decision_of(
            name,
            decision,
            fields.user_id if approver is None else approver,
            roles_in(fields.user_role or "") if roles is None else roles,
            comment,
        )
        engine = self._engine
        verb = "approve" if decision == "approved" else "reject"
        asked = _asked(await self._still_open(engine, run_id, verb, request))
        request["over"] = [number for number, _, is_over in asked if is_over]
        run = f"{run_id}.{decision}.{uuid4().hex}"
        await engine.start(target_of(run_id, "decide"), request, {}, run_id=run)
        succeeded, answer = await engine.result(run, None)
        if not succeeded:
            raise read_error(answer, ())
        if answer["taken"]:
            return approval_of(answer["decision"])
        await self._still_open(engine, run_id, verb, request)  # it may have ended meanwhile
        raise refusal(run_id, request, answer, [other for _, other, is_over in asked if not is_over])

    async def _still_open(self, engine: Engine, run_id: str, verb: str, request: Mapping[str, Json]) -> RunInfo:
        """Return a run that is open, as `_open_run` does; of one that has ended the decision that stands is raised.

        Raises:
            ApprovalError: if it has ended, and that was decided.
        """
        try:
            return await _open_run(engine, run_id, verb, request["name"])
        except RunEndedError:
            states = dict(await engine.states(APPROVALS))
            record: Json = states.get(run_id, {}).get(request["name"])
            if record is None or record["decision"] is None:
                raise
            raise refusal(run_id, request, {"standing": record["decision"]}, ()) from None

    async def cancel(self, workflow_id: str) -> None:
        """Cancel a run and the tasks that it called; nothing happens to one that has ended. Returns at once.

        Raises:
            UnknownRunError: if there is no such run.
        """
        await self._engine.cancel(checked_run_id(workflow_id))

    async def resume(self, workflow_id: str) -> None:
        """Let a blocked run begin again, such as after its code was mended; one that is not blocked just goes on.

        Raises:
            UnknownRunError: if there is no such run.
            RunEndedError: if it has ended.
        """
        await self._engine.resume(checked_run_id(workflow_id))

    async def runs(
        self, *, status: Status | None = None, service: str | None = None, limit: int = 100
    ) -> list[RunInfo]:
        """Return open runs by their health, then ended ones, of each the latest first; without their steps.

        Args:
            status: `running`, `waiting`, `blocked`, `completed`, `failed` or `cancelled`; `None` for all.
            service: Service whose runs are wanted; `None` for all.
            limit: How many at most.

        Raises:
            ValueError: if *status* or *limit* is none of those.
        """
        if status is not None and status not in _STATUSES:
            raise ValueError(f"Cannot list runs of status {status!r}: it is one of {', '.join(_STATUSES)}.")
        if isinstance(limit, bool) or not isinstance(cast("Any", limit), int):
            raise TypeError(f"Cannot use a {type(limit).__name__} as `limit`: give a whole number.")
        if not 1 <= limit <= _MAX_RUNS:
            raise ValueError(f"Cannot list {limit} runs: `limit` is a number from 1 to {_MAX_RUNS:,}.")
        if service is not None:
            checked_service(service)
        return await self._engine.runs(status=status, service=service, limit=limit)

    async def run(self, workflow_id: str) -> RunInfo:
        """Return one run with its steps and what it waits for.

        Raises:
            UnknownRunError: if there is no such run.
        """
        info = await self._engine.run(checked_run_id(workflow_id))
        return dataclasses.replace(info, steps=tuple(_shown(info.steps)))

    async def approvals(self) -> list[PendingApproval]:
        """Return what open runs wait for that is not decided, the earliest deadline first."""
        engine, asked = self._engine, dict[str, dict[str, Json]]()
        for run_id, state in await engine.states(APPROVALS):
            undecided = {name: record for name, record in state.items() if record["decision"] is None}
            if undecided:
                asked[run_id] = undecided
        found = [
            _pending(info, name, record)
            for info in (await engine.infos(list(asked)) if asked else ())
            for name, record in asked[info.workflow_id].items()
            if _waits(info, name, record)
        ]
        return sorted(found, key=lambda one: (one.deadline is None, one.deadline or one.asked_at, one.asked_at))


async def _open_run(engine: Engine, run_id: str, verb: str, name: str) -> RunInfo:
    """Return a run that is open: the entity, which decides, knows only those that asked.

    Raises:
        UnknownRunError: if there is no such run.
        RunEndedError: if it has ended.
    """
    info = await engine.run(run_id)
    if info.status not in _OPEN:
        raise RunEndedError(
            f"Cannot {verb} {name!r} of run {run_id!r}: it {how_ended(info.status)}, and an ended run takes no "
            f"decision. Start another run if it is to be decided anew.",
            workflow_id=run_id,
            status=info.status,
        )
    return info


def _asked(info: RunInfo) -> list[tuple[int, str, bool]]:
    """Return number and name of each wait for a decision, and whether it is over."""
    return [
        (*asked, step.end_ns is not None)
        for step in info.steps
        if step.kind == "signal" and (asked := approval_in(step.name)) is not None
    ]


def _waits(info: RunInfo, name: str, record: Mapping[str, Json]) -> bool:
    """Return whether a run still waits for a decision: it is open, and has not given up that wait."""
    wait = signal_of(record["number"], name)
    return info.status in _OPEN and all(step.end_ns is None for step in info.steps if step.name == wait)


def _pending(info: RunInfo, name: str, record: Mapping[str, Json]) -> PendingApproval:
    deadline = record["deadline_ns"]
    return PendingApproval(
        workflow_id=info.workflow_id,
        service=info.service,
        handler=info.handler,
        name=name,
        payload=record["payload"],
        required_roles=tuple(record["roles"]),
        asked_at=time_of(record["asked_ns"]),
        deadline=None if deadline is None else time_of(deadline),
    )


def _shown(steps: Iterable[StepInfo]) -> Iterable[StepInfo]:
    """Yield what a person calls the steps of a run: approvals as such, and not the ops that they are made of."""
    for step in steps:
        if step.name == END or (step.kind == "call" and step.name.startswith(f"{APPROVALS}/")):
            continue
        if step.kind == "signal" and (asked := approval_in(step.name)) is not None:
            yield dataclasses.replace(step, kind="approval", name=asked[1])
        else:
            yield step
