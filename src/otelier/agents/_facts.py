"""What an error that ends a run tells whoever catches it: how far the run had come."""

from __future__ import annotations

from typing import Any, Final

from otelier.agents._run import Run
from otelier.errors import AgentLimitError

_MARK: Final = "_otelier_facts"


def carry_facts(error: Exception, run: Run) -> None:
    """Put `messages`, `usage` and `tool_calls` of *run* on *error*; an error that has such facts of its own keeps them.

    An error that ends several runs, one around the other, tells of the outermost: that is the one that was asked for.
    """
    facts: dict[str, Any] = {
        "messages": list(run.messages), "usage": run.usage, "tool_calls": list(run.tool_calls)
    }  # fmt: skip
    try:
        if not (isinstance(error, AgentLimitError) or hasattr(error, _MARK)) and any(
            hasattr(error, one) for one in facts
        ):
            return
        vars(error).update(facts, **{_MARK: True})
    except Exception:  # the user's class, which may have no place for more
        return
