"""Entities: handlers that share state by key."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from otelier.workflows._checks import checked_name
from otelier.workflows._handlers import Handler
from otelier.workflows.engines.protocol import Kind


class EntityType:
    """An entity: handlers that share state by key, one writer at a time for each key.

    Example:
        >>> from otelier import entity
        >>> counter = entity("Counter")
        >>> @counter.write
        ... async def add(ctx, by: int):
        ...     total = await ctx.get("total", 0) + by
        ...     ctx.set("total", total)
        ...     return total
        >>> add
        <write Counter.add>
    """

    def __init__(self, type: str, *, service: str | None = None) -> None:
        self.type = checked_name(type, "an entity's type")
        self.service = service

    def write(self, function: Callable[..., Any]) -> Handler:
        """Make *function* a method that may change the state, when nobody else does."""
        return self._method(function, "write")

    def read(self, function: Callable[..., Any]) -> Handler:
        """Make *function* a method that sees the state last saved, and waits for nobody."""
        return self._method(function, "read")

    def _method(self, function: Callable[..., Any], kind: Kind, owner: type | None = None) -> Handler:
        return Handler(function, kind, name=f"{self.type}.{function.__name__}", service=self.service, owner=owner)


class _Entities:
    """What `entity` is: makes an entity of a name, of a class, or of a lone function.

    Example:
        >>> from otelier import entity
        >>> @entity
        ... class Account:
        ...     @entity.write
        ...     async def deposit(ctx, amount: int):
        ...         ctx.set("balance", await ctx.get("balance", 0) + amount)
        >>> Account.deposit
        <write Account.deposit>
    """

    def __call__(self, of: str | type, *, service: str | None = None) -> Any:
        """Return the entity of a name, or *of* itself, a class, with its methods made handlers."""
        if isinstance(of, str):
            return EntityType(of, service=service)
        if isinstance(cast("Any", of), type):
            return _entity_of_class(of, service)
        raise TypeError(f"Cannot make an entity of a {type(of).__name__}: give its name, or decorate a class.")

    def write(self, function: Any = None, *, type: str | None = None, service: str | None = None) -> Any:
        """Make a lone function a writing method of the entity *type*, by default named after its module."""
        return self._lone(function, "write", type, service)

    def read(self, function: Any = None, *, type: str | None = None, service: str | None = None) -> Any:
        """Make a lone function a reading method of the entity *type*, by default named after its module."""
        return self._lone(function, "read", type, service)

    def _lone(self, function: Any, kind: Kind, of: str | None, service: str | None) -> Any:
        def make(one: Callable[..., Any]) -> Any:
            if "." in one.__qualname__.rpartition("<locals>.")[2]:  # in the body of a class, which `entity` decorates
                return _Method(one, kind)
            found = EntityType(of or _module_name(one), service=service)
            return found.write(one) if kind == "write" else found.read(one)

        return make if function is None else make(function)


class _Method:
    """A method in the body of a class that will be an entity."""

    def __init__(self, function: Callable[..., Any], kind: Kind) -> None:
        self.function = function
        self.kind: Kind = kind


entity: Final = _Entities()
"""Makes an entity: `entity("ChatAgent")` has the decorators `write` and `read`; `@entity` on a class makes its methods
handlers that write, or read where `@entity.read` stands at them; `@entity.write` makes one of a lone function."""


def _entity_of_class(cls: type, service: str | None) -> type:
    found = EntityType(cls.__name__, service=service)
    for name, given in list(vars(cls).items()):
        value = given.__func__ if isinstance(given, staticmethod) else given
        if isinstance(value, _Method):
            one, kind = value.function, value.kind
        elif not name.startswith("_") and (inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value)):
            one, kind = value, cast("Kind", "write")
        else:
            continue
        setattr(cls, name, found._method(one, kind, cls if _takes_self(one) else None))  # pyright: ignore[reportPrivateUsage]
    return cls


def _takes_self(method: Callable[..., Any]) -> bool:
    return next(iter(inspect.signature(method).parameters), None) == "self"


def _module_name(function: Callable[..., Any]) -> str:
    module = sys.modules.get(function.__module__)
    if function.__module__ != "__main__":
        return function.__module__.rpartition(".")[2] or function.__module__
    spec = getattr(module, "__spec__", None)
    file = getattr(module, "__file__", None)
    return (spec.name if spec is not None else Path(file).stem if file else "main").rpartition(".")[2]
