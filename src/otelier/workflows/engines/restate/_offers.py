"""What a worker offers to the server, and how it stays offered while other workers come and go.

What is new for a service goes to the deployment that registered it last, and what has begun stays where it began. So:

- A worker registers its own services by the URL of its version, but those of which a higher version is registered
  and answers: without its worker, new runs go to the code that is there.
- The objects that all workers share have a URL of their own at each worker, so that registering them moves nothing
  else. Where the worker that registered them last does not answer, another registers its own, and moves what waits.

Both hold from the start and later: each worker looks at the server's tables every few seconds. Two workers that do the
same at once do no harm: either's registration is good, and moving twice is moving once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from otelier.errors import EngineError
from otelier.faults import report_fault
from otelier.workflows.engines.restate._deployments import Deployment, Deployments, Stuck
from otelier.workflows.engines.restate._options import Options

logger = logging.getLogger("otelier")
_SETTLES: Final = 5
_HAND_OVER_S: Final = 2.0
_ASKED: Final = 5
_PAUSED_S: Final = 0.2
_SLOWEST: Final = 16
"""By how much the looks of a worker become rarer while they fail."""


@dataclass(slots=True)
class Offer:
    """Services of a worker under one URL."""

    url: str
    version: int
    names: frozenset[str]
    """The server's names of the services."""
    is_shared: bool
    """Whether every worker has them."""
    shown: frozenset[str]
    """Those that the server finds there when it looks now."""


class Registrar:
    """Registers what a worker offers, and keeps it so."""

    def __init__(self, deployments: Deployments, offers: Sequence[Offer], options: Options) -> None:
        self._deployments, self._options = deployments, options
        self._offers = [offer for offer in offers if offer.names]
        self._told: set[tuple[str, int]] = set()
        self._missed: set[str] = set()
        self._is_registered = False
        self._unsettled = 1
        """In how many looks more it searches what was paused to be moved, whoever did that and was killed itself."""

    async def register(self) -> None:
        """Register all.

        Raises:
            EngineError: with the server's own words, if it cannot reach the worker.
        """
        for offer in self._offers:
            await self._register(offer, await self._deployments.deployed())
        self._is_registered = True

    async def keep(self) -> None:
        """Look again and again, until cancelled; a server that does not answer is asked more rarely."""
        pause = 1
        while True:
            await asyncio.sleep(self._options.watch_s * pause * random.uniform(0.5, 1.5))  # noqa: S311 -- no secret
            try:
                await self.look()
                pause = 1
            except (EngineError, OSError):
                pause = min(pause * 2, _SLOWEST)
            except Exception as exc:
                report_fault("workflows.restate", exc)
                pause = _SLOWEST

    async def look(self) -> None:
        """Register again what the server lost or has only of lower versions; stand in for who does not answer."""
        latest = await self._deployments.deployed()
        missing = {name for offer in self._offers for name in offer.names if name not in latest}
        lost, self._missed = missing & self._missed, missing  # twice: a server that starts does not know all at once
        for offer in self._offers:
            if any(name in lost or 0 <= _version(latest.get(name)) < offer.version for name in offer.names):
                await self._register(offer, latest)
        stuck = await self._deployments.stuck(self._options.silent_s)
        if stuck:
            self._unsettled = _SETTLES
            await self._stand_in(latest, stuck)
        if self._unsettled:  # all runs are looked through, so not for ever
            self._unsettled -= 1
            await self._deployments.move_paused()

    async def hand_over(self) -> None:
        """Let another worker answer for all, if this one does; one that is not told so notices it by itself."""
        for offer in self._offers:
            if offer.is_shared and self._is_registered:
                with suppress(EngineError, OSError, asyncio.TimeoutError):
                    await asyncio.wait_for(self._hand_over(offer), _HAND_OVER_S)

    async def _hand_over(self, offer: Offer) -> None:
        latest = await self._deployments.deployed()
        if any(name in latest and latest[name].url == offer.url for name in offer.names):
            others = [url for url in await self._deployments.sharing() if url != offer.url]
            asked = (self._deployments.register(url) for url in others[:_ASKED])
            await asyncio.gather(*asked, return_exceptions=True)  # those that answer will do, whichever is the last

    async def _register(self, offer: Offer, latest: Mapping[str, Deployment], *, stands_in: bool = False) -> None:
        newer = frozenset[str]() if stands_in else await self._newer(offer, latest)
        offer.shown = offer.names - newer
        try:
            if offer.shown:
                await self._deployments.register(offer.url)
        finally:
            offer.shown = offer.names
        if newer:  # what began here needs it still, and this takes nothing that is new
            await self._deployments.look_again(offer.url)
        for name in sorted(newer):
            self._tell(name, offer.version, latest[name])

    async def _newer(self, offer: Offer, latest: Mapping[str, Deployment]) -> frozenset[str]:
        """Return the services of which a higher version is registered whose worker answers."""
        higher = {name: latest[name].url for name in offer.names if _version(latest.get(name)) > offer.version}
        answers = {url for url in set(higher.values()) if await self._deployments.trouble_of(url) is None}
        return frozenset(name for name, url in higher.items() if url in answers)

    def _tell(self, name: str, version: int, by: Deployment) -> None:
        if name.startswith("otelier.") or (name, by.version) in self._told:
            return
        self._told.add((name, by.version))
        logger.warning(
            "This worker gets no new runs of %r: it is version %d, and a worker of version %d answers at %s. To go "
            "back to the older code, stop that worker first, or start this one with a higher version.",
            name,
            version,
            by.version,
            by.url,
        )

    async def _stand_in(self, latest: Mapping[str, Deployment], stuck: Sequence[Stuck]) -> None:
        silent = {one.deployment for one in stuck}
        for offer in self._offers:
            now = [latest[name] for name in offer.names if name in latest] if offer.is_shared else []
            if any(one.id in silent for one in now):
                if any(one.url == offer.url for one in now):
                    return  # the server does not reach this worker: another one has to
                await self._register(offer, latest, stands_in=True)
                logger.warning(
                    "This worker stands in for one that Restate's server does not reach, at %s: starts, signals, "
                    "decisions and ends of all runs come here now.",
                    now[0].url,
                )
        if await self._deployments.move(stuck):
            await asyncio.sleep(_PAUSED_S)  # until it is, mostly


def _version(found: Deployment | None) -> int:
    """Return the version of a deployment, -1 for none."""
    return -1 if found is None else found.version
