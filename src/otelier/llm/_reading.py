"""From the provider's answer, whatever it left out, to ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from otelier.errors import AnswerError, RefusalError, UnfinishedAnswerError
from otelier.llm._answers import Answer, ToolCall, Usage
from otelier.llm._json import items_of, members_of, sendable
from otelier.llm._schemas import Reader, Schema, reader_of

if TYPE_CHECKING:
    from otelier.openai import CallPieces


Json = dict[str, Any]

CUT = ("length", "content_filter")
"""Reasons to end that leave an answer incomplete."""


def plain(model: Any) -> Json:
    """Return an answer or a chunk of the client as plain data; nothing for what is none, such as a page of HTML.

    Servers leave fields out and put others in, and the client lets them; a dict says what is there.
    """
    dump = getattr(model, "to_dict", None)
    return dump(warnings=False) if dump else {}


def read_answer(body: Json, reader: Reader | None) -> Answer[Any]:
    """Return the answer that *body* holds: its first choice.

    Raises:
        AnswerError: if it holds none, or not what *reader* reads.
    """
    choice = next(map(members_of, items_of(body.get("choices"))), None)
    if choice is None:
        raise AnswerError(
            "Cannot find an answer in what the provider sent: there is no choice in it. "
            "Check that `base_url` is that of an API for chat completions."
        )
    given = members_of(choice.get("message"))
    message = _message(given)
    refusal, reason = message.get("refusal"), choice.get("finish_reason")
    answer: Answer[Any] = Answer(
        text=read_text(given.get("content")),
        object=None,
        tool_calls=tuple(map(_call, items_of(message.get("tool_calls")))),
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
    """Return what a message of chat completions says, such as one that was stored.

    Args:
        message: A message of the role `assistant`.
        schema: What `object` is to be, as for `generate`. `None` reads text.

    Raises:
        AnswerError: if the text does not fit *schema*.

    Example:
        >>> read_message({"role": "assistant", "content": "[1, 2]"}, schema={"type": "array"}).object
        [1, 2]
    """
    return read_answer({"choices": [{"message": dict(message)}]}, None if schema is None else reader_of(schema))


def read_usage(usage: Any) -> Usage | None:
    """Return the tokens that a provider counted; `None` when it did not."""
    counted = members_of(usage)
    if not counted:
        return None
    return Usage(
        input_tokens=_count(counted.get("prompt_tokens")),
        output_tokens=_count(counted.get("completion_tokens")),
        cached_tokens=_count(members_of(counted.get("prompt_tokens_details")).get("cached_tokens")),
        reasoning_tokens=_count(members_of(counted.get("completion_tokens_details")).get("reasoning_tokens")),
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


def _message(given: Json) -> Json:
    """Return a provider's message as the next question can carry it; each call is whole, with an id of its own."""
    message = {key: value for key, value in given.items() if value not in (None, [])}
    try:
        message = sendable(message)
    except RecursionError:  # something that a server adds of its own
        message = sendable(_plainest(message))
    calls = items_of(message.get("tool_calls"))
    if calls and (told := _told_apart(calls)) != calls:
        message["tool_calls"] = told
    return message


def _plainest(message: Json) -> Json:
    """Return the words and the calls of *message*, and nothing else."""
    calls = [
        {**_texts_of(call), "function": _texts_of(members_of(call.get("function")))}
        for call in map(members_of, items_of(message.get("tool_calls")))
    ]
    return {
        **_texts_of(message),
        "content": read_text(message.get("content")),
        **({"tool_calls": calls} if calls else {}),
    }


def _texts_of(given: Json) -> Json:
    return {key: value for key, value in given.items() if isinstance(value, str)}


def _told_apart(calls: list[Any]) -> list[Json]:
    """Return *calls* with ids: some servers give none, or all calls the same, and a result names the call's."""
    seen: set[str] = set()
    told: list[Json] = []
    for call in map(members_of, calls):
        call_id = call.get("id")
        if not isinstance(call_id, str) or not call_id or call_id in seen:
            call_id = f"call_{uuid4().hex[:24]}"
        seen.add(call_id)
        told.append({**call, **({} if "custom" in call else _function_of(call)), "id": call_id})
    return told


def _function_of(call: Json) -> Json:
    """Return what a call of a function has, with texts where a server left them out: the next question needs them."""
    function = members_of(call.get("function"))
    texts = {name: function.get(name) for name in ("name", "arguments")}
    filled = {name: text if isinstance(text, str) else "" for name, text in texts.items()}
    return {"type": "function", "function": {**function, **filled}}


def _call(call: Json) -> ToolCall:
    function, custom = members_of(call.get("function")), members_of(call.get("custom"))
    return ToolCall(
        id=call["id"],
        name=str(function.get("name") or custom.get("name") or ""),
        arguments_json=str(function.get("arguments") or custom.get("input") or ""),
    )


def read_text(content: Any) -> str:
    """Return the words of *content*: a text, or, as some providers have it, parts of which some are text."""
    if isinstance(content, str):
        return content
    texts = (members_of(part).get("text") for part in items_of(content))
    return "".join(text for text in texts if isinstance(text, str))


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


class Merger:
    """Takes the chunks of one stream, and gives the whole answer as if it had come in one piece."""

    def __init__(self) -> None:
        self._body: Json = {}
        self._message: Json = {"role": "assistant", "content": None}
        self._calls: list[Json] = []
        self._latest: dict[int | None, tuple[CallPieces, Json]] = {}
        self.finish_reason: str | None = None

    def add(self, chunk: Json) -> Json:
        """Take one chunk, and return its first choice; an empty one when it has none."""
        self._body.update({key: value for key, value in chunk.items() if key != "choices" and value is not None})
        choices = map(members_of, items_of(chunk.get("choices")))
        first = next((choice for choice in choices if not choice.get("index")), members_of(None))
        self.finish_reason = first.get("finish_reason") or self.finish_reason
        delta = members_of(first.get("delta"))
        for key, value in delta.items():
            if key == "tool_calls":
                for call in items_of(value):
                    self._add_call(members_of(call))
            elif key != "role":
                self._message[key] = _joined(self._message.get(key), value)
        return first

    def whole(self) -> Json:
        """Return the answer as chat completions that are not streamed have it."""
        message = {**self._message, **({"tool_calls": self._calls} if self._calls else {})}
        return {**self._body, "choices": [{"index": 0, "finish_reason": self.finish_reason, "message": message}]}

    def _add_call(self, piece: Json) -> None:
        index, call_id = piece.get("index"), piece.get("id")
        index = index if isinstance(index, int) else None
        said = members_of(piece.get("function")) or members_of(piece.get("custom"))
        name, written = (value if isinstance(value, str) else "" for value in map(said.get, ("name", "arguments")))
        if index not in self._latest or self._latest[index][0].end_before(call_id, name):
            from otelier.openai import CallPieces  # not before it is needed: `import otelier.llm` stays light

            self._latest[index] = (CallPieces(), {"type": "function"})
            self._calls.append(self._latest[index][1])
        pieces, call = self._latest[index]
        pieces.add(call_id, name, written)
        for key, value in piece.items():
            if key in ("function", "custom"):
                part = call.setdefault(key, {})
                for member, more in members_of(value).items():
                    grows = member in ("arguments", "input")
                    part[member] = _joined(part.get(member), more) if grows else more or part.get(member)
            elif key != "index" and value is not None:
                call[key] = value


def _joined(before: Any, value: Any) -> Any:
    """Put a piece behind what came before; texts and lists grow, and anything else is replaced.

    Some providers send parts for one piece and a text for the next: then the texts become parts.
    """
    if value is None:
        return before
    kinds: set[type[Any]] = {type(before), type(value)}
    if kinds == {str, list}:
        return _parts(before) + _parts(value)
    grows = kinds == {str} or kinds == {list}
    return before + value if grows else value


def _parts(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content
