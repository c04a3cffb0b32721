"""What a model said, as plain data that can be stored as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Generic, TypeVar

from typing_extensions import Self

from otelier.llm._calls import ToolCall
from otelier.llm._schemas import Schema, reader_of

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
        dump = getattr(self.object, "model_dump", None)
        plain: Any = dump(mode="json", by_alias=True) if dump else self.object
        calls = [asdict(call) for call in self.tool_calls]  # JSON knows no tuples
        return {**asdict(replace(self, object=None)), "object": plain, "tool_calls": calls}

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
