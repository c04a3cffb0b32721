"""Where services are registered with Restate's server, and what waits because nobody answers there.

`_offers` says what is registered when; this asks and tells the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from otelier.errors import EngineError
from otelier.settings import RESTATE_IDENTITY_KEY
from otelier.workflows.engines.protocol import APPROVALS, Target
from otelier.workflows.engines.restate._names import RUNS, SHARED, place_of, version_of
from otelier.workflows.engines.restate._server import Server

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


class Deployments:
    """The URLs that one server was told of, and the services that it found there."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._handlers: set[tuple[str, str]] = set()
        """Those that were found registered."""

    async def register(self, url: str) -> None:
        """Tell the server that a worker answers at a URL.

        Raises:
            EngineError: with the server's own words, if it cannot reach it.
        """
        response = await self._server.admin("POST", "/deployments", {"uri": url, "force": True})
        if response.status not in {200, 201}:
            if "401 Unauthorized" in response.words():  # of the worker itself
                raise EngineError(
                    f"Restate's server at {self._server.address} cannot use the worker at {url}: {response.words()} "
                    f"The worker takes only requests that are signed with the key of {RESTATE_IDENTITY_KEY.variable}, "
                    "and this server's are not. Start the server with `request-identity-private-key-pem-file`, and set "
                    "the variable to the public key that it prints then: `publickeyv1_...`."
                )
            raise EngineError(
                f"Restate's server at {self._server.address} cannot use this worker at {url}: {response.words()} "
                "The server must reach that URL: OTELIER_WORKER_BIND says where the worker listens, OTELIER_WORKER_URL "
                "how the server reaches it."
            )

    async def trouble_of(self, url: str) -> str | None:
        """Return in the server's words why no worker answers at a URL, `None` where one does; nothing is registered."""
        response = await self._server.admin("POST", "/deployments", {"uri": url, "force": True, "dry_run": True})
        return None if response.status in {200, 201} else response.words()

    async def look_again(self, url: str) -> None:
        """Let the server read anew what a worker offers that is registered already; new runs stay where they go."""
        found = await self._server.rows("SELECT id, endpoint FROM sys_deployment")
        for one in found:
            if one["endpoint"].rstrip("/") == url:
                await self._server.admin("PATCH", f"/deployments/{one['id']}", {"overwrite": True})

    async def deployed(self) -> dict[str, Deployment]:
        """Return where new invocations of each service go."""
        found: dict[str, Deployment] = {}
        for one in await self._server.rows(
            "SELECT s.name, d.id, d.endpoint FROM sys_service s JOIN sys_deployment d ON d.id = s.deployment_id"
        ):
            url = str(one.get("endpoint") or "").rstrip("/")
            found[one["name"]] = Deployment(one["id"], url, version_of(url))
        return found

    async def sharing(self) -> list[str]:
        """Return the URLs where workers have the objects that all share, those of the newest first."""
        rows = await self._server.rows(
            f"SELECT endpoint FROM sys_deployment WHERE endpoint LIKE '%{SHARED}/v%' ORDER BY created_at DESC"  # noqa: S608 -- ours
        )
        return list(dict.fromkeys(one["endpoint"].rstrip("/") for one in rows))

    async def stuck(self, after_s: float) -> list[Stuck]:
        """Return what waits for the objects that all workers share because a worker of them does not answer.

        It cannot be reached, or has said nothing for so long: what these objects do takes milliseconds. This reads what
        the server has in memory of what it tries, not the runs, and costs the same with any number of them.
        """
        silent = f"i.in_flight AND i.last_start_at < now() - INTERVAL '{after_s:.3f} seconds'"
        rows = await self._server.rows(
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
        for one in await self._server.rows(
            f"SELECT id, status, pinned_deployment_id AS pinned FROM sys_invocation WHERE id IN ({ids})"  # noqa: S608 -- its own
        ):
            has_begun = one["status"] == "running" or one.get("pinned") == tried[one["id"]]
            is_paused = is_paused or has_begun
            await self._server.admin("PATCH", f"/invocations/{one['id']}/{'pause' if has_begun else 'resume'}")
        return is_paused

    async def move_paused(self) -> None:
        """Let what was paused to be moved go on where new ones go; only what is paused can be moved."""
        for one in await self._server.rows(
            f"SELECT id FROM sys_invocation WHERE status='paused' AND (target_service_name='{RUNS}'"  # noqa: S608 -- ours
            f" OR starts_with(target_service_name, '{APPROVALS}.'))"
        ):
            await self._server.admin("PATCH", f"/invocations/{one['id']}/resume?deployment=latest")

    async def missing(self, target: Target) -> list[str] | None:
        """Return the handlers that are registered if that of a target is not among them."""
        service, handler = place_of(target)
        if (service, handler) in self._handlers:
            return None
        response = await self._server.admin(
            "GET", f"/services/{quote(service, safe='')}/handlers/{quote(handler, safe='')}"
        )
        if response.status == 200:
            self._handlers.add((service, handler))
            return None
        found = (await self._server.admin("GET", "/services")).json()["services"]
        return sorted(
            f"{one['name']}/{each['name']}"
            for one in found
            if not one["name"].startswith("otelier.")
            for each in one["handlers"]
        )
