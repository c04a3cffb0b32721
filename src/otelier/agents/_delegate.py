"""Delegation: an agent as a tool of another one."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

from otelier.agents._context import RunContext
from otelier.agents._execute import Plan, execute
from otelier.agents._run import Run
from otelier.agents._task import task_of
from otelier.agents._tool import MAX_RESULT_CHARS
from otelier.errors import ToolArgumentsError
from otelier.llm.functions import param_of
from otelier.signals import fit_text


class Delegate:
    """An agent as another one's run offers it: a tool that takes a task."""

    max_result_chars = MAX_RESULT_CHARS

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        safe = re.sub(r"[^A-Za-z0-9_-]+", "_", plan.name)[:64]
        # A name without any Latin letter still needs one of its own.
        self.name = safe if safe.strip("_-") else f"agent_{zlib.crc32(plan.name.encode()):08x}"
        self.description = fit_text(plan.description, lines=True) or f"Delegate a task to {plan.name}."
        """What the call's span tells of it: its instructions are content."""

    def to_param(self) -> dict[str, Any]:
        """Return the tool as chat completions take it."""
        parameters = {
            "type": "object",
            "properties": {"task": {"type": "string", "description": "What the agent is to do."}},
            "required": ["task"],
            "additionalProperties": False,
        }
        told = self._plan.description or self._plan.instructions or self.description
        return param_of(self.name, told, parameters)

    async def call(self, arguments: Mapping[str, Any], run: Run) -> object:
        """Run the agent on the task, with a child of the run's context."""
        task = arguments.get("task")
        if not isinstance(task, str):
            raise ToolArgumentsError(
                f"The arguments of tool {self.name!r} do not fit: task: a text is needed.", tool=self.name
            )
        context = run.context if run.given else RunContext(query=run.context.query, metadata=run.context.metadata)
        return (await execute(self._plan, task_of(task), context, None)).output

    async def on_error(self, error: BaseException, run: Run) -> object:
        """Say nothing: the model is told the error."""
        return None
