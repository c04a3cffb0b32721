"""What a model said, as plain data that can be stored as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Generic, TypeVar

from typing_extensions import Self

from otelier.codec import read_json, to_plain
from otelier.errors import NotJsonError, ToolArgumentsError
from otelier.llm._json import members_of
from otelier.llm._json_schema import Problem, lines_of, listed
from otelier.llm._schemas import Schema, reader_of


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
            found: Any = read_json(self.arguments_json) if self.arguments_json.strip() else {}
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


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The tokens of one call, or of several that were added up.

    Example:
        >>> Usage(input_tokens=9, output_tokens=2) + Usage(input_tokens=5, output_tokens=1)
        Usage(input_tokens=14, output_tokens=3, cached_tokens=0, reasoning_tokens=0)
    """

    input_tokens: int = 0
    """Tokens that the model read, cached ones included."""
    output_tokens: int = 0
    """Tokens that it wrote, those of its reasoning included."""
    cached_tokens: int = 0
    """Of those read, the ones the provider had in its cache."""
    reasoning_tokens: int = 0
    """Of those written, the ones that nobody sees."""

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Self:
        counts = (one.name for one in fields(self))
        return replace(self, **{name: getattr(self, name) + getattr(other, name, 0) for name in counts})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """What a model answered.

    All of it but `object` is plain data. `to_json` and `from_json` take it through JSON and back.

    Example:
        >>> answer = Answer(text="Hello!", object=None, finish_reason="stop")
        >>> Answer.from_json(answer.to_json()) == answer
        True
    """

    text: str = field(default="", repr=False)
    """The words; empty when the model only calls tools, or refuses."""
    object: T = field(repr=False)
    """The words as data: an instance of the model class, or what the JSON says. `None` without a schema, or when the
    model calls tools first."""
    tool_calls: tuple[ToolCall, ...] = ()
    """The tools that the model wants to be called, in its order."""
    usage: Usage | None = None
    """Tokens; `None` when the provider did not count them."""
    finish_reason: str | None = None
    """Why it ended: `stop`, `length`, `tool_calls`, `content_filter`. `None` when the provider did not say."""
    refusal: str | None = field(default=None, repr=False)
    """The words of a refusal; `None` when there is none."""
    model: str = ""
    """The model that answered, as the provider names it."""
    id: str = ""
    """The provider's id of the answer."""
    message: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """The answer as a message, with whatever the provider added to it: it goes behind the messages of the next call."""

    def to_json(self) -> dict[str, Any]:
        """Return the answer as what `json.dumps` takes; an instance of a model class becomes its fields."""
        calls = [asdict(call) for call in self.tool_calls]  # JSON knows no tuples
        made = to_plain(self.object, what="the object of an answer")
        return {**asdict(replace(self, object=None)), "object": made, "tool_calls": calls}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], *, schema: Schema | None = None) -> Answer[Any]:
        """Return the answer that `to_json` made *stored* of.

        Args:
            stored: What `to_json` gave.
            schema: What `object` is to be, as for `generate`; read from the text again. `None` leaves plain data.

        Raises:
            AnswerError: if the text no longer fits *schema*.
        """
        usage = stored["usage"]
        given: dict[str, Any] = {
            **stored,
            "tool_calls": tuple(ToolCall(**call) for call in stored["tool_calls"]),
            "usage": None if usage is None else Usage(**usage),
        }
        answer: Answer[Any] = Answer(**given)
        if schema is None or answer.object is None:
            return answer
        return replace(answer, object=reader_of(schema)(answer))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One piece of a streamed answer.

    Example:
        >>> Chunk(text="Hel").text
        'Hel'
    """

    text: str = field(default="", repr=False)
    """The words that came; empty in chunks that carry something else."""
    finish_reason: str | None = None
    """Why the answer ended, in the chunk that says so."""
    usage: Usage | None = None
    """Tokens of the whole call, in the last chunk, when the provider counts them."""
