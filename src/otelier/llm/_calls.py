"""The tool calls that a model asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from otelier.errors import ToolArgumentsError
from otelier.llm._json import NotJsonError, members_of, parsed
from otelier.llm._json_schema import Problem, lines_of, listed


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call of a tool that a model asks for.

    Example:
        >>> call = ToolCall(id="call_1", name="search", arguments_json='{"query": "parcel"}')
        >>> call.arguments
        {'query': 'parcel'}
        >>> call.to_message("It is on its way.")
        {'role': 'tool', 'tool_call_id': 'call_1', 'content': 'It is on its way.'}
    """

    id: str
    """The provider's id, which the tool's answer names."""
    name: str
    """Name of the tool."""
    arguments_json: str = field(repr=False)
    """The arguments word for word as the model wrote them, which may be no JSON at all."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments by name: a fresh dict at each use, empty when the model wrote none.

        Raises:
            ToolArgumentsError: if they are no JSON object. Its message is for the model, and does not quote them.
        """
        try:
            found: Any = parsed(self.arguments_json) if self.arguments_json.strip() else {}
        except NotJsonError as exc:
            problem = str(exc)
        else:
            if isinstance(found, dict):
                return members_of(found)
            problem = f"they are of type {type(found).__name__!r}, and names are needed"
        raise ToolArgumentsError(
            f"Cannot read the arguments of tool {self.name!r} as JSON: {problem}. "
            "Send one JSON object; a limit of tokens may have cut this one.",
            tool=self.name,
            call_id=self.id,
            problems=[f"arguments: {problem}"],
        )

    def to_message(self, content: str) -> dict[str, Any]:
        """Return the message that answers this call, for the next call of the model.

        Args:
            content: What the tool gave back, or what went wrong.
        """
        return {"role": "tool", "tool_call_id": self.id, "content": content}


def misfit(tool: str, problems: list[Problem], call_id: str = "") -> ToolArgumentsError:
    """Return the error that says, for the model, why arguments do not fit the schema of *tool*."""
    lines = lines_of(problems, "arguments")
    return ToolArgumentsError(
        f"The arguments of tool {tool!r} do not fit: {listed(lines)}. Send them as its schema has them.",
        tool=tool,
        call_id=call_id,
        problems=lines,
    )
