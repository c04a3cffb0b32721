"""Interceptors that say no: to users without a role, to runs that cost too much, to tools that are not allowed."""

from __future__ import annotations

from otelier.interceptors._context import InterceptContext
from otelier.interceptors._interceptor import Interceptor
from otelier.interceptors._phase import Phase
from otelier.interceptors._result import InterceptResult


class RequireRole(Interceptor):
    """Stop runs whose context has none of the given roles in its field `user_role`.

    Example:
        >>> from dataclasses import dataclass
        >>> import otelier
        >>> @dataclass
        ... class Visitor(otelier.RunContext):
        ...     user_role: str
        >>> agent = otelier.Agent("admin", "gpt-4.1-nano", interceptors=[RequireRole("admin")])
        >>> agent.run("Delete everything.", context=Visitor("guest")).output
        'Permission denied.'
    """

    def __init__(self, *roles: str, response: str = "Permission denied.") -> None:
        self.roles = frozenset(roles)
        self.response = response

    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult | None:
        """Look at the role before the run."""
        if phase is Phase.PRE_RUN and getattr(context.run_context, "user_role", None) not in self.roles:
            return InterceptResult.stop(self.response, reason="role")
        return None


class Budget(Interceptor):
    """Stop a run before the question or the call that would be beyond its budget.

    What subagents use counts for the run that delegated to them, tokens as well as their own runs' calls of models.

    Args:
        max_tokens: Tokens of prompts and answers; a run stops once it has used as many. `None` is no limit.
        max_tool_calls: Calls of the agent's own tools; further ones of the turn that goes beyond are refused, and the
            run stops before its next question. `None` is no limit.
        response: Output of a run that is stopped.

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


class AllowTools(Interceptor):
    """Offer the model those tools only whose names are given, and make no call of another.

    Example:
        >>> import otelier
        >>> @otelier.tool
        ... def delete_files() -> str:
        ...     '''Delete all files.'''
        ...     return "deleted"
        >>> agent = otelier.Agent("triage", "gpt-4.1-nano", tools=[delete_files], interceptors=[AllowTools()])
        >>> agent.run("Delete all files.").tool_calls
        []
    """

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)

    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult | None:
        """Leave the others out of the run, and refuse what the model calls all the same."""
        if phase is Phase.PRE_RUN:
            return InterceptResult.modify_tools([name for name in context.tools if name in self.names])
        if phase is Phase.PRE_ACT and context.tool_name not in self.names:
            return InterceptResult.skip("This tool is not allowed.")
        return None
