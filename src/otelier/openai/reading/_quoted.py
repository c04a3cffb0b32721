"""What an error may quote of a call: the texts of its request, whichever endpoint it went to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from otelier.openai.reading._fields import Arguments, Facts, facts_of, is_mapping, is_sequence
from otelier.signals import Failure, failure_of, report_fault, unquoted

_MAX_TEXTS: Final = 1_000
_MAX_DEPTH: Final = 16
_CONTENT: Final = ("messages", "input", "instructions", "prompt", "suffix", "prediction", "tools", "functions")
_OF_USERS: Final = ("user", "safety_identifier", "metadata")
_NAMES: Final = frozenset(("type", "role", "name", "id", "call_id", "tool_call_id", "file_id", "detail", "format"))
"""Keys of what is no content; an error that names a tool is of more use than one that does not."""


def without_quotes(failure: BaseException | Failure, arguments: Arguments) -> Failure:
    """Return *failure* as its span may tell of it where content is not captured: without the texts of the request."""
    if not isinstance(failure, Failure):
        failure = failure_of(failure)
    try:
        message = unquoted(failure.message, _texts(arguments)) if failure.message else None
    except Exception as exc:  # the caller's objects; what was not looked at does not leave
        report_fault("openai.quotes", exc)
        message = None
    return Failure(type=failure.type, message=message)


def _texts(arguments: Arguments) -> Iterator[str]:
    left = _MAX_TEXTS
    waiting: list[tuple[Any, int]] = [(arguments.get(name), _MAX_DEPTH) for name in (*_CONTENT, *_OF_USERS)]
    while waiting and left:
        value, depth = waiting.pop()
        if isinstance(value, str):
            left -= 1
            yield value
        elif depth and not isinstance(value, type):
            waiting += [(item, depth - 1) for item in _items(value)]


def _items(value: Any) -> list[Any]:
    if is_sequence(value):
        return list(value[:_MAX_TEXTS])
    fields: Facts = {}
    if is_mapping(value):
        fields = value
    elif hasattr(value, "model_dump"):
        fields = facts_of(value)
    return [item for key, item in fields.items() if key not in _NAMES]
