"""What each program of the table does in a request: say whom it is for in one place, and work in all four."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from opentelemetry import trace

import otelier

TELEMETRY = os.environ["TELEMETRY"]
"""`own`, `contrib`, `both` or `alone`."""
POOL = ThreadPoolExecutor(2)
_tracer = trace.get_tracer("places")


def visit(place: str, where: str, user: str) -> None:
    """Work in *place*, after saying whom the request is for if that happens there."""
    if place == where and not user.startswith("nobody"):
        otelier.set_context(user_id=user, agent="support")
    with _tracer.start_as_current_span(place, attributes={"asked": user, "where": where}):
        pass


def around(app):
    """Return *app* as it is served: with the middleware where nothing else is there, or around the instrumentation."""
    return otelier.ContextMiddleware(app) if TELEMETRY in ("alone", "both") else app
