"""Runs for users with a role only."""

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
