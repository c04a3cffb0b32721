"""`RateLimit`: an interceptor that limits runs or model calls per user and period."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Final

from otelier.faults import on_fork
from otelier.fields import get_context
from otelier.interceptors._interceptor import InterceptContext, Interceptor, InterceptResult, Phase

MAX_KEYS: Final = 10_000
"""Keys that one limit remembers; beyond, the one that had its last turn longest ago is forgotten."""

_PHASES: Final = (Phase.PRE_RUN, Phase.PRE_THINK)
_clock = time.monotonic
_sleep = asyncio.sleep
_lock = threading.Lock()  # of all limits: it is held for less than 1 us, and a fork must renew it


class RateLimit(Interceptor):
    """Limit each user to *calls* runs in any *per_s* seconds; further runs wait, or are rejected.

    One object serves all threads and event loops of the process, and counts the runs of all its agents together. It
    remembers 10,000 users. Runs without a user share one count. A rejected run does not count; a run that is cancelled
    while it waits does.

    Args:
        calls: Most runs that may start in a period, also all at once.
        per_s: Length of the period in seconds.
        key: Function that returns the key to count by, from the interceptor's context. `None` counts by the user's id,
            from the run's context or `otelier.context`.
        max_wait_s: Longest wait for a turn in seconds, in the order of arrival; 0 rejects at once.
        phase: What is counted: `Phase.PRE_RUN` runs, `Phase.PRE_THINK` model calls.
        response: Output of a rejected run.

    Raises:
        ValueError: if *calls* is below 1, *per_s* is not above 0, *max_wait_s* is below 0, or *phase* is another one.

    Example:
        >>> import otelier
        >>> agent = otelier.Agent("triage", "gpt-4.1-nano", interceptors=[RateLimit(1, per_s=3600)])
        >>> with otelier.context(user_id="alice"):
        ...     [agent.run("Hello").output for _ in range(2)]
        ['Hello! How can I help you today?', 'Too many requests. Try again later.']
    """

    def __init__(
        self,
        calls: int,
        *,
        per_s: float = 60.0,
        key: Callable[[InterceptContext], Hashable] | None = None,
        max_wait_s: float = 0.0,
        phase: Phase = Phase.PRE_RUN,
        response: str = "Too many requests. Try again later.",
    ) -> None:
        if calls < 1 or calls % 1 or not per_s > 0 or not max_wait_s >= 0 or phase not in _PHASES:
            raise ValueError(
                f"Cannot limit to {calls!r} calls per {per_s!r} s with a wait of {max_wait_s!r} s at {phase!r}: give "
                "1 call or more, a period above 0, a wait of 0 or more, and `Phase.PRE_RUN` or `Phase.PRE_THINK`."
            )
        self.calls = calls
        self.per_s = per_s
        self.key = key or _user
        self.max_wait_s = max_wait_s
        self.phase = phase
        self.response = response
        # For each key the times of its last turns, on our clock; they lie ahead for turns that are waited for.
        self._turns: OrderedDict[Hashable, deque[float]] = OrderedDict()

    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult | None:
        """Take a turn, wait for one, or stop the run."""
        if phase is not self.phase:
            return None
        wait_s = self._take_turn(self.key(context))
        if wait_s is None:
            return InterceptResult.stop(self.response, reason="rate_limit")
        if wait_s > 0:
            await _sleep(wait_s)
        return None

    def _take_turn(self, key: Hashable) -> float | None:
        """Return the seconds until the turn that was taken; `None` when it would come too late, and is not taken."""
        with _lock:
            now = _clock()
            turns = self._turns.get(key)
            if turns is None:
                turns = deque[float](maxlen=self.calls)
            # A turn may come one period after the one that is *calls* before it.
            at = max(now, turns[0] + self.per_s) if len(turns) == self.calls else now
            if at - now > self.max_wait_s:
                return None
            turns.append(at)
            self._turns[key] = turns
            self._turns.move_to_end(key)
            self._forget(now)
            return at - now

    def _forget(self, now: float) -> None:
        """Forget the keys whose turns no longer count; those that had one longest ago stand first."""
        while len(self._turns) > 1:
            key, turns = next(iter(self._turns.items()))
            if len(self._turns) <= MAX_KEYS and turns[-1] + self.per_s > now:
                return
            del self._turns[key]


def _user(_: InterceptContext) -> Hashable:
    return get_context().user_id


@on_fork
def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()
