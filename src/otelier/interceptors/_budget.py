"""A limit on what one run may use."""

from __future__ import annotations

from otelier.interceptors._context import InterceptContext
from otelier.interceptors._interceptor import Interceptor
from otelier.interceptors._phase import Phase
from otelier.interceptors._result import InterceptResult


class Budget(Interceptor):
    """Stop a run before the question or the call that would be beyond its budget.

    The tokens of subagents count for the run that delegated to them. A subagent that is at work is not stopped by it.

    Args:
        max_tokens: Tokens of prompts and answers; a run stops once it has used as many. `None` is no limit.
        max_tool_calls: Calls of the agent's own tools; further ones of the turn that goes beyond are refused, and the
            run stops before its next question. `None` is no limit.
        response: Output of a run that is stopped.

    Raises:
        ValueError: if a limit is below 0.

    Example:
        >>> import otelier
        >>> agent = otelier.Agent("triage", "gpt-4.1-nano", interceptors=[Budget(max_tokens=0)])
        >>> agent.run("Hello").output
        'The budget of this run is used up.'
    """

    def __init__(
        self,
        *,
        max_tokens: int | None = None,
        max_tool_calls: int | None = None,
        response: str = "The budget of this run is used up.",
    ) -> None:
        for limit in (max_tokens, max_tool_calls):
            if limit is not None and limit < 0:
                raise ValueError(f"Cannot limit a run to {limit!r}: give 0 or more, or `None` for no limit.")
        self.max_tokens = max_tokens
        self.max_tool_calls = max_tool_calls
        self.response = response

    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult | None:
        """Count before each question and each call."""
        if phase is Phase.PRE_THINK:
            used = context.input_tokens + context.output_tokens
            if self.max_tokens is not None and used >= self.max_tokens:
                return InterceptResult.stop(self.response, reason="max_tokens")
            if self.max_tool_calls is not None and context.state.get(self, 0) > self.max_tool_calls:
                return InterceptResult.stop(self.response, reason="max_tool_calls")
        elif phase is Phase.PRE_ACT and self.max_tool_calls is not None:
            # Calls of one turn are asked about at once, so they are counted here and not when they are over.
            context.state[self] = context.state.get(self, 0) + 1
            if context.state[self] > self.max_tool_calls:
                return InterceptResult.skip("The budget for calls of tools is used up.")
        return None
