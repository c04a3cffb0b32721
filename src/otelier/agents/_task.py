"""What a run is asked: its user turn, the conversation before it, and settings of the model's calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from otelier.agents._read_only import begins_with_prompt

_OF_RUNS: Final = {
    "model": "give it to `Agent(model=)`, or change it by an interceptor's `use_model`",
    "prompt": "give it as `run(query)`",
    "messages": "give an earlier conversation as `run(query, messages=...)`",
    "tools": "give them to `Agent(tools=)`",
    "schema": "give a pydantic model class to `Agent(output_type=)`, or `response_format` as a setting",
    "client": "give it to `Agent(client=)`",
    "stream": "call `agent.stream(...)`",
}
"""What a run itself says in each call of its model, and how that is changed."""
_NOT_MADE: Final = "The call was not made."


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


def task_of(query: object, messages: object = None, settings: object = None) -> Task:
    """Return the task that the arguments of `Agent.run` make.

    Raises:
        TypeError: if one of them is nothing that a model could be asked with.
    """
    content = query if isinstance(query, str) else _parts(query)
    text = content if isinstance(content, str) else "\n".join(filter(None, map(_text, content)))
    history = () if messages is None else _history(messages)
    return Task(text=text, content=content, history=history, settings=checked_settings(settings))


def checked_settings(settings: object) -> Mapping[str, Any]:
    """Return a copy of *settings*; whether the client knows each of them is its own affair.

    Raises:
        TypeError: if they are no mapping by name, or hold what the run itself says.
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
            raise TypeError(f"Cannot take {name!r} as a setting: a run says that itself. Rather {instead}.")
    return given


def _parts(query: object) -> list[dict[str, Any]]:
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


def _text(part: Mapping[str, Any]) -> str:
    text = part.get("text")
    return text if isinstance(text, str) else ""


def _history(messages: object) -> tuple[dict[str, Any], ...]:
    kind = type(messages).__name__
    given: list[Any] = list(cast("Iterable[Any]", messages)) if isinstance(messages, Sequence) else [None]
    if isinstance(messages, (str, bytes)) or not all(
        isinstance(one, Mapping) and isinstance(cast("Any", one).get("role"), str) for one in given
    ):
        raise TypeError(
            f"`messages` must be those of an earlier run, each with its `role`, not a {kind} like "
            "this one. Write `agent.run('And then?', messages=earlier.messages)`."
        )
    return tuple(_answered([dict(one) for one in given]))


def _answered(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return *messages* with a result for each call of a tool: a run that was stopped or failed has left some out.

    A provider refuses a conversation in which a call has none.
    """
    found: list[dict[str, Any]] = []
    waiting: list[str] = []
    for message in messages:
        if message.get("role") == "tool":
            waiting = [one for one in waiting if one != message.get("tool_call_id")]
        else:
            found += (_result(one) for one in waiting)
            waiting = [
                str(cast("Any", call).get("id"))
                for call in message.get("tool_calls") or ()
                if isinstance(call, Mapping)
            ]
        found.append(message)
    return found + [_result(one) for one in waiting]


def _result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": _NOT_MADE}
