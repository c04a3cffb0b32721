"""What an interceptor is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from otelier.identity import AgentIdentity
from otelier.interceptors._phase import Phase


@dataclass(slots=True, kw_only=True)
class InterceptContext:
    """One moment of a run, as an interceptor sees it; changing it changes nothing, but for `state`.

    Messages, and all that is in them, refuse to be changed.

    Example:
        >>> from otelier.identity import NOBODY
        >>> InterceptContext(phase=Phase.PRE_RUN, agent=NOBODY, task="Hello", run_context=None).task
        'Hello'
    """

    phase: Phase
    """The moment."""
    agent: AgentIdentity
    """Name and id of the agent that runs."""
    task: str = field(repr=False)
    """What this run was asked."""
    run_context: Any = field(repr=False)
    """The run's `RunContext`, or the subclass that was passed to `run`."""
    messages: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """The conversation so far, in the form of chat completions."""
    state: dict[Any, Any] = field(default_factory=dict[Any, Any], repr=False)
    """Of this one run, by text or by the interceptor itself: what one puts here it finds again in the next phase, and
    no other run does."""
    model: str = ""
    """Model that is asked."""
    tools: tuple[str, ...] = ()
    """Names of the tools that are offered."""
    model_calls: int = 0
    """Answers of the model so far."""
    tool_calls: int = 0
    """Calls of tools so far."""
    input_tokens: int = 0
    """Tokens of all prompts so far, with those of subagents."""
    output_tokens: int = 0
    """Tokens of all answers so far, with those of subagents."""
    model_response: Mapping[str, Any] | None = field(default=None, repr=False)
    """POST_THINK: the answer, as a message of chat completions."""
    tool_name: str | None = None
    """PRE_ACT, POST_ACT: the tool."""
    tool_args: Mapping[str, Any] | None = field(default=None, repr=False)
    """PRE_ACT, POST_ACT: its arguments, a copy."""
    tool_result: str | None = field(default=None, repr=False)
    """POST_ACT: what the model will be told."""
    output: Any = field(default=None, repr=False)
    """POST_RUN: the run's output: text, or an instance of the agent's `output_type`."""
    error: BaseException | None = field(default=None, repr=False)
    """ON_ERROR: what is about to end the run; POST_ACT: what the tool raised."""
