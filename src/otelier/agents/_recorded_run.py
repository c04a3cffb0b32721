"""The state of a recorded run: what interceptors change is noted, and changes of an earlier life are made again.

Calls of one answer are made at once, so each change has a number, and is made again in that order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from otelier.agents._conversation import Message, same_beginning
from otelier.agents._results import RunUsage
from otelier.agents._run import Moment, Run
from otelier.codec import to_plain
from otelier.errors import CodecError
from otelier.interceptors import Phase

Json = Any


@dataclass(slots=True)
class Noted:
    """What interceptors changed in one step."""

    changes: list[Json] = field(default_factory=list[Json])
    """Changes of `state`: number, new values and removed keys of each."""
    replaced_at: int | None = None
    """Number of the last change of the conversation; `None` for none."""


_NOTED: Final[ContextVar[Noted]] = ContextVar("otelier-agents-noted")


def note_into(noted: Noted) -> None:
    """Let what interceptors change in this task from here on be noted in *noted*."""
    _NOTED.set(noted)


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class RecordedRun(Run):
    """A run whose steps are recorded."""

    changes: int = 0
    """How often interceptors were asked: the number of the next change is one more."""
    known: list[Json] = field(default_factory=list[Json])
    """Changes of `state` by earlier lives that are not made here yet."""
    base: list[Message] = field(default_factory=list[Message])
    """The conversation when the step, or the calls of an answer, began."""
    replaced: tuple[int, list[Message]] | None = None
    """The conversation that an earlier life left, with the number of its change, where it is not restored yet."""
    replaced_at: int = 0
    live_error: tuple[BaseException, BaseException] | None = None
    """The error that the last step ended with, and what was raised here in its place."""
    under_way: list[asyncio.Future[Any]] = field(default_factory=list[asyncio.Future[Any]])
    """Calls that are made here."""

    async def ask(self, phase: Phase, moment: Moment | None = None) -> None:
        """Ask the interceptors, and note what they changed; what has no form in JSON is refused at once."""
        if not self.spec.interceptors:
            return
        moment = Moment() if moment is None else moment
        state, messages = self.plain_state(), list(self.messages)
        try:
            await Run.ask(self, phase, moment)
        finally:
            self._note(state, messages)
        if phase is Phase.PRE_ACT:
            moment.arguments = to_plain(moment.arguments, what=f"the arguments of tool {moment.tool_name!r}")

    def plain_state(self) -> dict[str, Json]:
        """Return the interceptors' state as plain data; a key that is an interceptor is its place among them.

        Raises:
            CodecError: if it has no form in JSON.
        """
        return {self._key_of(key): to_plain(value, what=self._state_name()) for key, value in self.state.items()}

    def _state_name(self) -> str:
        return f"the `state` of the interceptors of agent {self.spec.name!r}"

    def _key_of(self, key: object) -> str:
        if isinstance(key, str):
            return f"={key}"
        for place, interceptor in enumerate(self.spec.interceptors):
            if interceptor is key:
                return f"#{place}"
        raise CodecError(
            f"Cannot store {self._state_name()}: it has a key of type {type(key).__name__}, which is not found again "
            f"after a crash. Use a text, or the interceptor itself.",
            problem="a key of another type",
        )

    def _key_in(self, name: str) -> object:
        return name[1:] if name[0] == "=" else self.spec.interceptors[int(name[1:])]

    def _note(self, state: Mapping[str, Json], messages: Sequence[Message]) -> None:
        self.changes += 1
        noted, now = _NOTED.get(), self.plain_state()
        changed = {key: value for key, value in now.items() if key not in state or state[key] != value}
        removed = [key for key in state if key not in now]
        if changed or removed:
            noted.changes.append([self.changes, changed, removed])
        for name, value in changed.items():
            if self.state[key := self._key_in(name)] != value:
                self.state[key] = value  # a list in place of a tuple: as it will be found again
        kept = same_beginning(self.messages, messages)
        if kept < max(len(self.messages), len(messages)):
            self.conversation.restore([*self.messages[:kept], *to_plain(self.messages[kept:], what="a conversation")])
            noted.replaced_at = self.replaced_at = self.changes

    def take(self, record: Mapping[str, Json]) -> None:
        """Take what a step of an earlier life did."""
        counted = record["counts"]
        self.known += record.get("changes", ())
        if (replaced := record.get("messages")) is not None:
            at, kept, messages = replaced
            if at >= self.replaced_at:
                self.replaced_at, self.replaced = at, (at, [*self.base[:kept], *messages])
        self.changes = max(self.changes, counted["changes"])
        for name in COUNTS:
            setattr(self, name, max(getattr(self, name), counted[name]))
        before = asdict(self.usage)
        self.usage = RunUsage(**{name: max(before[name], count) for name, count in counted["usage"].items()})
        if (chosen := record.get("chosen")) is not None:
            tools, step_tools = chosen["tools"], chosen["step_tools"]
            self.model, self.step_model = chosen["model"], chosen["step_model"]
            self.tools = {name: self.spec.tools[name] for name in tools if name in self.spec.tools}
            self.step_tools = None if step_tools is None else tuple(step_tools)

    def settle(self) -> None:
        """Make the changes that were taken, in their order."""
        for _, changed, removed in sorted(self.known, key=lambda change: change[0]):
            self.state.update((self._key_in(name), value) for name, value in changed.items())
            for name in removed:
                self.state.pop(self._key_in(name), None)
        self.known.clear()
        if self.replaced is not None:
            self.conversation.restore(self.replaced[1])
            self.replaced = None


COUNTS: Final = ("answers", "model_calls", "tree_model_calls", "executed_tools")
"""Numbers of a run that only grow: those of a record are how far all steps, which go on at once, had come."""
