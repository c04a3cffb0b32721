"""`RunContext`: the data of one run, for its tools and interceptors."""

from __future__ import annotations

import copy
import dataclasses
import functools
import threading
import uuid
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final, TypeVar, cast

from otelier.identity import AgentIdentity


class FrozenOrPlain:
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


C = TypeVar("C", bound="RunContext")

_AGENT: Final = "_otelier_agent"


@dataclass(kw_only=True)
class RunContext:
    """The context of a run: derive a dataclass from it with the fields that your tools and interceptors need.

    Pass an instance to `Agent.run`. The run works with a child of it, and a subagent's run with a child of that, so
    neither your object nor a parent's ever changes; objects in its fields, such as a database, are shared. A subclass
    may have required fields, and it may be frozen.

    Spans and log records of the run carry its fields `user_id`, `user_role`, `session_id`, `workflow_id` and
    `tenant_id`, those marked with `exported`, and nothing else of it.

    Example:
        >>> from dataclasses import dataclass
        >>> import otelier
        >>> @dataclass
        ... class AppContext(otelier.RunContext):
        ...     user_id: str
        >>> ctx = AppContext(user_id="u-1", metadata={"plan": "free"})
        >>> ctx.with_metadata(plan="pro").get("plan"), ctx.get("plan")
        ('pro', 'free')
    """

    query: str = field(default="", repr=False)
    """What the first run of a chain of delegations was asked; each run below it still finds that here. A run fills it
    in when it is empty. Content: it leaves the process only where content is captured."""
    metadata: dict[str, Any] = field(default_factory=dict[str, Any], hash=False)
    """Anything else."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        _either.note(cls)

    @property
    def agent(self) -> AgentIdentity | None:
        """Name and id of the agent that runs with this context; `None` outside of runs."""
        return self.__dict__.get(_AGENT)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the metadata under *key*, else *default*."""
        return self.metadata.get(key, default)

    def with_metadata(self: C, **metadata: Any) -> C:
        """Return a new context of the same class with *metadata* added."""
        return self.child(metadata={**self.metadata, **metadata})

    def child(self: C, **changes: Any) -> C:
        """Return a new context of the same class with the fields of *changes* replaced.

        It has its own metadata dict. Other values are the same objects, and `__post_init__` does not run again; a
        `functools.cached_property` is computed again, from the child's fields.

        Raises:
            TypeError: if a name is not a field of the class.
        """
        return child_of(self, changes, self.agent)


_either = FrozenOrPlain(RunContext.__dataclass_params__)  # type: ignore[attr-defined]
RunContext.__dataclass_params__ = _either  # type: ignore[attr-defined]


def child_of(context: C, changes: Mapping[str, Any], agent: AgentIdentity | None) -> C:
    """Return a copy of *context* with *changes*, run by *agent*."""
    known = {one.name for one in dataclasses.fields(context)}
    if unknown := changes.keys() - known:
        raise TypeError(
            f"{type(context).__name__} has no field {', '.join(map(repr, sorted(unknown)))}: a child has the fields "
            f"of its class. Use `with_metadata` for anything else."
        )
    made = copy.copy(context)
    for name in list(vars(made)):
        if isinstance(getattr(type(made), name, None), functools.cached_property):
            del made.__dict__[name]  # of other fields: roles of another user, words of another query
    # A class may have an `__init__` that sets none.
    metadata: Any = changes.get("metadata", getattr(context, "metadata", None)) or {}
    if not isinstance(metadata, Mapping):
        raise TypeError(
            f"The metadata of a {type(context).__name__} must be a dict, not a {type(metadata).__name__}: it is read "
            f"by key. Keep other things in a field of their own."
        )
    # Past the class's own `__setattr__`: it may be frozen.
    own = dict(cast("Mapping[str, Any]", metadata))
    for name, value in {**changes, "metadata": own}.items():
        object.__setattr__(made, name, value)
    made.__dict__[_AGENT] = agent
    return made


def generate_id() -> str:
    """Return a new random id of 32 hexadecimal digits.

    Example:
        >>> import otelier
        >>> len(otelier.generate_id())
        32
    """
    return uuid.uuid4().hex


def now_utc() -> datetime:
    """Return the current time, in the time zone UTC.

    Example:
        >>> import otelier
        >>> otelier.now_utc().utcoffset().total_seconds()
        0.0
    """
    return datetime.now(timezone.utc)
