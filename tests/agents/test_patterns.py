"""`otelier.agents.patterns`: contexts that keep track of tasks, alone and together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest

from otelier.agents.patterns import DelegationContext, ExecutionContext, TaskContext, TimedContext


@dataclass
class Counted(DelegationContext, TaskContext):
    """Depth before lineage."""


@dataclass
class Traced(TaskContext, DelegationContext):
    """Lineage before depth."""


@dataclass
class Numbered(TaskContext):
    depth: int


def test_a_task_knows_how_many_are_around_it():
    """`depth` counts the tasks of the chain."""
    task = TaskContext()
    assert (task.depth, task.delegated().depth, task.delegated().delegated().depth) == (0, 1, 2)
    assert TaskContext(task_chain=["a", "b"], parent_task_id="b").depth == 2


@pytest.mark.parametrize("kind", [Counted, Traced, ExecutionContext])
def test_a_field_called_depth_takes_its_place(kind):
    """Together with a counted depth there is one depth, the counted one, in any order of the bases."""
    context = kind(depth=2)
    child = context.delegated()
    assert (context.depth, child.depth, child.task_chain) == (2, 3, [context.task_id])


def test_a_field_called_depth_is_still_required():
    """The depth of the chain is no default of a field of that name."""
    with pytest.raises(TypeError, match="depth"):
        Numbered()
    assert Numbered(3).depth == 3


def test_time_that_is_left():
    """A context with a deadline says how long it is at work, and how long it may be."""
    deadline = datetime.now(timezone.utc) + timedelta(hours=1)
    timed = TimedContext(deadline=deadline)
    assert 0 <= timed.elapsed_seconds < 600
    assert 3000 < timed.remaining_seconds <= 3600
    assert timed.is_overdue is False
    assert TimedContext().remaining_seconds is None
