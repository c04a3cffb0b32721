"""The engine that keeps runs on a Restate server, for workers on several machines.

The server owns the journal, the waits, the keys of entities, the takeover and the retention. A worker serves HTTP/2,
which the server reaches, and is registered with its version; a run stays with the version that began it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from otelier.errors import EngineError, UnknownRunError
from otelier.workflows.engines.answers import cancelled, run_ended, unknown_run
from otelier.workflows.engines.protocol import Invoke, Json, Outcome, Registry, Target
from otelier.workflows.engines.restate._address import Address, parse_address, worker_address
from otelier.workflows.engines.restate._answers import refusal
from otelier.workflows.engines.restate._deployments import Deployments
from otelier.workflows.engines.restate._info import QUEUED, UNSEEN_PAUSE_S, Reader
from otelier.workflows.engines.restate._offers import Registrar
from otelier.workflows.engines.restate._options import Options
from otelier.workflows.engines.restate._server import Server
from otelier.workflows.engines.shown import RunInfo, Status

_KEPT: Final = 10_000
_engines: dict[str, RestateEngine] = {}
_engines_lock = threading.Lock()


def open_engine(address: str, *, options: Options | None = None) -> RestateEngine:
    """Return this process's engine of an address, `restate://HOST[:8080][?admin=9070]`.

    Nothing is asked of the server before the first call.

    Raises:
        EngineError: if the address is none.
    """
    parsed = parse_address(address)
    with _engines_lock:
        engine = _engines.get(str(parsed))
        if engine is None or engine.is_closed or engine.is_foreign:
            engine = _engines[str(parsed)] = RestateEngine(parsed, options=options)
        return engine


class RestateEngine:
    """Keeps runs on a Restate server; see `open_engine`, which gives the one that a process shares.

    Args:
        address: Where the server is.
        bind: Where a worker listens; `None` is `OTELIER_WORKER_BIND`.
        url: How the server reaches it; `None` is `OTELIER_WORKER_URL`.
        options: Times and numbers.
    """

    def __init__(
        self,
        address: Address | str,
        *,
        bind: str | None = None,
        url: str | None = None,
        options: Options | None = None,
    ) -> None:
        self.address = parse_address(address) if isinstance(address, str) else address
        self.is_closed = False
        self.registered: list[str] = []
        """URLs of the workers of this process that are registered now."""
        self._options = options or Options()
        self._bind, self._url = bind, url
        self._pid = os.getpid()
        self._server = Server(self.address, self._options)
        self._deployments = Deployments(self._server)
        self._reader = Reader(self._server, self._options)
        self._found: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<RestateEngine at {self.address}>"

    @property
    def is_foreign(self) -> bool:
        """Whether it was opened by the process that this one was forked from."""
        return self._pid != os.getpid()

    def _opened(self) -> Server:
        if self.is_closed:
            raise EngineError(f"The engine of {self.address} is closed. Open it again: `open_engine`.")
        return self._server

    # --- workers ---
    async def serve(self, registry: Registry, invoke: Invoke, ready: Callable[[], object] = lambda: None) -> None:
        """Listen for the server, register with it, and run what it asks for, on this event loop, until cancelled.

        Raises:
            EngineError: if it cannot listen, or the server cannot reach it.
        """
        # Imported here: restate-sdk takes a second, and clients need none of it.
        from otelier.workflows.engines.restate._service import Bodies
        from otelier.workflows.engines.restate._worker import Listener

        self._opened()
        bodies = Bodies(registry, invoke, self._options)
        where = worker_address(self._bind, self._url)
        listener = Listener(where, registry.version, bodies, bodies.services(self._deployments.missing), self._options)
        registrar = Registrar(self._deployments, (listener.own, listener.shared), self._options)
        try:
            listener.begin()
            await registrar.register()
            self.registered.append(listener.own.url)
            keeping = asyncio.create_task(registrar.keep())
            try:
                ready()
                await listener.until_over()
            finally:
                self.registered.remove(listener.own.url)
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
        finally:
            await listener.stop(registrar.hand_over)

    # --- clients ---
    def is_driving(self) -> bool:
        """Return whether this process runs bodies."""
        return bool(self.registered)

    async def start(
        self, target: Target, payload: Json, headers: Mapping[str, str], *, run_id: str
    ) -> Mapping[str, str] | None:
        """Store a run, and return the headers of one that exists already.

        Raises:
            RunExistsError: if a run of that id has another target or payload.
            UnknownHandlerError: if no worker registered the handler: the server keeps nothing for it.
        """
        asked = {
            "target": [target.service, target.handler, target.key], "payload": payload, "headers": dict(headers),
            "began": time.time_ns(),
        }  # fmt: skip
        answer = await self._opened().ask(run_id, "start", asked)
        if "invocation" not in answer:
            raise refusal(run_id, answer, target=target)
        self._remember(run_id, answer["invocation"])
        return answer.get("headers")

    async def result(self, run_id: str, timeout_s: float | None) -> Outcome:
        """Wait for a run's end."""
        invocation = await self._invocation(run_id)
        try:
            return await asyncio.wait_for(self._outcome(run_id, invocation), timeout_s)
        except asyncio.TimeoutError:
            raise TimeoutError(f"Run {run_id!r} has not ended after {timeout_s:g} s; it goes on.") from None

    async def _outcome(self, run_id: str, invocation: str) -> Outcome:
        """Wait for a run's end.

        A run that was started just now, and each one while the server starts, is seen there a moment later; one that
        was cancelled before its turn is forgotten there.
        """
        server = self._opened()
        ends: float | None = None
        while True:
            try:
                return await server.attach(invocation, run_id)
            except UnknownRunError:
                if await self._reader.invocation_of(run_id) != invocation:
                    raise
                ends, ended = ends or time.monotonic() + self._options.again_s, await self._reader.ended(run_id)
                is_late = time.monotonic() > ends
                if ended == "cancelled" or (ended is None and is_late):
                    return cancelled(run_id)
                if is_late:  # it ended otherwise, and its outcome was deleted
                    raise
            await asyncio.sleep(UNSEEN_PAUSE_S)

    async def signal(self, run_id: str, name: str, payload: Json) -> None:
        """Keep a signal for a run."""
        asked = {"name": name, "payload": payload, "at": time.time_ns()}
        answer = await self._opened().ask(run_id, "signal", asked)
        if "at" not in answer:
            raise refusal(run_id, answer, signal=name)

    async def cancel(self, run_id: str) -> None:
        """Cancel a run and the runs that it called; a blocked one has no body, and ends here."""
        server = self._opened()
        await self._invocation(run_id)
        info = await self._reader.outline(run_id)
        if info.status in {"completed", "failed", "cancelled"}:
            return
        verb = "kill" if info.status == "blocked" else "cancel"
        await self._manage(run_id, verb)
        if verb == "kill" or info.waiting_for == QUEUED:  # no body hears of it
            await server.ask(run_id, "end", {"status": "cancelled"})
            for child in await self._reader.called_by(run_id):
                with suppress(UnknownRunError):  # it was cancelled before its turn
                    await self.cancel(child)

    async def resume(self, run_id: str) -> None:
        """Let a blocked run begin again at once; the server tries it again by itself as well."""
        self._opened()
        info = await self._reader.outline(run_id)
        if info.status in {"completed", "failed", "cancelled"}:
            raise run_ended(run_id, "cannot be resumed", info.status)
        await self._manage(run_id, "resume")

    async def runs(
        self, *, status: Status | None = None, service: str | None = None, limit: int = 100
    ) -> list[RunInfo]:
        """Return the latest runs, without their steps."""
        self._opened()
        return await self._reader.runs(status=status, service=service, limit=limit)

    async def run(self, run_id: str) -> RunInfo:
        """Return one run with its steps and what it waits for."""
        self._opened()
        return await self._reader.run(run_id)

    async def infos(self, run_ids: Sequence[str]) -> list[RunInfo]:
        """Return the runs of those ids that there are, with their steps, but not what these gave."""
        self._opened()
        return await self._reader.infos(run_ids)

    async def states(self, service: str) -> list[tuple[str, Json]]:
        """Return the key and the state of every entity of a service."""
        self._opened()
        return await self._reader.states(service)

    async def close(self) -> None:
        """Ask nothing more; there is nothing to give back."""
        self.is_closed = True

    async def _manage(self, run_id: str, verb: str) -> None:
        """Let the server do something with a run; that it has ended, or goes on already, is no fault."""
        response = await self._opened().admin("PATCH", f"/invocations/{await self._invocation(run_id)}/{verb}")
        if response.status not in {200, 202, 404, 409}:
            raise EngineError(f"Restate's server at {self.address} does not {verb} {run_id!r}: {response.words()}")

    async def _invocation(self, run_id: str) -> str:
        found = self._found.get(run_id)
        if found is None:
            found = await self._reader.invocation_of(run_id)
            if found is None:
                raise unknown_run(run_id)
            self._remember(run_id, found)
        return found

    def _remember(self, run_id: str, invocation: str) -> None:
        if len(self._found) >= _KEPT:
            self._found.pop(next(iter(self._found)), None)  # another loop may have done so
        self._found[run_id] = invocation
