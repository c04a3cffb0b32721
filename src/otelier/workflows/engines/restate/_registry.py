"""The object `otelier.run`, keyed by workflow id: it starts a run once, numbers its signals, knows that it ended.

Every worker of a server has it, and each answers for all: workers of other services, and of other releases of otelier.
So what it keeps and does is a contract, `SHARED_VERSION`, with that of `otelier.approvals`:

- its state: the keys `run` (target, hash of target and payload, invocation, headers, parent, began, detached), `end`
  (status, at) and `signals NAME` (how many came), and for `start` and the others what is asked and answered;
- what each handler does, in its order: an invocation that began at one worker may go on at another.

A release may add members that others ignore. For another order or form it gives the handler a new name and raises
`SHARED_VERSION`; then workers of the lower version answer only where no other one does.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from restate import InvocationRetryPolicy, ObjectContext, ObjectSharedContext, VirtualObject
from restate.exceptions import TerminalError
from restate.serde import BytesSerde

from otelier.codec import read_json
from otelier.workflows.engines.answers import canonical, dumps
from otelier.workflows.engines.protocol import APPROVALS, APPROVALS_TYPE, Json, Target
from otelier.workflows.engines.restate._answers import CANCELLED, to_bytes
from otelier.workflows.engines.restate._names import END, RUN, RUNS, place_of, service_name, signal_name
from otelier.workflows.engines.restate._options import Options
from otelier.workflows.engines.restate._run import META

_KEPT = timedelta(minutes=10)
"""How long the server knows a request of a client again."""
_FORGET = "forget"
"""Method of the entity of approvals that only this object calls."""
_SERDE = BytesSerde()


def runs_object(
    options: Options, policy: InvocationRetryPolicy, missing: Callable[[Target], Awaitable[list[str] | None]]
) -> VirtualObject:
    """Return the object.

    Args:
        options: Times and numbers.
        policy: How often the server tries its handlers.
        missing: Returns the handlers that are registered with the server if that of a target is not among them.
    """
    silent = timedelta(seconds=options.silent_s)
    runs = VirtualObject(
        RUNS,
        invocation_retry_policy=policy,
        journal_retention=timedelta(0),
        idempotency_retention=_KEPT,
        inactivity_timeout=silent,
        abort_timeout=silent,
    )

    @runs.handler(input_serde=_SERDE, output_serde=_SERDE)
    async def start(ctx: ObjectContext, given: bytes) -> bytes:
        asked = read_json(given.decode())
        target = Target(*asked["target"])
        wanted = hashlib.sha256(canonical([*asked["target"], asked["payload"]]).encode()).hexdigest()
        known = await ctx.get(RUN, _SERDE)
        if known is not None:
            found = read_json(known.decode())
            same = found["wanted"] == wanted
            known_as = {"invocation": found["invocation"], "headers": found["headers"]}
            return to_bytes(known_as if same else {"exists": found["target"][:2]})
        refused = await _refused(target, missing)
        if refused is not None:
            return to_bytes(refused)
        run_id, parent, began = ctx.key(), asked.get("parent"), asked.get("began")
        meta = {"id": run_id, "headers": asked["headers"], "parent": parent, "began": began}
        invocation = await _sent(ctx, target, to_bytes(asked["payload"]), dumps(meta))
        stored = {"invocation": invocation, "wanted": wanted, "target": asked["target"], "parent": parent}
        stored["headers"] = asked["headers"]
        ctx.set(RUN, to_bytes({**stored, "detached": asked.get("detached", False), "began": began}), _SERDE)
        return to_bytes({"invocation": invocation})

    @runs.handler(input_serde=_SERDE, output_serde=_SERDE)
    async def signal(ctx: ObjectContext, given: bytes) -> bytes:
        asked = read_json(given.decode())
        known, ended = await ctx.get(RUN, _SERDE), await ctx.get(END, _SERDE)
        if known is None:
            return to_bytes({"unknown": True})
        if ended is not None:
            return to_bytes({"ended": read_json(ended.decode())["status"]})
        at = asked.get("at") or await ctx.run_typed("now", _now)
        counted = f"signals {asked['name']}"
        number = int(await ctx.get(counted, _SERDE) or b"0")
        ctx.set(counted, str(number + 1).encode(), _SERDE)
        name, value = signal_name(asked["name"], number), {"payload": asked["payload"], "at": at}
        ctx.resolve_signal(read_json(known.decode())["invocation"], name, to_bytes(value), _SERDE)
        return to_bytes({"at": at})

    @runs.handler(input_serde=_SERDE, output_serde=_SERDE)
    async def end(ctx: ObjectContext, given: bytes) -> bytes:
        known = await ctx.get(END, _SERDE)
        if known is not None:  # by a life before, or by who killed it
            return known
        asked = read_json(given.decode())
        at = asked.get("at") or await ctx.run_typed("now", _now)
        told = to_bytes({**asked, "at": at})
        ctx.set(END, told, _SERDE)
        ctx.generic_send(RUNS, "clear", b"null", key=ctx.key(), send_delay=timedelta(seconds=options.retention_s))
        return told

    @runs.handler(input_serde=_SERDE, output_serde=_SERDE)
    async def clear(ctx: ObjectContext, _: bytes) -> bytes:
        if await ctx.get(END, _SERDE) is not None:
            ctx.clear_all()
            ctx.generic_send(
                *place_of(Target(APPROVALS, f"{APPROVALS_TYPE}.{_FORGET}", ctx.key())), b"null", key=ctx.key()
            )
        return b"null"

    @runs.handler(kind="shared", input_serde=_SERDE, output_serde=_SERDE)
    async def find(ctx: ObjectSharedContext, _: bytes) -> bytes:
        known = await ctx.get(RUN, _SERDE)
        return to_bytes({"unknown": True} if known is None else read_json(known.decode()))

    return runs


def approvals_object(policy: InvocationRetryPolicy) -> VirtualObject:
    """Return the object of the entity of approvals, which forgets with each run what that had asked for."""
    approvals = VirtualObject(service_name(APPROVALS, APPROVALS_TYPE, is_entity=True), invocation_retry_policy=policy)

    @approvals.handler(_FORGET, input_serde=_SERDE, output_serde=_SERDE, journal_retention=timedelta(0))
    async def forget(ctx: ObjectContext, _: bytes) -> bytes:
        ctx.clear_all()
        return b"null"

    return approvals


async def _sent(ctx: ObjectContext, target: Target, payload: bytes, meta: str) -> str:
    """Send a run to its handler, and return its invocation."""
    while True:
        sent = ctx.generic_send(
            *place_of(target), payload, key=target.key, idempotency_key=ctx.key(), headers={META: meta}
        )
        try:
            return await sent.invocation_id()
        except TerminalError as exc:
            # Who asks was cancelled, and this with it: but it is sent, and nobody else would know of it. What is sent
            # again is the same invocation, by its key.
            if exc.status_code != CANCELLED:
                raise


async def _refused(target: Target, missing: Callable[[Target], Awaitable[list[str] | None]]) -> Json:
    """Return why a target cannot be started, `None` if it can."""
    handlers = await missing(target)
    if handlers is None:
        return None
    is_method = target.key is None and "." in target.handler
    if is_method and await missing(Target(target.service, target.handler, "")) is None:
        return {"no_key": True}
    return {"handlers": handlers}


def _now() -> int:
    return time.time_ns()
