"""The conversation of a run: the user's turn, the messages before it, and the read-only view for interceptors.

Each message is copied for the view once in a run: copying all of them for each interceptor at each phase took 3 s of a
loop for 400 calls in one answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, cast

_set: Any = vars(dict)["__setitem__"]
_extend: Any = vars(list)["extend"]


def _refuse_change(*_: Any, **__: Any) -> NoReturn:
    raise TypeError(
        "Cannot change what an interceptor is shown: the run would not know. Return "
        "`InterceptResult.modify_messages([...])` or `InterceptResult.modify_args({...})` with values of your own."
    )


class ReadOnlyDict(dict[str, Any]):
    """A dict that cannot be changed; `copy`, `dict(...)` and `{**it}` give plain ones."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse_change

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


class ReadOnlyList(list[Any]):
    """A list that cannot be changed; `copy`, `list(...)` and `[*it]` give plain ones."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = append = clear = extend = insert = pop = remove = _refuse_change
    reverse = sort = _refuse_change

    def __reduce__(self) -> Any:
        return list, (list(self),)


def read_only(value: dict[str, Any]) -> ReadOnlyDict:
    """Return a copy of *value* that cannot be changed, nor the dicts and lists in it.

    Example:
        >>> read_only({"role": "user", "content": [{"type": "text"}]})["content"][0]["type"]
        'text'
    """
    return _rebuilt(value, ReadOnlyDict, ReadOnlyList)


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
    """Messages in the form of chat completions: a message is replaced, and never changed in place."""

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
        """Take *messages* in place of all; one that is a copy from the view stands for its original."""
        known = {id(copy): (message, copy) for message, copy in zip(self.messages, self._shown)}
        pairs = [known.get(id(one)) or _taken(one) for one in messages]
        self.messages[:] = [message for message, _ in pairs]
        self._shown = [copy for _, copy in pairs]
        self._view = None

    def restore(self, messages: Sequence[Message]) -> None:
        """Take *messages* in place of all, each as it is."""
        del self._shown[same_beginning(self.messages, messages) :]
        self.messages[:] = messages
        self._view = None

    def set_prompt(self, prompt: str) -> None:
        """Make *prompt* the text of the system message, or of the developer message that stands there."""
        rest: Sequence[Mapping[str, Any]] = self.view()  # `replace` knows these, and copies none of them
        first: Mapping[str, Any] = {"role": "system"}
        if begins_with_prompt(rest):
            first, *rest = rest
        self.replace([{**first, "content": prompt}, *rest])

    def view(self) -> tuple[Mapping[str, Any], ...]:
        """Return all messages, to be read."""
        if self._view is None:
            self._shown += map(read_only, self.messages[len(self._shown) :])
            self._view = tuple(self._shown)
        return self._view

    def view_of(self, message: Message) -> Mapping[str, Any]:
        """Return *message*, to be read; mostly it is the last one, whose copy is there."""
        return self.view()[-1] if self.messages and self.messages[-1] is message else read_only(message)


def same_beginning(some: Sequence[Message], others: Sequence[Message]) -> int:
    """Return how many messages both begin with: the same objects."""
    return next((at for at, (a, b) in enumerate(zip(some, others)) if a is not b), min(len(some), len(others)))


def begins_with_prompt(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the first of *messages* is a system message, or a developer message, as newer models call it."""
    return bool(messages) and messages[0].get("role") in ("system", "developer")


def _taken(message: Mapping[str, Any]) -> tuple[Message, ReadOnlyDict]:
    own: Message = plain_copy(dict(message))
    return own, read_only(own)


_OF_RUNS: Final = {
    "model": "give it to `Agent(model=)`, or change it by an interceptor's `use_model`",
    "prompt": "give it as `run(query)`",
    "messages": "give an earlier conversation as `run(query, messages=...)`",
    "tools": "give them to `Agent(tools=)`",
    "schema": "give a pydantic model class to `Agent(output_type=)`, or `response_format` as a setting",
    "client": "give it to `Agent(client=)`",
    "stream": "call `agent.stream(...)`",
}
"""Arguments that a run gives in each call of its model, and how they are changed."""
NOT_MADE: Final = "The call was not made."
"""Result of a call that was skipped, or that a run which ended left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a run is asked."""

    text: str = field(repr=False)
    """The words of the user's turn."""
    content: str | list[dict[str, Any]] = field(repr=False)
    """The user's turn as chat completions take it: a text, or parts."""
    history: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    """Messages before it."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """Arguments of the model's calls, in place of the agent's."""

    def messages(self, instructions: str | None) -> list[dict[str, Any]]:
        """Return the conversation that the run begins with; *instructions* stand in place of those it had before."""
        turn: dict[str, Any] = {"role": "user", "content": self.content}
        if not instructions:
            return [*self.history, turn]
        rest = self.history[1:] if begins_with_prompt(self.history) else self.history
        return [{"role": "system", "content": instructions}, *rest, turn]


def make_task(query: object, messages: object = None, settings: object = None) -> Task:
    """Return the task that the arguments of `Agent.run` make.

    Raises:
        TypeError: if one of them is nothing that a model could be asked with.
    """
    content = query if isinstance(query, str) else _checked_parts(query)
    text = content if isinstance(content, str) else "\n".join(filter(None, map(_part_text, content)))
    history = () if messages is None else _checked_history(messages)
    return Task(text=text, content=content, history=history, settings=checked_settings(settings))


def checked_settings(settings: object) -> Mapping[str, Any]:
    """Return a copy of *settings*; whether the client knows each of them is its own affair.

    Raises:
        TypeError: if they are no mapping by name, or hold an argument that the run itself gives.
    """
    if settings is None:
        return {}
    kind = type(settings).__name__
    if not isinstance(settings, Mapping) or not all(isinstance(name, str) for name in cast("Any", settings)):
        raise TypeError(
            f"Settings must be a dict by name, not a {kind}: they are arguments of "
            "`chat.completions.create`. Write `settings={'temperature': 0}`."
        )
    given = dict(cast("Mapping[str, Any]", settings))
    for name, instead in _OF_RUNS.items():
        if name in given:
            raise TypeError(f"Cannot take {name!r} as a setting: a run gives that itself. Rather {instead}.")
    return given


def _checked_parts(query: object) -> list[dict[str, Any]]:
    parts: list[Any] = list(cast("Any", query)) if isinstance(query, (list, tuple)) else []
    kind = f"a {type(cast('object', query)).__name__}"
    if isinstance(query, (list, tuple)) and not parts:
        kind = f"an empty {kind[2:]}"
    if not parts or not all(isinstance(part, Mapping) for part in parts):
        raise TypeError(
            f"Cannot ask an agent with {kind}: a query is the "
            "user's next turn. Give a text, or a list of parts such as `{'type': 'text', 'text': 'Hello'}`."
        )
    if any("role" in part or not isinstance(part.get("type"), str) for part in parts):
        raise TypeError(
            "Cannot ask an agent with a list of messages: a query is the user's next turn, as a text or as parts that "
            "each have a `type`. Write `agent.run('And then?', messages=earlier.messages)`."
        )
    return [dict(part) for part in parts]


def _part_text(part: Mapping[str, Any]) -> str:
    text = part.get("text")
    return text if isinstance(text, str) else ""


def _checked_history(messages: object) -> tuple[dict[str, Any], ...]:
    kind = type(messages).__name__
    given: list[Any] = list(cast("Iterable[Any]", messages)) if isinstance(messages, Sequence) else [None]
    if isinstance(messages, (str, bytes)) or not all(
        isinstance(one, Mapping) and isinstance(cast("Any", one).get("role"), str) for one in given
    ):
        raise TypeError(
            f"`messages` must be those of an earlier run, each with its `role`, not a {kind} like "
            "this one. Write `agent.run('And then?', messages=earlier.messages)`."
        )
    return tuple(_with_all_results([dict(one) for one in given]))


def _with_all_results(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return *messages* with a result for each call of a tool: a run that was stopped or failed has left some out.

    A provider refuses a conversation in which a call has none.
    """
    found: list[dict[str, Any]] = []
    waiting: list[str] = []
    for message in messages:
        if message.get("role") == "tool":
            waiting = [one for one in waiting if one != message.get("tool_call_id")]
        else:
            found += (_missing_result(one) for one in waiting)
            waiting = [
                str(cast("Any", call).get("id"))
                for call in message.get("tool_calls") or ()
                if isinstance(call, Mapping)
            ]
        found.append(message)
    return found + [_missing_result(one) for one in waiting]


def _missing_result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": NOT_MADE}
