"""Child processes of `multiprocessing` by the commands of the page."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.running.page import command, program
from tests.running.stage import needs_fork

pytestmark = [pytest.mark.slow, needs_fork()]

each_method = pytest.mark.parametrize("method", ["jobs.py fork\n", "jobs.py spawn", "jobs.py forkserver"])


@each_method
def test_multiprocessing(stage, method):
    """A child, alone or in a pool, is instrumented and has its parent's fields beside its own."""
    stage.write("jobs.py", program("multiprocessing"))
    ran = stage.run(command(method))
    assert ran.code == 0, ran.err
    sent = [(span.attributes["user.id"], span.attributes["otelier.workflow.id"]) for span in stage.receiver.spans]
    assert Counter(sent) == {("alice", "single"): 1, ("alice", "pooled"): 1}


@each_method
def test_multiprocessing_without_flush(stage, method):
    """Only a child that was spawned runs its exit handlers; what others still hold is lost."""
    stage.write("jobs.py", program("multiprocessing").replace("    otelier.flush()\n", ""))
    ran = stage.run(command(method))
    assert ran.code == 0, ran.err
    assert len(stage.receiver.spans) == (2 if "spawn" in method else 0)
