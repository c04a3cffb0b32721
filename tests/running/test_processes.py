"""Child processes of `multiprocessing` by the commands of the page."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.running.page import command, program
from tests.running.stage import needs_fork

pytestmark = [pytest.mark.slow, needs_fork()]

each_method = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])


@each_method
def test_multiprocessing(stage, method):
    """A child's span has its parent's fields and its own, and joins its parent's trace's process or pool alike."""
    stage.write("jobs.py", program("multiprocessing"))
    ran = stage.run(command(f"jobs.py {method}\n"))
    assert ran.code == 0, ran.err
    sent = Counter((span.attributes.get("user.id"), span.attributes["otelier.workflow.id"]) for span in stage.receiver.spans)
    assert sent == {("alice", "single"): 1, ("alice", "pooled"): 1}


@each_method
def test_multiprocessing_without_flush(stage, method):
    """Only a child that was spawned runs its exit handlers; what others still hold is lost."""
    stage.write("jobs.py", program("multiprocessing").replace("    otelier.flush()\n", ""))
    ran = stage.run(command(f"jobs.py {method}\n"))
    assert ran.code == 0, ran.err
    assert len(stage.receiver.spans) == (2 if method == "spawn" else 0)
