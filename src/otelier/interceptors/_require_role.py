"""Runs for users with a role only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from otelier.fields import get_context, roles_in
from otelier.interceptors._context import InterceptContext
from otelier.interceptors._interceptor import Interceptor
from otelier.interceptors._phase import Phase
from otelier.interceptors._result import InterceptResult


class RequireRole(Interceptor):
    """Stop runs whose user has none of the given roles.

    The user's role is the field `user_role` of the run's context, a text or several; where that has none it is the
    `user_role` of `otelier.context`.

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
        """Look at the role before the run."""
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
