"""The agents this process has seen: each is reported once, by one log event and one count."""

from __future__ import annotations

import threading
from typing import Any, Final

from otelier import names
from otelier.identity._agent import AgentIdentity
from otelier.identity._process import process
from otelier.signals import emit_event, on_reset, report_fault, warn_once

_MAX_AGENTS: Final = 1_000
_NOWHERE: Final = {"otelier-no-span": True}
"""What makes a context that holds nothing: an empty one counts as none given, and the current one is taken."""


class _Registry:
    """What was seen, what of it is not reported yet, and where reports go."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        self.seen: set[tuple[str | None, str | None]] = set()
        self.waiting: list[AgentIdentity] = []
        self.logger_provider: Any = None
        self.meter_provider: Any = None


_registry = _Registry()


def register(identity: AgentIdentity) -> None:
    """Report *identity* if this process sees it for the first time; before otelier is switched on it waits for that."""
    key = (identity.id, identity.name)
    with _registry.lock:
        if key in _registry.seen:
            return
        if len(_registry.seen) < _MAX_AGENTS:
            _registry.seen.add(key)
            _registry.waiting.append(identity)
    if len(_registry.seen) >= _MAX_AGENTS:
        warn_once(
            "identity.too_many_agents",
            "This process has named %d agents: further ones are not registered. Agents are few, users and sessions "
            "many: pass those as user_id and session_id.",
            _MAX_AGENTS,
        )
    if process() is not None:
        report_waiting()


def report_to(*, logger_provider: Any = None, meter_provider: Any = None) -> None:
    """Send reports to the given providers from now on; `None` keeps what was said before, at first the global ones."""
    _registry.logger_provider = logger_provider or _registry.logger_provider
    _registry.meter_provider = meter_provider or _registry.meter_provider


def report_waiting() -> None:
    """Report what was seen before otelier was switched on."""
    while True:
        with _registry.lock:
            if not _registry.waiting:
                return
            identity = _registry.waiting.pop(0)
        try:
            _report(identity)
        except Exception as exc:
            report_fault("identity.register", exc)


def _report(identity: AgentIdentity) -> None:
    # Imported here: with it the context rooms would cost a third more to load.
    from opentelemetry import _logs, metrics
    from opentelemetry.context import Context

    about = {
        names.AGENT_NAME: identity.name,
        names.RESOLVED_AGENT_ID: identity.id,
        names.AGENT_SOURCE: identity.source,
        names.AGENT_FINGERPRINT: identity.fingerprint,
    }
    attributes = {key: value for key, value in about.items() if value is not None}
    logger = _logs.get_logger(names.SCOPE, logger_provider=_registry.logger_provider)
    # Of no span and no user: an agent is the process's, not his whose call came first.
    nowhere = Context(_NOWHERE)
    emit_event(logger, names.AGENT_REGISTERED, attributes, nowhere)
    meter = metrics.get_meter(names.SCOPE, meter_provider=_registry.meter_provider)
    counter = meter.create_counter(names.AGENT_REGISTRATIONS, unit="{agent}", description="Agents seen by a process.")
    counter.add(1, {names.AGENT_SOURCE: identity.source or ""}, nowhere)


@on_reset
def _forget() -> None:
    _registry.clear()
