"""One dataclass that plain and frozen dataclasses may both derive from.

The standard library forbids a frozen dataclass below a plain one, and a plain one below a frozen one, and reads which
of them a base is from its `__dataclass_params__`. So the base answers there as the class asks that is being made: each
new subclass passes `__init_subclass__` right before its decorator, and is being decorated as long as it has parameters
of its own and no fields yet. Every other class in between keeps the standard library's rule.

A metaclass would do it, too, and then no context could derive from an `ABC` or a `Protocol` as well.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any


class EitherParams:
    """Stands for the `__dataclass_params__` of a base that is as frozen as the subclass that is being made."""

    def __init__(self, own: Any) -> None:
        self._own = own
        self._made = threading.local()

    def note(self, subclass: type) -> None:
        """Remember the class that this thread has just made."""
        self._made.last = weakref.ref(subclass)

    def __get__(self, instance: object, owner: type) -> Any:
        """Return the parameters of the class that is being decorated, else the base's own."""
        made = getattr(self._made, "last", None)
        subclass: type | None = None if made is None else made()
        if subclass is None or "__dataclass_fields__" in vars(subclass):
            return self._own
        params: Any = vars(subclass).get("__dataclass_params__")
        if params is None:
            return self._own
        above: list[Any] = [vars(base).get("__dataclass_params__") for base in subclass.__mro__[1:]]
        between = [one for one in above if one is not None and one is not self]
        return params if all(one.frozen == params.frozen for one in between) else self._own
