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
RUN: Final = "run"
"""Key of its state: which invocation a run is, and what it was started with."""
END: Final = "end"
"""Key of its state: how and when it ended."""
CALLS: Final = " \u2192 "
"""Stands between the handler and the run that is called, in a label of the journal."""
GIVEN_UP_LABEL: Final = " given up"
"""Ends the label that says of an op that it is not waited for any more."""
_VERSION: Final = re.compile(r"/v(\d{1,9})/?$")
_FIRST: Final = "x0_"
"""Begins a name that would begin with no letter, as the server wants it, or with this."""
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_]|_(?=[0-9a-f]+_)")
_FOREIGN_SERVICE: Final = re.compile(r"[^a-zA-Z0-9_.-]|_(?=[0-9a-f]+_)")


def version_of(url: str) -> int:
    """Return the version of the worker's code that a registered URL names; 0 where it names none.

    Example:
        >>> version_of("http://10.0.0.5:9080/v2"), version_of("http://10.0.0.5:9080")
        (2, 0)
    """
    found = _VERSION.search(url)
    return int(found[1]) if found else 0


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


def signal_name(name: str, number: int) -> str:
    """Return how a signal of a run is named, the first of its name being number 0."""
    return f"{name}#{number}"


def _escaped(foreign: re.Pattern[str], name: str) -> str:
    """Return *name* with other characters by their numbers, so that two names never become one."""
    found = foreign.sub(lambda match: f"_{ord(match[0]):x}_", name)
    return f"{_FIRST}{found}" if found.startswith(_FIRST) or not found[:1].isalpha() else found
