"""A conversation as interceptors are shown it: it can be read like any, written as JSON, and not be changed.

Each message is made so once in a run: copying all of them for each interceptor at each phase took 3 s of a loop for 400
calls in one answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, cast

_set: Any = vars(dict)["__setitem__"]
_extend: Any = vars(list)["extend"]


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError(
        "Cannot change a message that an interceptor is shown: the run would not know. "
        "Return `InterceptResult.modify_messages([...])` with messages of your own."
    )


class ReadOnlyDict(dict[str, Any]):
    """A dict that cannot be changed; `copy`, `dict(...)` and `{**it}` give plain ones."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


class ReadOnlyList(list[Any]):
    """A list that cannot be changed; `copy`, `list(...)` and `[*it]` give plain ones."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = append = clear = extend = insert = pop = remove = _refuse
    reverse = sort = _refuse

    def __reduce__(self) -> Any:
        return list, (list(self),)


def read_only(message: dict[str, Any]) -> ReadOnlyDict:
    """Return a copy of *message* that cannot be changed.

    Example:
        >>> read_only({"role": "user", "content": [{"type": "text"}]})["content"][0]["type"]
        'text'
    """
    return _rebuilt(message, ReadOnlyDict, ReadOnlyList)


def plain_copy(value: Any) -> Any:
    """Return a copy of nested dicts and lists, plain ones; what else they hold stays the same objects.

    Example:
        >>> plain_copy({"a": [1, {"b": 2}]})
        {'a': [1, {'b': 2}]}
    """
    return _rebuilt(value, dict, list)


def _rebuilt(value: Any, as_dict: Callable[[], Any], as_list: Callable[[], Any]) -> Any:
    # Not by calling itself: what a model sends may be nested deeper than Python calls.
    waiting: list[tuple[Any, Any]] = []
    made_of: dict[int, Any] = {}

    def made(one: Any) -> Any:
        if not isinstance(one, (dict, list)):
            return one
        known = made_of.get(id(cast("object", one)))
        if known is not None:
            return known
        new = made_of[id(cast("object", one))] = as_dict() if isinstance(one, dict) else as_list()
        waiting.append((cast("Any", one), new))
        return new

    root = made(value)
    while waiting:
        old, new = waiting.pop()
        if isinstance(old, dict):
            for key, item in cast("dict[Any, Any]", old).items():
                _set(new, key, made(item))
        else:
            _extend(new, map(made, old))
    return root


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
