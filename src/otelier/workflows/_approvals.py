"""Approvals: questions of runs to people, and their decisions.

They are an entity of ours, keyed by the run that asks, and written once over the protocol: `ask` notes the question,
`decide` takes a decision and signals it to the run, `expire` ends what nobody decided in time. An entity has one
writer at a time, so the first decision holds, also against the time limit, and later ones get it in their error.

It emits no spans: a trace shows the wait, linked to the span of who decided.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final, Literal, TypeAlias, cast

from opentelemetry.context import get_current

from otelier.codec import error_to_json
from otelier.errors import ApprovalError
from otelier.workflows._checks import checked_name
from otelier.workflows._headers import traced
from otelier.workflows.engines.protocol import APPROVAL, APPROVALS, APPROVALS_TYPE, Json, Kind, Outcome, Run, Target

Decision: TypeAlias = Literal["approved", "rejected", "expired"]
MAX_ROLES: Final = 100
_MAX_COMMENT_CHARS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The answer to `ctx.human.approval`.

    Example:
        >>> import asyncio
        >>> from datetime import timedelta
        >>> from otelier import workflow
        >>> @workflow
        ... async def refund(ctx):
        ...     return (await ctx.human.approval("refund", timeout=timedelta(milliseconds=10))).decision
        >>> asyncio.run(refund())
        'expired'
    """

    decision: Decision
    """`approved`, `rejected`, or `expired` where nobody decided in time."""
    approver: str | None
    """Who decided; `None` where nobody was named, and where it expired."""
    at: datetime
    """When, in UTC."""
    comment: str | None
    """Their comment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingApproval:
    """What a run waits for, and nobody has decided yet.

    Example:
        >>> import asyncio
        >>> from otelier import Client, Worker, workflow
        >>> @workflow
        ... async def refund(ctx, order_id: str):
        ...     return (await ctx.human.approval("refund", payload={"order": order_id})).approver
        >>> async def main():
        ...     async with Worker("shop", modules=[refund], engine="memory:") as worker:
        ...         run = await worker.start(refund, "o-1")
        ...         while not (asked := await Client("memory:").approvals()):
        ...             await asyncio.sleep(0.01)
        ...         await Client("memory:").approve(asked[0].workflow_id, asked[0].name, approver="ann")
        ...         return asked[0].payload, await run.result()
        >>> asyncio.run(main())
        ({'order': 'o-1'}, 'ann')
    """

    workflow_id: str
    """The run that asks."""
    service: str
    handler: str
    name: str
    """Name of the approval."""
    payload: Json
    """What the decision is about."""
    required_roles: Sequence[str]
    """Roles of which an approver needs one; none where anybody may decide."""
    asked_at: datetime
    deadline: datetime | None
    """When it expires; `None` for never."""


def target_of(run_id: str, method: str) -> Target:
    """Return the entity's method for the run of an id."""
    return Target(APPROVALS, f"{APPROVALS_TYPE}.{method}", run_id)


def signal_of(number: int, name: str) -> str:
    """Return the name of the signal that brings the decision about the question of a number."""
    return f"{APPROVAL}{number}/{name}"


def decision_of(name: str, decision: Decision, approver: Any, roles: Iterable[str], comment: Any) -> Json:
    """Return the input of `decide`, with the span that is current here.

    Raises:
        TypeError: if something is no text.
        ValueError: if something is too long.
    """
    if comment is not None and not isinstance(comment, str):
        raise TypeError(f"Cannot use a {type(comment).__name__} as `comment`: give text.")
    if comment is not None and len(comment) > _MAX_COMMENT_CHARS:
        raise ValueError(
            f"Cannot keep a comment of {len(comment):,} characters: {_MAX_COMMENT_CHARS:,} are the limit. Store a long "
            f"text elsewhere, and its address here."
        )
    return {
        "name": checked_name(name, "an approval's name"),
        "decision": decision,
        "approver": None if approver is None else checked_name(approver, "`approver`"),
        "roles": checked_roles(roles, "roles"),
        "comment": comment,
        "trace": traced(get_current()),
    }


def checked_roles(roles: Any, what: str) -> list[str]:
    """Return roles as a list.

    Raises:
        TypeError: if they are no texts, or one text instead of several.
        ValueError: if one of them is no name, or they are too many.
    """
    if isinstance(roles, (str, bytes)) or not isinstance(roles, Iterable):
        raise TypeError(f"Cannot use a {type(roles).__name__} as `{what}`: give a list of texts.")
    found = [checked_name(role, "a role") for role in cast("Iterable[Any]", roles)]
    if len(found) > MAX_ROLES:
        raise ValueError(f"Cannot use {len(found)} roles as `{what}`: {MAX_ROLES} are the limit.")
    return found


def may_decide(roles: Sequence[str], required: Sequence[str]) -> bool:
    """Return whether somebody with *roles* may decide where one of *required* is needed."""
    return not required or not set(required).isdisjoint(roles)


def approval_of(stored: Mapping[str, Json]) -> Approval:
    """Return a stored decision as what a body gets."""
    return Approval(
        decision=stored["decision"],
        approver=stored["approver"],
        at=time_of(stored["at_ns"]),
        comment=stored["comment"],
    )


def time_of(at_ns: int) -> datetime:
    """Return a recorded time."""
    return datetime.fromtimestamp(at_ns / 1e9, timezone.utc)


def refusal(
    run_id: str, request: Mapping[str, Json], answer: Mapping[str, Json], others: Sequence[str]
) -> ApprovalError:
    """Return the error for a decision that `decide` did not take; *others* are those that the run waits for."""
    name, verb = request["name"], "approve" if request["decision"] == "approved" else "reject"
    cannot = f"Cannot {verb} {name!r} of run {run_id!r}"
    standing: Mapping[str, Json] | None = answer.get("standing")
    if standing is not None:
        held = approval_of(standing)
        by = f" by {held.approver!r}" if held.approver is not None else ""
        at = held.at.isoformat(timespec="seconds")
        text = f"{cannot}: it was {held.decision}{by} at {at}"
        if held.decision == "expired":
            text = f"{cannot}: it expired at {at}"
        return ApprovalError(
            f"{text}, and the first decision holds. Let the workflow ask again if it is to be decided anew.",
            workflow_id=run_id,
            name=name,
            decision=held.decision,
            approver=held.approver,
            at=held.at,
            comment=held.comment,
        )
    required: list[str] | None = answer.get("required")
    if required is not None:
        has = ", ".join(map(repr, request["roles"])) or "none"
        return ApprovalError(
            f"{cannot}: that needs {_one_of(required)}, and the roles given are {has}. Let somebody decide who has it.",
            workflow_id=run_id,
            name=name,
        )
    asks = f"It waits for {', '.join(map(repr, others))}" if others else "It waits for none now"
    return ApprovalError(
        f"{cannot}: the run does not wait for that decision. {asks}; `otelier approvals` lists all.",
        workflow_id=run_id,
        name=name,
    )


def _one_of(roles: Sequence[str]) -> str:
    return f"the role {roles[0]!r}" if len(roles) == 1 else f"one of the roles {', '.join(map(repr, roles))}"


# --- the entity --------------------------------------------------------------------------------------------------
async def _ask(run: Run, asked: Mapping[str, Json]) -> Json:
    limit_s = asked["timeout_s"]
    record = {
        "number": asked["number"],
        "payload": asked["payload"],
        "roles": asked["roles"],
        "asked_ns": run.began_ns,
        "deadline_ns": None if limit_s is None else run.began_ns + int(limit_s * 1e9),
        "decision": None,
    }
    run.put({asked["name"]: record})
    return None


async def _decide(run: Run, request: Mapping[str, Json]) -> Json:
    """Take a decision, or return why not: a refusal is a value, so that the client makes the whole error of it."""
    name: str = request["name"]
    record = await run.get(name)
    if record is None:
        return {"taken": False}
    standing = record["decision"]
    deadline = record["deadline_ns"]
    if standing is None and deadline is not None and run.began_ns >= deadline:
        # The run does not know yet, such as after an hour without a worker; a decision made in time would hold.
        standing = _expired(deadline)
    if standing is not None:
        return {"taken": False, "standing": standing}
    if record["number"] in request["over"]:  # given up, such as by a time limit around it
        return {"taken": False}
    if not may_decide(request["roles"], record["roles"]):
        return {"taken": False, "required": record["roles"]}
    decision = {key: request[key] for key in ("decision", "approver", "roles", "comment", "trace")}
    decision["at_ns"] = run.began_ns
    assert run.target.key is not None
    sent = await run.send(run.target.key, signal_of(record["number"], name), decision)
    if not sent[0]:
        return {"taken": False}  # it has ended
    run.put({name: {**record, "decision": decision}})
    return {"taken": True, "decision": decision}


async def _expire(run: Run, asked: Mapping[str, Json]) -> Json:
    """Return the decision that stands; nobody made one in time where there is none."""
    record = await run.get(asked["name"])
    if record is None or record["number"] != asked["number"]:
        return _expired(run.began_ns)
    if record["decision"] is None:
        record["decision"] = _expired(record["deadline_ns"] or run.began_ns)
        run.put({asked["name"]: record})
    return record["decision"]


def _expired(at_ns: int) -> dict[str, Json]:
    return {"decision": "expired", "approver": None, "roles": [], "comment": None, "at_ns": at_ns, "trace": {}}


_METHODS: Final[dict[str, Callable[[Run, Mapping[str, Json]], Awaitable[Json]]]] = {
    f"{APPROVALS_TYPE}.ask": _ask,
    f"{APPROVALS_TYPE}.decide": _decide,
    f"{APPROVALS_TYPE}.expire": _expire,
}
KINDS: Final[dict[tuple[str, str], Kind]] = {(APPROVALS, method): "write" for method in _METHODS}
"""What each worker registers beside its handlers."""


async def invoke_approvals(run: Run, target: Target, payload: Json) -> Outcome:
    """Run a method of the entity; what a worker calls for the service `APPROVALS`."""
    try:
        return [True, await _METHODS[target.handler](run, payload)]
    except Exception as exc:  # an input that no client of ours has written
        return [False, error_to_json(exc)]
