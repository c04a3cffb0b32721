"""Handlers as Restate's services and virtual objects, and the life of a body in one attempt of the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Final, cast

from restate import Context, InvocationRetryPolicy, Service, VirtualObject
from restate.exceptions import RetryableError
from restate.serde import BytesSerde
from restate.server_context import ServerInvocationContext

from otelier.codec import read_json
from otelier.errors import RunStopped
from otelier.workflows.engines.protocol import APPROVALS, Invoke, Kind, Outcome, Registry, Target
from otelier.workflows.engines.restate._names import handler_name, is_shared, service_name
from otelier.workflows.engines.restate._options import Options
from otelier.workflows.engines.restate._registry import runs_object
from otelier.workflows.engines.restate._run import PARKED, RestateRun

_SERDE: Final = BytesSerde()
_EVER: Final = 2**31
"""Attempts of the server: that a worker is away is no fault of a run."""
_AFTER_TIMEOUT_S: Final = 60.0
VERSION: Final[ContextVar[int]] = ContextVar("otelier-restate-version", default=1)
"""Version of the path that the server asked for."""


class Bodies:
    """The bodies that run in this process."""

    def __init__(self, registry: Registry, invoke: Invoke, options: Options) -> None:
        self._registry, self._invoke, self._options = registry, invoke, options
        self.live: set[RestateRun] = set()
        self.is_draining = False

    def services(self, missing: Callable[[Target], Awaitable[list[str] | None]]) -> dict[str, Service | VirtualObject]:
        """Return what is registered with the server, by name."""
        options = self._options
        policy = InvocationRetryPolicy(
            initial_interval=timedelta(milliseconds=50),
            exponentiation_factor=2.0,
            max_interval=timedelta(seconds=options.max_retry_s),
            max_attempts=_EVER,
        )
        runs = runs_object(options, policy, missing)
        found: dict[str, Service | VirtualObject] = {runs.name: runs}
        for (service, handler), kind in self._registry.kinds.items():
            is_entity = kind in {"write", "read"}
            name = service_name(service, handler, is_entity=is_entity)
            if name not in found:
                found[name] = VirtualObject(name) if is_entity else Service(name)
            inactivity_s, limit = options.inactivity_s, self._registry.timeouts_s.get((service, handler))
            abort_s = options.abort_s if limit is None else limit + _AFTER_TIMEOUT_S
            if is_shared(name):  # quick, so that a worker that says nothing is given up soon
                inactivity_s = abort_s = options.silent_s
            given: dict[str, Any] = {
                "name": handler_name(handler, is_entity=is_entity),
                "input_serde": _SERDE,
                "output_serde": _SERDE,
                "inactivity_timeout": timedelta(seconds=inactivity_s),
                "abort_timeout": timedelta(seconds=abort_s),
                "journal_retention": timedelta(seconds=options.retention_s),
                "idempotency_retention": timedelta(seconds=options.retention_s),
                "invocation_retry_policy": policy,
            }
            if is_entity:
                given["kind"] = "shared" if kind == "read" else "exclusive"
            cast("Any", found[name]).handler(**given)(self._body_of(service, handler, kind))
        return found

    def _body_of(self, service: str, handler: str, kind: Kind) -> Callable[..., Awaitable[bytes]]:
        async def body(ctx: Context, payload: bytes) -> bytes:
            context = cast("ServerInvocationContext", ctx)
            key = context.key() if kind in {"write", "read"} else None
            return await self._live_once(context, Target(service, handler, key), kind, payload)

        return body

    async def _live_once(self, context: ServerInvocationContext, target: Target, kind: Kind, payload: bytes) -> bytes:
        if self.is_draining and target.service != APPROVALS:
            raise RetryableError(PARKED)
        run = RestateRun(context, target, kind, VERSION.get(), self._options.unknown_s)
        self.live.add(run)
        outcome: Outcome | None = None
        try:
            try:
                await run.prepare()
                outcome = await self._invoke(run, target, read_json(payload.decode()))
            except RunStopped:
                pass
            return await run.finish(outcome)
        finally:
            run.end_steps()
            self.live.discard(run)
