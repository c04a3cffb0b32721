"""Contexts that track depth, attempts, lineage and time of runs; `ExecutionContext` has them all.

Each is a dataclass to derive from, alone or together. A child for a delegated task is made by `delegated()`, which each
of them extends by what it tracks.

Example:
    >>> from dataclasses import dataclass
    >>> from otelier.agents.patterns import DelegationContext, TaskContext
    >>> @dataclass
    ... class JobContext(DelegationContext, TaskContext):
    ...     job: str
    >>> parent = JobContext("tidy")
    >>> child = parent.delegated()
    >>> child.job, child.depth, child.parent_task_id == parent.task_id
    ('tidy', 1, True)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from otelier.agents._context import RunContext, generate_id, now_utc

__all__ = ["DelegationContext", "ExecutionContext", "RetryContext", "TaskContext", "TimedContext"]

C = TypeVar("C", bound="_Delegable")


class _ChainLength:
    """How many tasks are around one. No property, so that a field `depth` of another context here takes its place."""

    def __get__(self, context: TaskContext | None, kind: type[TaskContext] | None = None) -> int:
        if context is None:
            raise AttributeError("depth")
        return len(context.task_chain)


@dataclass(kw_only=True)
class _Delegable(RunContext):
    def delegated(self: C) -> C:
        """Return the context for a task that this one delegates: of the same class, with the same query."""
        return self.child(**self._changes())

    def _changes(self) -> dict[str, Any]:
        return {}


@dataclass(kw_only=True)
class DelegationContext(_Delegable):
    """How deep a task was delegated, counted by the tasks themselves; `Agent(max_depth=)` holds in any case.

    Example:
        >>> DelegationContext(max_depth=1).delegated().can_delegate
        False
    """

    depth: int = 0
    """How many tasks are around this one."""
    max_depth: int = 3
    """How deep tasks shall be delegated."""

    @property
    def can_delegate(self) -> bool:
        """Whether a task may be delegated from here."""
        return self.depth < self.max_depth

    def _changes(self) -> dict[str, Any]:
        return {**super()._changes(), "depth": self.depth + 1}


@dataclass(kw_only=True)
class RetryContext(_Delegable):
    """Which attempt this is.

    Example:
        >>> again = RetryContext(max_retries=1).retried()
        >>> again.is_retry, again.retry_count, again.can_retry
        (True, 1, False)
    """

    retry_count: int = 0
    """How often it was tried before."""
    max_retries: int = 3
    """How often it shall be tried again."""
    is_retry: bool = False
    """Whether it was tried before."""

    @property
    def can_retry(self) -> bool:
        """Whether it may be tried again."""
        return self.retry_count < self.max_retries

    def retried(self: R) -> R:
        """Return the context for the next attempt."""
        return self.child(retry_count=self.retry_count + 1, is_retry=True)

    def _changes(self) -> dict[str, Any]:
        # A delegated task is a first attempt of its own.
        return {**super()._changes(), "retry_count": 0, "is_retry": False}


R = TypeVar("R", bound=RetryContext)


@dataclass(kw_only=True)
class TaskContext(_Delegable):
    """Which task this is, and which are around it.

    Example:
        >>> child = TaskContext(task_id="a").delegated()
        >>> child.parent_task_id, child.task_chain, child.is_root_task, child.depth
        ('a', ['a'], False, 1)
    """

    task_id: str = field(default_factory=generate_id)
    """Id of the task."""
    parent_task_id: str | None = None
    """Id of the task that delegated it; `None` for the first."""
    task_chain: list[str] = field(default_factory=list[str])
    """Ids of all tasks around it, the first one first."""

    depth = _ChainLength()
    """How many tasks are around it."""

    @property
    def is_root_task(self) -> bool:
        """Whether nobody delegated it."""
        return self.parent_task_id is None

    def _changes(self) -> dict[str, Any]:
        return {
            **super()._changes(),
            "task_id": generate_id(),
            "parent_task_id": self.task_id,
            "task_chain": [*self.task_chain, self.task_id],
        }


@dataclass(kw_only=True)
class TimedContext(_Delegable):
    """Since when it runs, and until when it may.

    Example:
        >>> from datetime import timedelta
        >>> TimedContext(deadline=now_utc() + timedelta(hours=1)).is_overdue
        False
    """

    started_at: datetime = field(default_factory=now_utc)
    """When it started, in UTC."""
    deadline: datetime | None = None
    """When it has to be done, in UTC; `None` for no time. A delegated task has the same."""

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the start."""
        return (now_utc() - self.started_at).total_seconds()

    @property
    def remaining_seconds(self) -> float | None:
        """Seconds until the deadline, negative after it; `None` without one."""
        return None if self.deadline is None else (self.deadline - now_utc()).total_seconds()

    @property
    def is_overdue(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and now_utc() > self.deadline

    def _changes(self) -> dict[str, Any]:
        return {**super()._changes(), "started_at": now_utc()}


@dataclass(kw_only=True)
class ExecutionContext(DelegationContext, RetryContext, TaskContext, TimedContext):
    """Depth, attempts, lineage and time of one task.

    Example:
        >>> child = ExecutionContext(retry_count=2, is_retry=True).create_child_context()
        >>> child.depth, child.retry_count, child.is_root_task
        (1, 0, False)
    """

    max_depth: int = 5
    """How deep tasks shall be delegated."""

    def create_child_context(self: E) -> E:
        """Return the context for a task that this one delegates: another name of `delegated`."""
        return self.delegated()


E = TypeVar("E", bound=ExecutionContext)
