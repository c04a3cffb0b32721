"""A conversation as interceptors are shown it: it can be read like any, written as JSON, and not be changed.

Each message is made so once in a run: copying all of them for each interceptor at each phase took 3 s of a loop for 400
calls in one answer.
"""

from __future__ import annotations

from collections.abc import Callable
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
