"""Only those tools that are allowed by name."""

from __future__ import annotations

from otelier.interceptors._context import InterceptContext
from otelier.interceptors._interceptor import Interceptor
from otelier.interceptors._phase import Phase
from otelier.interceptors._result import InterceptResult


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
