"""Questions to people: `ctx.human.approval` asks for a decision, and waits for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from otelier.errors import ApprovalError
from otelier.workflows._approvals import Approval, approval_of, checked_roles, may_decide, signal_of, target_of
from otelier.workflows._body import Body
from otelier.workflows._calls import Call, Plan
from otelier.workflows._checks import checked_name, checked_seconds
from otelier.workflows._headers import link_in
from otelier.workflows._payloads import to_payload
from otelier.workflows.engines.protocol import Json, Op

_MAX_TIMEOUT: Final = timedelta(days=36_500)


class Human:
    """Asks a person: `await ctx.human.approval(name)` waits for a decision."""

    def __init__(self, body: Body) -> None:
        self._body = body

    def approval(
        self,
        name: str,
        *,
        payload: Any = None,
        timeout: timedelta | None = None,
        required_roles: Sequence[str] = (),
    ) -> Call[Approval]:
        """Ask for a decision, and wait for it: by `Client.approve`, `Client.reject` or `otelier approve`.

        The first decision holds, also against the time limit.

        Args:
            name: Name of the approval, by which it is decided. It may be asked for again afterwards.
            payload: What the decision is about, as JSON holds it.
            timeout: Time to wait; `None` waits until it is decided. Then the answer is `expired`.
            required_roles: Roles of which an approver needs one; none lets anybody decide.

        Returns:
            A call whose value is the answer, with `.decision`, `.approver`, `.at` and `.comment`.

        Raises:
            TypeError: if *timeout* is no `timedelta`, or a role is no text.
            ValueError: if *timeout* is negative or above 100 years.
            CodecError: if *payload* has no form in JSON, or is larger than `OTELIER_PAYLOAD_MAX_BYTES`.
            WorkflowUseError: inside a step, or in another task than the body's.
        """
        body = self._body
        checked_name(name, "an approval's name")
        seconds = _seconds(timeout)
        what = f"the payload of approval {name!r}"
        plain = to_payload(payload, what=what)
        roles = checked_roles(required_roles, "required_roles")
        body.check(f"ctx.human.approval({name!r})")
        run = body.run
        number = run.made()
        asked = {"name": name, "number": number, "payload": plain, "roles": roles, "timeout_s": seconds}
        ask = run.call(target_of(run.id, "ask"), asked, {})
        wait = run.signal(signal_of(number, name), seconds)
        late = run.call(target_of(run.id, "expire"), {"name": name, "number": number}, {})
        return Call(body, f"ctx.human.approval({name!r})", _plan(body, name, roles, (ask, wait, late)))


def _plan(body: Body, name: str, roles: Sequence[str], ops: tuple[Op, Op, Op]) -> Plan[Approval]:
    ask, wait, late = ops
    yield (ask,)
    body.value_of(ask)
    yield (wait,)
    decided: Json = wait.value
    if decided is None:
        yield (late,)
        decided = body.value_of(late)
    answer = approval_of(decided)
    body.spans.waited(wait, f"approval {name}", link=link_in(decided["trace"]), is_late=answer.decision == "expired")
    if answer.decision != "expired" and not may_decide(decided["roles"], roles):
        raise ApprovalError(
            f"Approval {name!r} of run {body.run.id!r} was decided by {answer.approver!r}, who has none of the roles "
            f"{', '.join(map(repr, roles))}: somebody went round `Client.approve`. Look at who may write the engine.",
            workflow_id=body.run.id,
            name=name,
        )
    return answer


def _seconds(timeout: Any) -> float | None:
    if timeout is None:
        return None
    if not isinstance(timeout, timedelta):
        raise TypeError(
            f"Cannot use a {type(timeout).__name__} as `timeout`: give a time, such as `timedelta(minutes=30)`."
        )
    if timeout > _MAX_TIMEOUT:
        raise ValueError(f"Cannot use {timeout} as `timeout`: 100 years are the limit. Leave it out to wait for ever.")
    return checked_seconds(timeout.total_seconds(), "timeout")
