"""From the chunks of a stream to the answer they are pieces of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otelier.llm._json import items_of, members_of

if TYPE_CHECKING:
    from otelier.openai import CallPieces

Json = dict[str, Any]


class Merger:
    """Takes the chunks of one stream, and gives the whole answer as if it had come in one piece."""

    def __init__(self) -> None:
        self._body: Json = {}
        self._message: Json = {"role": "assistant", "content": None}
        self._calls: list[Json] = []
        self._latest: dict[int | None, tuple[CallPieces, Json]] = {}
        self.finish_reason: str | None = None

    def add(self, chunk: Json) -> Json:
        """Take one chunk, and return its first choice; an empty one when it has none."""
        self._body.update({key: value for key, value in chunk.items() if key != "choices" and value is not None})
        choices = map(members_of, items_of(chunk.get("choices")))
        first = next((choice for choice in choices if not choice.get("index")), members_of(None))
        self.finish_reason = first.get("finish_reason") or self.finish_reason
        delta = members_of(first.get("delta"))
        for key, value in delta.items():
            if key == "tool_calls":
                for call in items_of(value):
                    self._add_call(members_of(call))
            elif key != "role":
                self._message[key] = _joined(self._message.get(key), value)
        return first

    def whole(self) -> Json:
        """Return the answer as chat completions that are not streamed have it."""
        message = {**self._message, **({"tool_calls": self._calls} if self._calls else {})}
        return {**self._body, "choices": [{"index": 0, "finish_reason": self.finish_reason, "message": message}]}

    def _add_call(self, piece: Json) -> None:
        index, call_id = piece.get("index"), piece.get("id")
        index = index if isinstance(index, int) else None
        said = members_of(piece.get("function")) or members_of(piece.get("custom"))
        name, written = (value if isinstance(value, str) else "" for value in map(said.get, ("name", "arguments")))
        if index not in self._latest or self._latest[index][0].end_before(call_id, name):
            from otelier.openai import CallPieces  # not before it is needed: `import otelier.llm` stays light

            self._latest[index] = (CallPieces(), {"type": "function"})
            self._calls.append(self._latest[index][1])
        pieces, call = self._latest[index]
        pieces.add(call_id, name, written)
        for key, value in piece.items():
            if key in ("function", "custom"):
                part = call.setdefault(key, {})
                for member, more in members_of(value).items():
                    grows = member in ("arguments", "input")
                    part[member] = _joined(part.get(member), more) if grows else more or part.get(member)
            elif key != "index" and value is not None:
                call[key] = value


def _joined(before: Any, value: Any) -> Any:
    """Put a piece behind what came before; texts and lists grow, and anything else is replaced.

    Some providers send parts for one piece and a text for the next: then the texts become parts.
    """
    if value is None:
        return before
    kinds: set[type[Any]] = {type(before), type(value)}
    if kinds == {str, list}:
        return _parts(before) + _parts(value)
    grows = kinds == {str} or kinds == {list}
    return before + value if grows else value


def _parts(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content
