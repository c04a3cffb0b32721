"""A server as a diagnosis sees it: its version and clock, the workers it knows, and what it says of those that fail."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from otelier.workflows.engines.restate._address import Address, parse_address
from otelier.workflows.engines.restate._deployments import Deployments
from otelier.workflows.engines.restate._http import request
from otelier.workflows.engines.restate._names import RUNS, SHARED, version_of
from otelier.workflows.engines.restate._options import Options
from otelier.workflows.engines.restate._server import OLDEST, Server, is_too_old

_MAX_WORDS: Final = 300
_AT_ONCE: Final = 10
_OURS: Final = f"invoked_by_service_name='{RUNS}' AND idempotency_key IS NOT NULL"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSeen:
    """A URL that workers registered."""

    id: str
    """That of the deployment, as the server calls it."""
    url: str
    version: int
    services: Sequence[str]
    """Its services and entities, but for ours."""
    is_current: bool
    """Whether new runs begin there."""
    open_runs: int
    """Runs that began there, and have not ended."""
    trouble: str | None
    """What the server says of why it does not reach it; `None` where it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a server tells of itself."""

    address: str
    version: str
    oldest: str | None
    """The first version that can be used, where this one is too old: nothing else was asked then."""
    ahead_s: float | None
    """How far its clock is ahead of ours, in whole seconds as it tells; `None` where it does not."""
    ingress_trouble: str | None = None
    """Why it takes no request of clients; `None` where it does."""
    workers: Sequence[WorkerSeen] = ()
    failing: Sequence[tuple[int, str]] = ()
    """How many invocations are tried again, and the server's words of why; the most first."""


async def inspect(address: str) -> Inspection:
    """Return what the server of an address tells. Nothing is changed.

    Raises:
        EngineError: if the address is none, no server answers there, or what answers is none.
    """
    parsed = parse_address(address)
    server = Server(parsed, Options(again_s=2.0))
    version, date = await server.version()
    ahead_s = None if date is None else _ahead(date)
    if is_too_old(version):
        oldest = ".".join(map(str, OLDEST))
        return Inspection(address=str(parsed), version=version, oldest=oldest, ahead_s=ahead_s)
    trouble, workers, failing = await asyncio.gather(_trouble(parsed), _workers(server), _failing(server))
    return Inspection(
        address=str(parsed),
        version=version,
        oldest=None,
        ahead_s=ahead_s,
        ingress_trouble=trouble,
        workers=workers,
        failing=failing,
    )


async def _trouble(address: Address) -> str | None:
    try:
        answer = await request(address.host, address.ingress, "GET", "/restate/health")
    except OSError as exc:
        return str(exc.strerror or exc)
    return None if answer.status == 200 else f"{answer.status} {answer.words()[:_MAX_WORDS]}"


def _ahead(date: str) -> float | None:
    try:
        told = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    now = time.time()  # the header has whole seconds: the server's clock is between this and a second more
    return told - now if told > now else min(told + 1 - now, 0.0)


async def _workers(server: Server) -> list[WorkerSeen]:
    rows = await server.rows(
        "SELECT pinned_deployment_id AS id, count(*) AS many FROM sys_invocation"  # noqa: S608 -- ours
        f" WHERE {_OURS} AND status<>'completed' GROUP BY pinned_deployment_id"
    )
    pinned = {row.get("id"): row["many"] for row in rows}
    current = {row["deployment_id"] for row in await server.rows("SELECT deployment_id FROM sys_service")}
    found = (await server.admin("GET", "/deployments")).json()["deployments"]
    bases = {base for one in found if (base := _base(one)) + SHARED in one.get("uri", "")}
    ours = [one for one in found if SHARED not in one.get("uri", "") and _base(one) in bases]
    limit, deployments = asyncio.Semaphore(_AT_ONCE), Deployments(server)

    async def seen(one: dict[str, Any]) -> WorkerSeen:
        url = one.get("uri") or ""
        async with limit:
            trouble = await deployments.trouble_of(url)
        return WorkerSeen(
            id=one["id"],
            url=url,
            version=version_of(url) or 1,
            services=sorted(each["name"] for each in one["services"] if not each["name"].startswith("otelier.")),
            is_current=one["id"] in current,
            open_runs=pinned.get(one["id"], 0),
            trouble=None if trouble is None else trouble[:_MAX_WORDS],
        )

    workers = await asyncio.gather(*(seen(one) for one in ours))
    return sorted(workers, key=lambda one: (-one.version, one.url))


def _base(deployment: Mapping[str, Any]) -> str:
    """Return where a worker listens, of the URL of what it shares with others or of a version."""
    return deployment.get("uri", "").rsplit("/", 1)[0].removesuffix(SHARED)


async def _failing(server: Server) -> list[tuple[int, str]]:
    rows = await server.rows(
        "SELECT last_failure FROM sys_invocation"
        " WHERE status='backing-off' AND COALESCE(last_failure_error_code, '')<>'RT0016'"
    )
    words = Counter(str(row.get("last_failure") or "no words").partition("\n")[0][:_MAX_WORDS] for row in rows)
    return [(many, text) for text, many in words.most_common()]
