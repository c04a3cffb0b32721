"""The tool calls that a model asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from otelier.errors import ToolArgumentsError
from otelier.llm._json import NotJsonError, members_of, parsed


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
    arguments_json: str
    """The arguments word for word as the model wrote them, which may be no JSON at all."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments by name: a fresh dict at each use, empty when the model wrote none.

        Raises:
            ToolArgumentsError: if they are no JSON object. They are not part of its message.
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
            "Tell the model by `call.to_message(str(error))`, or ask again; a limit of tokens may have cut them.",
            tool=self.name,
            call_id=self.id,
        )

    def to_message(self, content: str) -> dict[str, Any]:
        """Return the message that answers this call, for the next call of the model.

        Args:
            content: What the tool gave back, or what went wrong.
        """
        return {"role": "tool", "tool_call_id": self.id, "content": content}
