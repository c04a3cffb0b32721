"""The base class of interceptors."""

from __future__ import annotations

from otelier.interceptors._context import InterceptContext
from otelier.interceptors._phase import Phase
from otelier.interceptors._result import InterceptResult


class Interceptor:
    """Asked at each phase of each run of the agents that it was given to.

    One object serves all runs, also at once: keep what belongs to a run in `context.state`. What it raises ends the
    run; `StopExecution` ends it with a response.

    Example:
        >>> class Audit(Interceptor):
        ...     async def intercept(self, phase, context):
        ...         if phase is Phase.PRE_ACT and context.tool_name == "delete_files":
        ...             return InterceptResult.skip("Files are not deleted here.")
        ...         return InterceptResult.continue_()
    """

    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult | None:
        """Look at *context* and say what shall happen; `None` goes on.

        Called once per phase, in the run's own task.
        """
        return InterceptResult.continue_()
