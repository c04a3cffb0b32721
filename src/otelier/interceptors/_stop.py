"""The exception that ends a run with a response."""

from __future__ import annotations

from typing import Any


class StopExecution(Exception):  # noqa: N818 -- it is no error: it reads like `StopIteration`
    """End the run that this is raised in, with *response* as its output: from an interceptor, a tool, or below one.

    Calls of other tools that are under way are cancelled. A run around this one, whose agent delegated it, goes on.

    Attributes:
        response: Output of the run: text, or an instance of the agent's `output_type`.
        reason: Why, for the span; `None` without one.

    Example:
        >>> stop = StopExecution("Come back tomorrow.", reason="quota")
        >>> stop.response, stop.reason
        ('Come back tomorrow.', 'quota')
    """

    def __init__(self, response: Any = "", reason: str | None = None) -> None:
        super().__init__(str(response))
        self.response = response
        self.reason = reason
