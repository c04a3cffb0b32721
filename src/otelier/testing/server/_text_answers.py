"""Answers in text: chat completions, legacy completions and Responses, whole or as the events of a stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from otelier.testing.server._exchanges import recorded, template
from otelier.testing.server._requests import Json, OpenAIRequest, part
from otelier.testing.server._turns import CREATED, Turn, pieces


def chat_body(request: OpenAIRequest, turn: Turn) -> Json:
    """Return a whole answer."""
    message: Json = {"role": "assistant", "content": turn.text, "refusal": None}
    if turn.calls:
        message["tool_calls"] = [_chat_call(call.id, call.name, call.arguments) for call in turn.calls]
    answer = template("chat")
    answer.update(
        id=turn.ids.next("chatcmpl-"),
        model=turn.model,
        choices=[
            {"index": index, "message": message, "logprobs": None, "finish_reason": turn.finish_reason}
            for index in range(_chat_choices(request))
        ],
        usage=_chat_usage(turn),
        **_service_tier(request),
    )
    return answer


def chat_events(request: OpenAIRequest, turn: Turn) -> list[Json]:
    """Return the chunks, the usage at their end where it was asked for, and `[DONE]`."""
    with_usage = bool(part(request.asked, "stream_options").get("include_usage"))
    base: Json = {
        **recorded()["chat_stream_usage"].events[0]["data"],
        "id": turn.ids.next("chatcmpl-"),
        "model": turn.model,
        **_service_tier(request),
    }
    base.pop("usage")
    if with_usage:
        base["usage"] = None
    deltas: list[Json] = [{"role": "assistant", "content": None if turn.calls else "", "refusal": None}]
    deltas += [{"content": piece} for piece in pieces(turn.text or "")]
    for index, call in enumerate(turn.calls):
        deltas.append({"tool_calls": [{"index": index, **_chat_call(call.id, call.name, "")}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces(call.arguments)
        ]
    choices = range(_chat_choices(request))
    chunks = [{**base, "choices": [_chat_choice(index, delta, None)]} for delta in deltas for index in choices]
    chunks += [{**base, "choices": [_chat_choice(index, {}, turn.finish_reason)]} for index in choices]
    if with_usage:
        chunks.append({**base, "choices": [], "usage": _chat_usage(turn)})
    return [{"data": chunk} for chunk in [*chunks, "[DONE]"]]


def _chat_choice(index: int, delta: Json, finish_reason: str | None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _chat_call(id: str, name: str, arguments: str) -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _chat_choices(request: OpenAIRequest) -> int:
    return int(request.asked.get("n") or 1)


def _service_tier(request: OpenAIRequest) -> dict[str, Any]:
    tier = request.asked.get("service_tier")
    return {"service_tier": "default" if tier == "auto" else tier} if tier else {}


def _chat_usage(turn: Turn) -> Json:
    usage: Json = template("chat")["usage"]
    read, written = turn.usage["input_tokens"], turn.usage["output_tokens"]
    usage.update(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)
    usage["prompt_tokens_details"]["cached_tokens"] = turn.usage["cached_tokens"]
    usage["completion_tokens_details"]["reasoning_tokens"] = turn.usage["reasoning_tokens"]
    return usage


def completion_body(request: OpenAIRequest, turn: Turn) -> Json:
    """Return a whole answer."""
    choices = [
        _completion_choice(index, turn.text or "", turn.finish_reason) for index in range(_completion_choices(request))
    ]
    return {**_completion_head(turn), "choices": choices, "usage": _completion_usage(turn)}


def completion_events(request: OpenAIRequest, turn: Turn) -> list[Json]:
    """Return the chunks, the usage at their end where it was asked for, and `[DONE]`."""
    head, indexes = _completion_head(turn), range(_completion_choices(request))
    chunks = [
        {**head, "choices": [_completion_choice(index, piece)]}
        for piece in pieces(turn.text or "")
        for index in indexes
    ]
    chunks += [{**head, "choices": [_completion_choice(index, "", turn.finish_reason)]} for index in indexes]
    if part(request.asked, "stream_options").get("include_usage"):
        chunks.append({**head, "choices": [], "usage": _completion_usage(turn)})
    return [{"data": chunk} for chunk in [*chunks, "[DONE]"]]


def _completion_head(turn: Turn) -> Json:
    return {"id": turn.ids.next("cmpl-"), "object": "text_completion", "created": CREATED, "model": turn.model}


def _completion_choice(index: int, text: str, finish_reason: str | None = None) -> Json:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish_reason}


def _completion_choices(request: OpenAIRequest) -> int:
    prompt: Any = request.asked.get("prompt")
    prompts = len(request.messages) if isinstance(prompt, list) and request.messages else 1
    return prompts * int(request.asked.get("n") or 1)


def _completion_usage(turn: Turn) -> Json:
    read, written = turn.usage["input_tokens"], turn.usage["output_tokens"]
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


ECHOED = (
    "background", "instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "previous_response_id",
    "reasoning", "store", "temperature", "tool_choice", "tools", "top_p", "truncation",
)  # fmt: skip
"""Parameters of the request that the answer repeats."""


def response_body(request: OpenAIRequest, turn: Turn) -> Json:
    """Return a whole answer."""
    answer = template("responses")
    answer["instructions"] = None
    answer.update({name: request.asked[name] for name in ECHOED if request.asked.get(name) is not None})
    answer["text"].update(request.asked.get("text") or {})
    if tier := request.asked.get("service_tier"):
        answer["service_tier"] = "default" if tier == "auto" else tier
    answer.update(
        id=turn.ids.next("resp_", 50), model=turn.model, output=_response_output(turn), usage=_response_usage(turn)
    )
    if turn.finish_reason in ("length", "content_filter"):
        why = "max_output_tokens" if turn.finish_reason == "length" else turn.finish_reason
        answer.update(status="incomplete", incomplete_details={"reason": why})
    return answer


def response_events(answer: Json) -> list[Json]:
    """Return the events that stream *answer*."""
    found: list[Json] = []
    for number, (kind, fields) in enumerate(_response_event_fields(answer)):
        found.append({"event": kind, "data": {"type": kind, **fields, "sequence_number": number}})
    return found


def queued_response(answer: Json) -> Json:
    """Return how *answer* looks while it is made in the background."""
    return {**answer, "status": "queued", "completed_at": None, "incomplete_details": None, "output": [], "usage": None}


def replayed_events(request: OpenAIRequest, answer: Json) -> list[Json]:
    """Return the events of a stored *answer*, from where the request asks to go on."""
    found = re.search(r"(?:^|&)starting_after=(\d+)", request.query)
    return response_events(answer)[int(found[1]) + 1 if found else 0 :]


def _response_event_fields(answer: Json) -> Iterator[tuple[str, Json]]:
    begun: Json = {**answer, "status": "in_progress", "completed_at": None, "output": [], "usage": None}
    begun["incomplete_details"] = None
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(answer["output"]):
        empty: Json = {"content": []} if item["type"] == "message" else {"arguments": ""}
        yield (
            "response.output_item.added",
            {"item": {**item, "status": "in_progress", **empty}, "output_index": index},
        )
        here: Json = {"item_id": item["id"], "output_index": index}
        yield from _message_event_fields(item, here) if item["type"] == "message" else _call_event_fields(item, here)
        yield "response.output_item.done", {"item": item, "output_index": index}
    yield f"response.{answer['status']}", {"response": answer}


def _message_event_fields(item: Json, here: Json) -> Iterator[tuple[str, Json]]:
    part: Json = item["content"][0]
    here = {**here, "content_index": 0}
    yield "response.content_part.added", {**here, "part": {**part, "text": ""}}
    for piece in pieces(part["text"]):
        yield "response.output_text.delta", {**here, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**here, "text": part["text"], "logprobs": []}
    yield "response.content_part.done", {**here, "part": part}


def _call_event_fields(item: Json, here: Json) -> Iterator[tuple[str, Json]]:
    for piece in pieces(item["arguments"]):
        yield "response.function_call_arguments.delta", {**here, "delta": piece}
    yield (
        "response.function_call_arguments.done",
        {**here, "arguments": item["arguments"], "name": item["name"]},
    )


def _response_output(turn: Turn) -> list[Json]:
    items: list[Json] = []
    if turn.text is not None:
        message: Json = template("responses")["output"][0]
        message["id"] = turn.ids.next("msg_", 50)
        message["content"][0]["text"] = turn.text
        items.append(message)
    for call in turn.calls:
        item: dict[str, Any] = template("responses_tools")["output"][0]
        item.update(id=turn.ids.next("fc_", 50), call_id=call.id, name=call.name, arguments=call.arguments)
        items.append(item)
    return items


def _response_usage(turn: Turn) -> Json:
    read, written = turn.usage["input_tokens"], turn.usage["output_tokens"]
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": turn.usage["cached_tokens"]},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": turn.usage["reasoning_tokens"]},
        "total_tokens": read + written,
    }
