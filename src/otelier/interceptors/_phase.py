"""The moments of a run at which interceptors are asked."""

from __future__ import annotations

from enum import Enum


class Phase(str, Enum):
    """A moment of an agent's run; the same in `run` and in `stream`, and in the runs of subagents.

    Example:
        >>> Phase.PRE_ACT.value
        'pre_act'
    """

    PRE_RUN = "pre_run"
    """Before the first question to the model, once."""
    PRE_THINK = "pre_think"
    """Before each question to the model."""
    POST_THINK = "post_think"
    """After each answer of the model, before the tools that it calls."""
    PRE_ACT = "pre_act"
    """Before each call of a tool."""
    POST_ACT = "post_act"
    """After each call of a tool, failed or not."""
    POST_RUN = "post_run"
    """When the run has its output, by the model or by a stop, once. Not after an error."""
    ON_ERROR = "on_error"
    """When an error is about to end the run. A tool's error does not: it goes back to the model."""
