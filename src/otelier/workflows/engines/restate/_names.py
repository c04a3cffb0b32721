"""Names on Restate's server: of services, of handlers, and of the object that knows all runs."""

from __future__ import annotations

import re
from typing import Final

from otelier.workflows.engines.protocol import APPROVALS, Target

RUNS: Final = "otelier.run"
"""The object that knows each run by its workflow id."""
SHARED: Final = f"/{RUNS}"
"""Begins the path of the objects that all workers share."""
SHARED_VERSION: Final = 1
"""Of what those objects keep and do: see `_registry`."""
_FIRST: Final = "x0_"
"""Begins a name that would begin with no letter, as the server wants it, or with this."""
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_]|_(?=[0-9a-f]+_)")
_FOREIGN_SERVICE: Final = re.compile(r"[^a-zA-Z0-9_.-]|_(?=[0-9a-f]+_)")


def service_name(service: str, handler: str, *, is_entity: bool) -> str:
    """Return the server's name of a handler's service: an entity's type is an object of its own.

    Example:
        >>> service_name("shop", "Cart.add", is_entity=True), service_name("my shop", "order", is_entity=False)
        ('shop.Cart', 'my_20_shop')
    """
    return _escaped(_FOREIGN_SERVICE, f"{service}.{handler.partition('.')[0]}" if is_entity else service)


def handler_name(handler: str, *, is_entity: bool) -> str:
    """Return the server's name of a handler."""
    return _escaped(_FOREIGN, handler.partition(".")[2] if is_entity else handler)


def is_shared(name: str) -> bool:
    """Return whether the server's service of a name is an object of ours, which every worker has."""
    return name == RUNS or name.startswith(f"{APPROVALS}.")


def place_of(target: Target) -> tuple[str, str]:
    """Return the server's names of the service and the handler of *target*."""
    is_entity = target.key is not None
    return (
        service_name(target.service, target.handler, is_entity=is_entity),
        handler_name(target.handler, is_entity=is_entity),
    )


def _escaped(foreign: re.Pattern[str], name: str) -> str:
    """Return *name* with other characters by their numbers, so that two names never become one."""
    found = foreign.sub(lambda match: f"_{ord(match[0]):x}_", name)
    return f"{_FIRST}{found}" if found.startswith(_FIRST) or not found[:1].isalpha() else found
