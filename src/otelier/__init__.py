"""OpenTelemetry-native runtime context for AI agents.

Set once who a call is for, which agent makes it and which workflow it belongs to; spans, metrics and log records then
carry it to any OTLP backend.

    import otelier

    otelier.init(app="orchestrator", env="production")

    with otelier.context(user_id="u-1", agent="triage"):
        client.chat.completions.create(...)

Names are loaded when they are first used, so `import otelier` loads little more than OpenTelemetry's API.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from otelier import agents, errors, interceptors, llm, openai, testing, workflows
    from otelier.agents import Agent, AgentResult, RunContext, Tool, exported, generate_id, now_utc, tool
    from otelier.fields import (
        CallContext,
        ContextMiddleware,
        clear_context,
        context,
        get_agent,
        get_context,
        propagate,
        set_context,
    )
    from otelier.fields.processors import AgentSpanProcessor, ContextLogProcessor
    from otelier.identity import AgentIdentity, prompt_fingerprint
    from otelier.setup import activate, init, shutdown
    from otelier.telemetry import flush
    from otelier.workflows import Client, Worker, entity, function, workflow

__all__ = [
    "Agent",
    "AgentIdentity",
    "AgentResult",
    "AgentSpanProcessor",
    "CallContext",
    "Client",
    "ContextLogProcessor",
    "ContextMiddleware",
    "RunContext",
    "Tool",
    "Worker",
    "activate",
    "agents",
    "clear_context",
    "context",
    "entity",
    "errors",
    "exported",
    "flush",
    "function",
    "generate_id",
    "get_agent",
    "get_context",
    "init",
    "interceptors",
    "llm",
    "now_utc",
    "openai",
    "prompt_fingerprint",
    "propagate",
    "set_context",
    "shutdown",
    "testing",
    "tool",
    "workflow",
    "workflows",
]

_ROOMS: Final = {
    "Agent": "agents",
    "AgentIdentity": "identity",
    "AgentResult": "agents",
    "AgentSpanProcessor": "fields.processors",
    "CallContext": "fields",
    "Client": "workflows",
    "ContextLogProcessor": "fields.processors",
    "ContextMiddleware": "fields",
    "RunContext": "agents",
    "Tool": "agents",
    "Worker": "workflows",
    "activate": "setup",
    "clear_context": "fields",
    "context": "fields",
    "entity": "workflows",
    "exported": "agents",
    "flush": "telemetry",
    "function": "workflows",
    "generate_id": "agents",
    "get_agent": "fields",
    "get_context": "fields",
    "init": "setup",
    "now_utc": "agents",
    "prompt_fingerprint": "identity",
    "propagate": "fields",
    "set_context": "fields",
    "shutdown": "setup",
    "tool": "agents",
    "workflow": "workflows",
}
"""Room of each name; names that are rooms themselves are not listed."""


def __getattr__(name: str) -> Any:
    # `from . import room` would ask this function again, without end.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = importlib.import_module(f"{__name__}.{_ROOMS.get(name, name)}")
    value = getattr(room, name) if name in _ROOMS else room
    globals()[name] = value  # asked once: each later use would cost 0.35 µs more
    return value


def __dir__() -> list[str]:
    return __all__
