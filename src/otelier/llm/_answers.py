"""Answers of models: plain data that can be stored as JSON, read from whatever the provider sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Generic, TypeVar
from uuid import uuid4

from typing_extensions import Self

from otelier.codec import read_json, to_plain
from otelier.errors import AnswerError, NotJsonError, RefusalError, ToolArgumentsError, UnfinishedAnswerError
from otelier.llm._json import as_array, as_object, sendable_message
from otelier.llm._schemas import Problem, Reader, Schema, join_problems, lines_of, reader_of

Json = dict[str, Any]

CUT = ("length", "content_filter")
"""Reasons to end that leave an answer incomplete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call that a model asks for.

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
        """The arguments by name: a new dict at each use, empty if the model gave none.

        Raises:
            ToolArgumentsError: if they are not a JSON object. Its message is for the model, and does not quote them.
        """
        try:
            found: Any = read_json(self.arguments_json) if self.arguments_json.strip() else {}
        except NotJsonError as exc:
            problem = str(exc)
        else:
            if isinstance(found, dict):
                return as_object(found)
            problem = f"they are of type {type(found).__name__!r}, and names are needed"
        raise ToolArgumentsError(
            f"Cannot read the arguments of tool {self.name!r} as JSON: {problem}. "
            "Send one JSON object; a limit of tokens may have cut this one.",
            tool=self.name,
            call_id=self.id,
            problems=[f"arguments: {problem}"],
        )

    def to_message(self, content: str) -> dict[str, Any]:
        """Return the message that answers this call, for the next model call.

        Args:
            content: The tool's result, or what went wrong.
        """
        return {"role": "tool", "tool_call_id": self.id, "content": content}


def arguments_error(tool: str, problems: list[Problem], call_id: str = "") -> ToolArgumentsError:
    """Return the error for arguments that do not fit the schema of *tool*, worded for the model."""
    lines = lines_of(problems, "arguments")
    return ToolArgumentsError(
        f"The arguments of tool {tool!r} do not fit: {join_problems(lines)}. Send them as its schema has them.",
        tool=tool,
        call_id=call_id,
        problems=lines,
    )


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The tokens of one call, or the sum of several.

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
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Self:
        counts = (one.name for one in fields(self))
        return replace(self, **{name: getattr(self, name) + getattr(other, name, 0) for name in counts})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T]):
    """A model's answer.

    Everything in it except `object` is plain data. `to_json` and `from_json` convert it to JSON and back.

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
        """Return the answer as data for `json.dumps`; an instance of a model class becomes its fields."""
        calls = [asdict(call) for call in self.tool_calls]  # JSON knows no tuples
        made = to_plain(self.object, what="the object of an answer")
        return {**asdict(replace(self, object=None)), "object": made, "tool_calls": calls}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], *, schema: Schema | None = None) -> Answer[Any]:
        """Return the answer from the data that `to_json` returned.

        Args:
            stored: What `to_json` returned.
            schema: Schema of `object`, as for `generate`; it is read from the text again. `None` leaves plain data.

        Raises:
            AnswerError: if the text no longer matches *schema*.
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


def plain_body(model: Any) -> Json:
    """Return an answer or a chunk of the client as plain data; nothing for what is none, such as a page of HTML.

    Servers leave fields out and put others in, and the client lets them; a dict has what is there.
    """
    dump = getattr(model, "to_dict", None)
    return dump(warnings=False) if dump else {}


def read_answer(body: Json, reader: Reader | None) -> Answer[Any]:
    """Return the answer that *body* holds: its first choice.

    Raises:
        AnswerError: if it holds none, or not what *reader* reads.
    """
    choice = next(map(as_object, as_array(body.get("choices"))), None)
    if choice is None:
        raise AnswerError(
            "Cannot find an answer in what the provider sent: there is no choice in it. "
            "Check that `base_url` is that of an API for chat completions."
        )
    given = as_object(choice.get("message"))
    message = _repaired_message(given)
    refusal, reason = message.get("refusal"), choice.get("finish_reason")
    answer: Answer[Any] = Answer(
        text=read_text(given.get("content")),
        object=None,
        tool_calls=tuple(map(_call_in, as_array(message.get("tool_calls")))),
        usage=read_usage(body.get("usage")),
        finish_reason=reason if isinstance(reason, str) else None,
        refusal=refusal if isinstance(refusal, str) else None,
        model=str(body.get("model") or ""),
        id=str(body.get("id") or ""),
        # Providers take an empty message of their own back only as an empty text.
        message={"role": "assistant", "content": None if message.keys() & {"tool_calls", "refusal"} else "", **message},
    )
    if reader is None or answer.tool_calls:
        return answer
    _check_whole(answer)
    return replace(answer, object=reader(answer))


def read_message(message: Mapping[str, Any], *, schema: Schema | None = None) -> Answer[Any]:
    """Read a message of chat completions, such as one that was stored.

    Args:
        message: A message of the role `assistant`.
        schema: Schema of `object`, as for `generate`. `None` reads text.

    Raises:
        AnswerError: if the text does not match *schema*.

    Example:
        >>> read_message({"role": "assistant", "content": "[1, 2]"}, schema={"type": "array"}).object
        [1, 2]
    """
    return read_answer({"choices": [{"message": dict(message)}]}, None if schema is None else reader_of(schema))


def read_usage(usage: Any) -> Usage | None:
    """Return the tokens that a provider counted; `None` when it did not."""
    counted = as_object(usage)
    if not counted:
        return None
    return Usage(
        input_tokens=_token_count(counted.get("prompt_tokens")),
        output_tokens=_token_count(counted.get("completion_tokens")),
        cached_tokens=_token_count(as_object(counted.get("prompt_tokens_details")).get("cached_tokens")),
        reasoning_tokens=_token_count(as_object(counted.get("completion_tokens_details")).get("reasoning_tokens")),
    )


def _check_whole(answer: Answer[Any]) -> None:
    """Raise where there is no point in reading the text."""
    if answer.refusal:
        raise RefusalError(
            f"Model {answer.model!r} refuses to answer: there is no object to return. "
            "Its words are in `error.answer.refusal`; ask differently.",
            answer=answer,
        )
    if answer.finish_reason in CUT:
        limit = "its limit of tokens" if answer.finish_reason == "length" else "a content filter"
        raise UnfinishedAnswerError(
            f"The answer of model {answer.model!r} was cut by {limit}: an incomplete object cannot be read. "
            "Raise the limit or ask for less; what came is in `error.answer.text`.",
            answer=answer,
        )
    if not answer.text.strip():
        raise AnswerError(
            f"Model {answer.model!r} answered nothing: there is no object to return. Ask again.",
            answer=answer,
            problems=["the answer: it is empty"],
        )


def _repaired_message(given: Json) -> Json:
    """Return a provider's message as the next question can carry it; each call is whole, with an id of its own."""
    message = {key: value for key, value in given.items() if value not in (None, [])}
    try:
        message = sendable_message(message)
    except RecursionError:  # something that a server adds of its own
        message = sendable_message(_plainest(message))
    calls = as_array(message.get("tool_calls"))
    if calls and (whole := _with_ids(calls)) != calls:
        message["tool_calls"] = whole
    return message


def _plainest(message: Json) -> Json:
    """Return the words and the calls of *message*, and nothing else."""
    calls = [
        {**_text_members(call), "function": _text_members(as_object(call.get("function")))}
        for call in map(as_object, as_array(message.get("tool_calls")))
    ]
    return {
        **_text_members(message),
        "content": read_text(message.get("content")),
        **({"tool_calls": calls} if calls else {}),
    }


def _text_members(given: Json) -> Json:
    return {key: value for key, value in given.items() if isinstance(value, str)}


def _with_ids(calls: list[Any]) -> list[Json]:
    """Return *calls* with ids: some servers give none, or all calls the same, and a result names the call's."""
    seen: set[str] = set()
    whole: list[Json] = []
    for call in map(as_object, calls):
        call_id = call.get("id")
        if not isinstance(call_id, str) or not call_id or call_id in seen:
            call_id = f"call_{uuid4().hex[:24]}"
        seen.add(call_id)
        whole.append({**call, **({} if "custom" in call else _function_of(call)), "id": call_id})
    return whole


def _function_of(call: Json) -> Json:
    """Return what a call of a function has, with texts where a server left them out: the next question needs them."""
    function = as_object(call.get("function"))
    texts = {name: function.get(name) for name in ("name", "arguments")}
    filled = {name: text if isinstance(text, str) else "" for name, text in texts.items()}
    return {"type": "function", "function": {**function, **filled}}


def _call_in(call: Json) -> ToolCall:
    function, custom = as_object(call.get("function")), as_object(call.get("custom"))
    return ToolCall(
        id=call["id"],
        name=str(function.get("name") or custom.get("name") or ""),
        arguments_json=str(function.get("arguments") or custom.get("input") or ""),
    )


def read_text(content: Any) -> str:
    """Return the words of *content*: a text, or, as some providers have it, parts of which some are text."""
    if isinstance(content, str):
        return content
    texts = (as_object(part).get("text") for part in as_array(content))
    return "".join(text for text in texts if isinstance(text, str))


def _token_count(value: Any) -> int:
    return value if isinstance(value, int) else 0
