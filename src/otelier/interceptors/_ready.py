"""Ready-made interceptors: a budget, allowed tools, a required role, and models to fail over to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from otelier.fields import get_context, roles_in
from otelier.interceptors._interceptor import InterceptContext, Interceptor, InterceptResult, Phase


class Budget(Interceptor):
    """Stop a run that has used up its tokens or its tool calls.

    The tokens of subagents count for the run that delegated to them. A subagent that is running is not stopped.

    Args:
        max_tokens: Most tokens, of prompts and answers together; the run stops before its next model call. `None` is
            no limit.
        max_tool_calls: Most calls of the agent's own tools; further calls in the same turn are refused, and the run
            stops before its next model call. `None` is no limit.
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
        """Check the budget before each model call and each tool call."""
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
    """Offer the model only the named tools, and refuse calls of any other.

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
        """Leave the other tools out of the run, and refuse calls of them."""
        if phase is Phase.PRE_RUN:
            return InterceptResult.modify_tools([name for name in context.tools if name in self.names])
        if phase is Phase.PRE_ACT and context.tool_name not in self.names:
            return InterceptResult.skip("This tool is not allowed.")
        return None


class RequireRole(Interceptor):
    """Stop runs whose user has none of the given roles.

    The roles are the field `user_role` of the run's context, one text or several; if it has none, the `user_role` of
    `otelier.context`.

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
        self.roles = frozenset(roles) - {""}  # which is the role of nobody
        self.response = response

    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult | None:
        """Check the role before the run."""
        if phase is not Phase.PRE_RUN:
            return None
        held = _roles_of(context.run_context)
        if not any(role == one for one in held for role in self.roles):
            return InterceptResult.stop(self.response, reason="role")
        return None


def _roles_of(run_context: object) -> list[Any]:
    held: Any = getattr(run_context, "user_role", None)
    if held is None:
        held = get_context().user_role
    if isinstance(held, (list, tuple, set, frozenset)):
        return list(cast("Iterable[Any]", held))
    return list(roles_in(held)) if isinstance(held, str) else [held]


class Failover(Interceptor):
    """Repeat a failed model call with other models; if all of them fail, the last error ends the run.

    The next model call starts with the agent's own model again. In a stream, text from a model that failed has already
    been sent, and the next model starts its answer from the beginning.

    Args:
        models: Names of models at the same `base_url`, in the order in which they are tried.
        on: Exception classes of the client after which another model is tried; `None` is every `Exception`.

    Example:
        >>> import otelier
        >>> agent = otelier.Agent("triage", "error-400", interceptors=[Failover("gpt-4.1-nano")])
        >>> agent.run("Hello").output
        'Hello! How can I help you today?'
    """

    def __init__(self, *models: str, on: tuple[type[Exception], ...] | None = None) -> None:
        self.models = models
        self.on = (Exception,) if on is None else on

    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult | None:
        """Choose the next model after an error."""
        if phase is Phase.PRE_THINK:
            context.state[self] = 0
        if phase is not Phase.ON_ERROR or not isinstance(context.error, self.on):
            return None
        tried: int = context.state.get(self, 0)
        if tried >= len(self.models):
            return None
        context.state[self] = tried + 1
        return InterceptResult.use_model(self.models[tried])
