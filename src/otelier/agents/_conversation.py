"""The messages of one run, and how interceptors see them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from otelier.agents._read_only import ReadOnlyDict, plain_copy, read_only

Message = dict[str, Any]


class Conversation:
    """Messages in the form of chat completions; what stands in them is never changed, only replaced."""

    __slots__ = ("_shown", "_view", "messages")

    def __init__(self, messages: Iterable[Message]) -> None:
        self.messages = list(messages)
        self._shown: list[ReadOnlyDict] = []
        """Copies of the first messages that cannot be changed; each is made once."""
        self._view: tuple[Mapping[str, Any], ...] | None = None

    def add(self, *messages: Message) -> None:
        """Put *messages* at the end."""
        self.messages += messages
        self._view = None

    def replace(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """Go on with *messages*; those that were shown stand for what they are copies of."""
        known = {id(copy): (message, copy) for message, copy in zip(self.messages, self._shown)}
        pairs = [known.get(id(one)) or _taken(one) for one in messages]
        self.messages[:] = [message for message, _ in pairs]
        self._shown = [copy for _, copy in pairs]
        self._view = None

    def set_prompt(self, prompt: str) -> None:
        """Make *prompt* the text of the system message, or of the developer message that stands there."""
        rest = self.messages
        first: Message = {"role": "system"}
        if begins_with_prompt(rest):
            first, *rest = rest
        self.replace([{**first, "content": prompt}, *rest])

    def view(self) -> tuple[Mapping[str, Any], ...]:
        """Return all messages, to be read."""
        if self._view is None:
            self._shown += map(read_only, self.messages[len(self._shown) :])
            self._view = tuple(self._shown)
        return self._view

    def shown(self, message: Message) -> Mapping[str, Any]:
        """Return *message*, to be read, which mostly is the last one."""
        return self.view()[-1] if self.messages and self.messages[-1] is message else read_only(message)


def begins_with_prompt(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the first of *messages* is a system message, or a developer message, as newer models call it."""
    return bool(messages) and messages[0].get("role") in ("system", "developer")


def _taken(message: Mapping[str, Any]) -> tuple[Message, ReadOnlyDict]:
    own: Message = plain_copy(dict(message))
    return own, read_only(own)
