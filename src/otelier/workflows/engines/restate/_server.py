"""Restate's server as clients see it: the ingress takes requests, the admin side shows and manages."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast
from urllib.parse import quote
from uuid import uuid4

from otelier.errors import EngineError
from otelier.workflows.engines.answers import unknown_run
from otelier.workflows.engines.protocol import Json, Outcome
from otelier.workflows.engines.restate._address import Address
from otelier.workflows.engines.restate._answers import Failed, outcome_of, to_bytes
from otelier.workflows.engines.restate._http import NotReached, Response, Silent, request
from otelier.workflows.engines.restate._names import RUNS
from otelier.workflows.engines.restate._options import Options
from otelier.workflows.engines.restate._patience import Patience

logger = logging.getLogger("otelier")
OLDEST: Final = (1, 7, 12)
"""The first version whose signals by name are kept."""
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_PAUSE_S: Final = 0.2
_BUSY: Final = frozenset({502, 503, 504})
"""What a server answers that starts, and no handler of ours."""
_STARTS: Final = "Datafusion error: External error: "
"""Of the words with which a server that starts, or stops, fails a query."""
_NOT_READY: Final = 470
"""Of an output that is not there yet."""


class Server:
    """One server, which is asked on any event loop."""

    def __init__(self, address: Address, options: Options) -> None:
        self.address = address
        self._options = options
        self._at_ingress = Patience(address, address.ingress, "/restate/health", options.again_s)
        self._at_admin = Patience(address, address.admin, "/health", options.again_s)
        self._is_known = self._has_told = False
        self._lost_at: float | None = None
        """When it did not answer last, after it had."""

    # --- the ingress ---
    async def ask(self, run_id: str, method: str, given: Json) -> dict[str, Any]:
        """Ask the object of a run, once, and return its answer."""
        await self._opened()
        late = asyncio.get_running_loop().call_later(self._options.late_s, self._tell_late)
        try:
            return await self._asked(run_id, method, given)
        finally:
            late.cancel()

    def _tell_late(self) -> None:
        if not self._has_told:
            self._has_told = True
            logger.warning(
                "Restate's server at %s keeps a request, and no worker has answered it for %g s: the client waits "
                "until one does. `otelier doctor` says which workers the server does not reach.",
                self.address,
                self._options.late_s,
            )

    async def _asked(self, run_id: str, method: str, given: Json) -> dict[str, Any]:
        given_once = {"idempotency-key": uuid4().hex}
        path = f"/{RUNS}/{quote(run_id, safe='')}/{method}"
        response = await self._ingress("POST", path, to_bytes(given), given_once)
        ends = asyncio.get_running_loop().time() + self._options.again_s
        while response.status == 404 and asyncio.get_running_loop().time() < ends:
            if (await self.admin("GET", f"/services/{RUNS}")).status != 200:
                break
            await asyncio.sleep(_PAUSE_S)  # a server that has just started does not know yet what it knows
            response = await self._ingress("POST", path, to_bytes(given), given_once)
        if response.status == 404:
            raise EngineError(
                f"No worker is registered with Restate's server at {self.address}: it answers {response.words()!r}. "
                "Start one that has the handler: `otelier worker`."
            )
        if response.status != 200:
            raise EngineError(f"Restate's server at {self.address} did not take the request: {response.words()}")
        return response.json()

    async def attach(self, invocation: str, run_id: str) -> Outcome:
        """Wait for an invocation's end."""
        path = f"/restate/invocation/{invocation}/attach"
        return self._outcome(run_id, await self._ingress("GET", path))

    async def output(self, invocation: str, run_id: str) -> Outcome | None:
        """Return how an invocation ended, `None` if it has not."""
        response = await self._ingress("GET", f"/restate/invocation/{invocation}/output")
        return None if response.status == _NOT_READY else self._outcome(run_id, response)

    def _outcome(self, run_id: str, response: Response) -> Outcome:
        """Return an outcome.

        Raises:
            UnknownRunError: if the server has forgotten it.
        """
        if response.status == 200:
            return outcome_of(run_id, response.body)[0]
        if response.status == 404:
            raise unknown_run(run_id)
        return outcome_of(run_id, Failed(response.status, response.message()))[0]

    async def _ingress(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        host, port, limit = self.address.host, self.address.ingress, self._options.answer_s

        async def ask() -> Response:
            asking = request(host, port, method, path, body, headers, timeout_s=limit)
            response = await self._at_ingress.wait(asking)
            if response.status in _BUSY:
                raise ConnectionError(response.words())
            return response

        return await self._tried(ask)

    # --- the admin side ---
    async def admin(self, method: str, path: str, body: Json = None) -> Response:
        """Ask the admin side."""
        await self._opened()
        return await self._admin(method, path, body)

    async def _admin(self, method: str, path: str, body: Json = None) -> Response:
        given = None if body is None else to_bytes(body)
        host, port, limit = self.address.host, self.address.admin, self._options.answer_s
        accept = {"accept": "application/json"}

        async def ask() -> Response:
            asking = request(host, port, method, path, given, accept, timeout_s=limit)
            response = await self._at_admin.wait(asking)
            if response.status >= 500 and _STARTS in response.message():
                raise ConnectionError(response.words())
            return response

        return await self._tried(ask)

    async def rows(self, query: str) -> list[dict[str, Any]]:
        """Return what a query finds."""
        response = await self.admin("POST", "/query", {"query": query})
        if response.status != 200:
            raise EngineError(f"Restate's server at {self.address} cannot tell of its runs: {response.words()}")
        return response.json()["rows"]

    async def _opened(self) -> None:
        if self._is_known:
            return
        version, _ = await self.version()
        if is_too_old(version):
            raise EngineError(
                f"Restate's server at {self.address} is version {version}: it does not keep signals by name, so a run "
                f"could lose one. Use {'.'.join(map(str, OLDEST))} or later: `npx @restatedev/restate-server`."
            )
        self._is_known = True

    async def version(self) -> tuple[str, str | None]:
        """Return its version, which may be too old, and its clock as its answer has it.

        Raises:
            EngineError: if no server answers, or what answers is none.
        """
        response = await self._admin("GET", "/version")
        told: Any = response.json() if response.status == 200 else None
        version = str(cast("dict[str, Any]", told).get("version")) if isinstance(told, dict) else ""
        if _VERSION.match(version) is None:
            raise EngineError(
                f"What answers at {self.address.host}:{self.address.admin} is no Restate server's admin side: "
                f"{response.status} {response.words()[:200]}. Name its port: `restate://HOST[:8080][?admin=9070]`."
            )
        return version, response.date

    def may_start(self) -> bool:
        """Return whether it did not answer a short while ago, and may not know yet again what it knows."""
        return self._lost_at is not None and time.monotonic() - self._lost_at < self._options.again_s

    async def _tried(self, ask: Callable[[], Awaitable[Response]]) -> Response:
        """Ask; a server that was there is asked again for a while: it may be restarting.

        One that is well and says nothing is asked again for ever: there is no answer yet, as of a run that goes on or
        whose worker is away, or the connection is lost. Nothing is done twice.
        """
        loop = asyncio.get_running_loop()
        ends: float | None = None
        while True:
            try:
                return await ask()
            except Silent:
                continue
            except OSError as exc:
                if not self._is_known and isinstance(exc, NotReached):
                    raise EngineError(
                        f"No Restate server answers at {self.address}: {exc.strerror or exc}. Start one: `npx "
                        "@restatedev/restate-server`, or its container, and give its address: "
                        "`restate://HOST[:8080][?admin=9070]`."
                    ) from exc
                self._lost_at = time.monotonic()
                ends = ends or loop.time() + self._options.again_s
                if loop.time() > ends:
                    raise EngineError(
                        f"Restate's server at {self.address} does not answer for {self._options.again_s:g} s: {exc}. "
                        "What runs there goes on when it is back."
                    ) from exc
            await asyncio.sleep(_PAUSE_S)


def is_too_old(version: str) -> bool:
    """Return whether a server of that version would lose signals.

    Example:
        >>> is_too_old("1.7.11"), is_too_old("1.8.0-rc.1")
        (True, False)
    """
    found = _VERSION.match(version)
    return found is None or tuple(map(int, found.groups())) < OLDEST
