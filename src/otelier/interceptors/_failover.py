"""Another model where one fails."""

from __future__ import annotations

from otelier.interceptors._context import InterceptContext
from otelier.interceptors._interceptor import Interceptor
from otelier.interceptors._phase import Phase
from otelier.interceptors._result import InterceptResult


class Failover(Interceptor):
    """Ask the next of the given models when a question fails; when all have failed, the last error is the run's.

    The next question starts with the agent's own model again. In a stream, what a model said before it failed has been
    told already, and the next one starts anew.

    Args:
        models: Names of models at the same `base_url`, in the order in which they are asked.
        on: Errors of the client that are worth another model; `None` is every `Exception`.

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
        """Name the next model after an error."""
        if phase is Phase.PRE_THINK:
            context.state[self] = 0
        if phase is not Phase.ON_ERROR or not isinstance(context.error, self.on):
            return None
        tried: int = context.state.get(self, 0)
        if tried >= len(self.models):
            return None
        context.state[self] = tried + 1
        return InterceptResult.use_model(self.models[tried])
