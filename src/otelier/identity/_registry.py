"""The agents this process has seen: each is reported once, by one log event and one count."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from otelier import names
from otelier.faults import on_reset, report_fault, warn_once
from otelier.identity._agent import AgentIdentity
from otelier.identity._process import process
from otelier.identity._prompts import is_name_of_prompt

MAX_AGENTS: Final = 1_000


class _Registry:
    """Agents seen, and those whose event or count still waits for a provider.

    Without a lock: a fork, or a signal's handler that sets a field, might find it held.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.seen: dict[tuple[str | None, str | None], object] = {}
        self.prompts: dict[tuple[str | None, str | None], object] = {}
        """Agents that were named, each with a fingerprint of its prompts."""
        self.events: deque[AgentIdentity] = deque()
        self.counts: deque[AgentIdentity] = deque()


_registry = _Registry()


def register(identity: AgentIdentity) -> None:
    """Report *identity* if this process sees it for the first time.

    A named agent is reported again, but not counted again, with each new fingerprint of its prompt. Before
    otelier is switched on, and while no provider is set that could take the report, it waits for that.
    """
    seen, key, mark = _registry.seen, (identity.id, identity.name), object()
    if key in seen:
        if identity.fingerprint is not None and identity.source != "fingerprint":
            _register_prompt(identity)
        return
    if len(seen) >= MAX_AGENTS and identity.source != "app":
        warn_once(
            "identity.too_many_agents",
            "This process has named %d agents: further ones are not registered. Agents are few, users and sessions "
            "many: pass those as user_id and session_id.",
            MAX_AGENTS,
        )
        return
    if seen.setdefault(key, mark) is mark:
        if identity.fingerprint is not None:
            _registry.prompts[identity.id, identity.fingerprint] = mark
        _registry.events.append(identity)
        _registry.counts.append(identity)
        report_waiting()


def _register_prompt(identity: AgentIdentity) -> None:
    prompts, key, mark = _registry.prompts, (identity.id, identity.fingerprint), object()
    if key in prompts or len(prompts) >= MAX_AGENTS:
        return
    if prompts.setdefault(key, mark) is mark:
        _registry.events.append(identity)
        report_waiting()


def report_waiting() -> None:
    """Report what was seen and could not be reported yet, each half as soon as it has a provider; never raises."""
    if process() is None or not (_registry.events or _registry.counts):
        return
    try:
        # Imported here: with it the context rooms would cost three times as much to load.
        from otelier.telemetry import has_provider

        if has_provider("logs"):
            _drain(_registry.events, _emit)
        if has_provider("metrics"):
            _drain(_registry.counts, _count)
    except Exception as exc:
        report_fault("identity.register", exc)


def _drain(waiting: deque[AgentIdentity], report: Callable[[AgentIdentity], None]) -> None:
    while True:
        try:
            identity = waiting.popleft()
        except IndexError:  # nothing waits, or another thread has taken the last one
            return
        try:
            report(identity)
        except Exception as exc:
            report_fault("identity.register", exc)


def _emit(identity: AgentIdentity) -> None:
    from otelier.telemetry import NOWHERE, emit_event  # see above

    about = {
        names.AGENT_NAME: identity.name,
        names.RESOLVED_AGENT_ID: identity.id,
        names.AGENT_SOURCE: identity.source,
        names.AGENT_FINGERPRINT: identity.fingerprint,
    }
    attributes = {key: value for key, value in about.items() if value is not None}
    # The event belongs to no span and no user: an agent is the process's, whoever's call came first.
    emit_event(names.SCOPE, names.AGENT_REGISTERED, attributes, NOWHERE)


def _count(identity: AgentIdentity) -> None:
    from otelier.telemetry import NOWHERE, meter_for  # see above

    counter = meter_for(names.SCOPE).create_counter(
        names.AGENT_REGISTRATIONS, unit="{agent}", description="Agents seen by a process."
    )
    counter.add(1, {names.AGENT_SOURCE: identity.source or ""}, NOWHERE)


@on_reset
def _forget() -> None:
    _registry.clear()


def agent_within_cardinality(name: str) -> bool:
    """Return whether metrics may carry *name* as the agent's: the process's own, and the first 200 of each kind.

    Names made of prompts are a kind of their own: prompts that change with each user take no place of a name that
    somebody gave.
    """
    from otelier.telemetry import within_cardinality

    own = process()
    if own is not None and name == own.app:
        return True
    return within_cardinality(names.AGENT_NAME, name, "of prompts" if is_name_of_prompt(name) else "")
