"""Restate's server as clients see it: the ingress takes requests, the admin side shows and manages."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote
from uuid import uuid4

from otelier.errors import EngineError
from otelier.settings import RESTATE_IDENTITY_KEY
from otelier.workflows.engines.protocol import APPROVALS, Json, Outcome, Target
from otelier.workflows.engines.restate._address import Address
from otelier.workflows.engines.restate._answers import Failed, outcome_of, to_bytes, unknown_run
from otelier.workflows.engines.restate._http import NotReached, Response, request
from otelier.workflows.engines.restate._names import RUNS, SHARED, place_of, version_of
from otelier.workflows.engines.restate._options import Options
from otelier.workflows.engines.restate._patience import Patience

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
_SILENT: Final = "'RT0010', 'RT0012', 'RT0023'"
"""Codes of a worker that cannot be reached, or whose URL is answered by something that is none or that stops."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where a service is registered."""

    id: str
    url: str
    version: int
    """That of its URL; 0 where it has none."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """An invocation of an object of ours whose worker does not answer."""

    invocation: str
    deployment: str
    """Which was asked last."""


class Server:
    """One server, which is asked on any event loop."""

    def __init__(self, address: Address, options: Options) -> None:
        self.address = address
        self._options = options
        self._at_ingress = Patience(address, address.ingress, "/restate/health", options.again_s)
        self._at_admin = Patience(address, address.admin, "/health", options.again_s)
        self._is_known = False
        self._handlers: set[tuple[str, str]] = set()

    # --- the ingress ---
    async def ask(self, run_id: str, method: str, given: Json) -> dict[str, Any]:
        """Ask the object of a run, once, and return its answer."""
        await self._opened()
        key = {"idempotency-key": uuid4().hex}
        path = f"/{RUNS}/{quote(run_id, safe='')}/{method}"
        response = await self._ingress("POST", path, to_bytes(given), key if method != "find" else {})
        ends = asyncio.get_running_loop().time() + self._options.again_s
        while response.status == 404 and asyncio.get_running_loop().time() < ends:
            if (await self.admin("GET", f"/services/{RUNS}")).status != 200:
                break
            await asyncio.sleep(_PAUSE_S)  # a server that has just started does not know yet what it knows
            response = await self._ingress("POST", path, to_bytes(given), key if method != "find" else {})
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
        return self._outcome(run_id, await self._ingress("GET", f"/restate/invocation/{invocation}/attach"))

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
        async def ask() -> Response:
            asking = request(self.address.host, self.address.ingress, method, path, body, headers)
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
        host, port = self.address.host, self.address.admin

        async def ask() -> Response:
            asking = request(host, port, method, path, given, {"accept": "application/json"})
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

    async def register(self, url: str) -> None:
        """Tell the server that a worker answers at a URL.

        Raises:
            EngineError: with the server's own words, if it cannot reach it.
        """
        response = await self.admin("POST", "/deployments", {"uri": url, "force": True})
        if response.status not in {200, 201}:
            if "401 Unauthorized" in response.words():  # of the worker itself
                raise EngineError(
                    f"Restate's server at {self.address} cannot use the worker at {url}: {response.words()} The worker "
                    f"takes only requests that are signed with the key of {RESTATE_IDENTITY_KEY.variable}, and this "
                    "server's are not. Start the server with `request-identity-private-key-pem-file`, and set the "
                    "variable to the public key that it prints then: `publickeyv1_...`."
                )
            raise EngineError(
                f"Restate's server at {self.address} cannot use this worker at {url}: {response.words()} The server "
                "must reach that URL: OTELIER_WORKER_BIND says where the worker listens, OTELIER_WORKER_URL how the "
                "server reaches it."
            )

    async def trouble_of(self, url: str) -> str | None:
        """Return in the server's words why no worker answers at a URL, `None` where one does; nothing is registered."""
        response = await self.admin("POST", "/deployments", {"uri": url, "force": True, "dry_run": True})
        return None if response.status in {200, 201} else response.words()

    async def look_again(self, url: str) -> None:
        """Let the server read anew what a worker offers that is registered already; new runs stay where they go."""
        found = await self.rows("SELECT id, endpoint FROM sys_deployment")
        for one in found:
            if one["endpoint"].rstrip("/") == url:
                await self.admin("PATCH", f"/deployments/{one['id']}", {"overwrite": True})

    async def deployed(self) -> dict[str, Deployment]:
        """Return where new invocations of each service go."""
        found: dict[str, Deployment] = {}
        for one in await self.rows(
            "SELECT s.name, d.id, d.endpoint FROM sys_service s JOIN sys_deployment d ON d.id = s.deployment_id"
        ):
            url = str(one.get("endpoint") or "").rstrip("/")
            found[one["name"]] = Deployment(one["id"], url, version_of(url))
        return found

    async def sharing(self) -> list[str]:
        """Return the URLs where workers have the objects that all share, those of the newest first."""
        rows = await self.rows(
            f"SELECT endpoint FROM sys_deployment WHERE endpoint LIKE '%{SHARED}/v%' ORDER BY created_at DESC"  # noqa: S608 -- ours
        )
        return list(dict.fromkeys(one["endpoint"].rstrip("/") for one in rows))

    async def stuck(self, after_s: float) -> list[Stuck]:
        """Return what waits for the objects that all workers share because a worker of them does not answer.

        It cannot be reached, or has said nothing for so long: what these objects do takes milliseconds. This reads what
        the server has in memory of what it tries, not the runs, and costs the same with any number of them.
        """
        silent = f"i.in_flight AND i.last_start_at < now() - INTERVAL '{after_s:.3f} seconds'"
        rows = await self.rows(
            "SELECT i.id, i.last_attempt_deployment_id AS tried FROM sys_invocation_state i"  # noqa: S608 -- ours
            " JOIN sys_deployment d ON d.id = i.last_attempt_deployment_id"
            f" WHERE d.endpoint LIKE '%{SHARED}/v%' AND (i.last_failure_error_code IN ({_SILENT}) OR {silent})"
            " LIMIT 1000"
        )
        return [Stuck(one["id"], one["tried"]) for one in rows]

    async def move(self, stuck: Sequence[Stuck]) -> bool:
        """Let what is stuck begin again where new ones go; return whether `move_paused` has to go on with some."""
        ids = ",".join(f"'{one.invocation}'" for one in stuck)
        tried, is_paused = {one.invocation: one.deployment for one in stuck}, False
        for one in await self.rows(
            f"SELECT id, status, pinned_deployment_id AS pinned FROM sys_invocation WHERE id IN ({ids})"  # noqa: S608 -- its own
        ):
            has_begun = one["status"] == "running" or one.get("pinned") == tried[one["id"]]
            is_paused = is_paused or has_begun
            await self.admin("PATCH", f"/invocations/{one['id']}/{'pause' if has_begun else 'resume'}")
        return is_paused

    async def move_paused(self) -> None:
        """Let what was paused to be moved go on where new ones go; only what is paused can be moved."""
        for one in await self.rows(
            f"SELECT id FROM sys_invocation WHERE status='paused' AND (target_service_name='{RUNS}'"  # noqa: S608 -- ours
            f" OR starts_with(target_service_name, '{APPROVALS}.'))"
        ):
            await self.admin("PATCH", f"/invocations/{one['id']}/resume?deployment=latest")

    async def missing(self, target: Target) -> list[str] | None:
        """Return the handlers that are registered if that of a target is not among them."""
        service, handler = place_of(target)
        if (service, handler) in self._handlers:
            return None
        response = await self.admin("GET", f"/services/{quote(service, safe='')}/handlers/{quote(handler, safe='')}")
        if response.status == 200:
            self._handlers.add((service, handler))
            return None
        found = (await self.admin("GET", "/services")).json()["services"]
        return sorted(
            f"{one['name']}/{each['name']}"
            for one in found
            if not one["name"].startswith("otelier.")
            for each in one["handlers"]
        )

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

    async def _tried(self, ask: Callable[[], Awaitable[Response]]) -> Response:
        """Ask; a server that was there is asked again for a while: it may be restarting."""
        loop = asyncio.get_running_loop()
        ends: float | None = None
        while True:
            try:
                return await ask()
            except OSError as exc:
                if not self._is_known and isinstance(exc, NotReached):
                    raise EngineError(
                        f"No Restate server answers at {self.address}: {exc.strerror or exc}. Start one: `npx "
                        "@restatedev/restate-server`, or its container, and give its address: "
                        "`restate://HOST[:8080][?admin=9070]`."
                    ) from exc
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
