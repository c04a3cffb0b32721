"""Host of bodies: the handlers, threads and streams of the worker that runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from otelier.workflows._handlers import Handler


@dataclass(frozen=True, slots=True)
class Host:
    """What a worker gives to the bodies it runs."""

    service: str
    """Service of handlers that name none."""
    handlers: Mapping[tuple[str, str], Handler]
    call_in_thread: Callable[[Callable[[], Any]], Any]
    """Calls a function in the worker's own threads, with the context, and returns an awaitable."""
    new_context: Callable[[Any], Any]
    """Makes of a body what its handler gets as the first parameter."""
    is_direct: bool = False
    """Whether handlers that name no service are in every service: one of them was called as a function."""
    streams: dict[str, list[asyncio.Queue[Any]]] = field(default_factory=dict[str, "list[asyncio.Queue[Any]]"])
    """Who reads what a run yields, by workflow id."""

    def service_of(self, service: str, handler: str) -> str:
        """Return the service that a body means by *service*."""
        if self.is_direct and (service, handler) not in self.handlers and (self.service, handler) in self.handlers:
            return self.service
        return service

    def entity_method(self, name: str) -> tuple[str, Handler | None]:
        """Return the service of an entity's method, and the method, where this worker has it."""
        for (service, one), handler in self.handlers.items():
            if one == name:
                return service, handler
        kind = name.partition(".")[0] + "."
        known = next((service for service, one in self.handlers if one.startswith(kind)), self.service)
        return known, None
