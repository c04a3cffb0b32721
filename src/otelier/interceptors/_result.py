"""What an interceptor answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class InterceptResult:
    """What shall happen next: go on, go on with something changed, leave out a tool's call, or stop.

    Interceptors are asked in order. The next one sees what those before changed; after a `stop`, or a `skip` of a call,
    none is asked at that moment. A field that is `None`, or is not for that phase, changes nothing.

    Example:
        >>> InterceptResult.stop("Permission denied").proceed
        False
        >>> InterceptResult.modify_args({"limit": 10}).modified_tool_args
        {'limit': 10}
    """

    proceed: bool = True
    """Whether the run goes on; if not, it ends with `final_response`."""
    final_response: Any = field(default=None, repr=False)
    """Output of a run that is stopped; for a call that is skipped, what the model is told in place of a result."""
    reason: str | None = field(default=None, repr=False)
    """Why the run is stopped, for the span."""
    skip_action: bool = False
    """PRE_ACT: do not call the tool."""
    modified_messages: Sequence[Mapping[str, Any]] | None = field(default=None, repr=False)
    """The conversation from here on, in the form of chat completions. Any phase before an answer or a tool's call."""
    modified_prompt: str | None = field(default=None, repr=False)
    """PRE_RUN, PRE_THINK: text of the system or developer message from here on."""
    modified_tool_args: Mapping[str, Any] | None = field(default=None, repr=False)
    """PRE_ACT: arguments of the call."""
    modified_tool_result: str | None = field(default=None, repr=False)
    """POST_ACT: what the model is told as the tool's result."""
    modified_tools: Sequence[str] | None = None
    """PRE_RUN: names of the tools that the run may use; PRE_THINK: those that this one question offers."""
    modified_model: str | None = None
    """PRE_RUN: model of the run; PRE_THINK: of this one question; ON_ERROR: ask this one again what failed."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """For other interceptors and tests; put into the run's `state`."""

    @classmethod
    def continue_(cls, **metadata: Any) -> InterceptResult:
        """Go on."""
        return cls(metadata=metadata)

    @classmethod
    def ok(cls, **metadata: Any) -> InterceptResult:
        """Go on: another name of `continue_`."""
        return cls(metadata=metadata)

    @classmethod
    def stop(cls, response: Any = "", *, reason: str | None = None) -> InterceptResult:
        """End the run with *response* as its output: text, or an instance of the agent's `output_type`."""
        return cls(proceed=False, final_response=response, reason=reason)

    @classmethod
    def skip(cls, response: str | None = None) -> InterceptResult:
        """PRE_ACT: do not call the tool, and tell the model *response* in its place; elsewhere nothing is skipped."""
        return cls(skip_action=True, final_response=response)

    @classmethod
    def modify_messages(cls, messages: Sequence[Mapping[str, Any]]) -> InterceptResult:
        """Go on with *messages* as the conversation."""
        return cls(modified_messages=messages)

    @classmethod
    def modify_args(cls, arguments: Mapping[str, Any]) -> InterceptResult:
        """PRE_ACT: call the tool with *arguments*."""
        return cls(modified_tool_args=arguments)

    @classmethod
    def modify_result(cls, result: str) -> InterceptResult:
        """POST_ACT: tell the model *result*."""
        return cls(modified_tool_result=result)

    @classmethod
    def modify_tools(cls, names: Sequence[str]) -> InterceptResult:
        """PRE_RUN, PRE_THINK: offer the tools of these *names* only."""
        return cls(modified_tools=names)

    @classmethod
    def use_model(cls, model: str) -> InterceptResult:
        """PRE_RUN, PRE_THINK: ask *model*; ON_ERROR: ask it again what failed."""
        return cls(modified_model=model)

    @classmethod
    def modify_prompt(cls, prompt: str) -> InterceptResult:
        """PRE_RUN, PRE_THINK: go on with *prompt* as the system message."""
        return cls(modified_prompt=prompt)
