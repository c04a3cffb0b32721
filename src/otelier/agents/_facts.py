"""What an error that ends a run tells whoever catches it: how far the run had come."""

from __future__ import annotations

from typing import Any, Final

from otelier.agents._run import Run
from otelier.errors import AgentLimitError

_MARK: Final = "_otelier_facts"
"""Attribute that names those facts of an error that are a run's."""


def carry_facts(error: Exception, run: Run) -> None:
    """Put `messages`, `usage` and `tool_calls` of *run* on *error*; what it has of its own by these names it keeps.

    An error that ends several runs, one around the other, tells of the outermost: that is the one that was asked for.
    """
    facts: dict[str, Any] = {
        "messages": list(run.messages), "usage": run.usage, "tool_calls": list(run.tool_calls)
    }  # fmt: skip
    try:
        ours: list[str] | None = vars(error).get(_MARK)
        if ours is None:
            ours = [name for name in facts if isinstance(error, AgentLimitError) or not _has(error, name)]
        vars(error).update({name: facts[name] for name in ours}, **{_MARK: ours})
    except Exception:  # the user's class, which may have no place for more
        return


def _has(error: Exception, name: str) -> bool:
    try:
        return hasattr(error, name)
    except Exception:  # a property of the user's
        return True
