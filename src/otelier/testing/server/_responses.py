"""The shape of the Responses API: one body, or events that build it up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from otelier.testing.server._exchanges import template
from otelier.testing.server._requests import Json, OpenAIRequest
from otelier.testing.server._turns import Turn, pieces

ECHOED = (
    "background", "instructions", "max_output_tokens", "metadata", "parallel_tool_calls", "previous_response_id",
    "reasoning", "store", "temperature", "tool_choice", "tools", "top_p", "truncation",
)  # fmt: skip
"""Parameters of the request that the answer repeats."""


def body(request: OpenAIRequest, turn: Turn) -> Json:
    """Return a whole answer."""
    answer = template("responses")
    answer["instructions"] = None
    answer.update({name: request.asked[name] for name in ECHOED if request.asked.get(name) is not None})
    answer["text"].update(request.asked.get("text") or {})
    if tier := request.asked.get("service_tier"):
        answer["service_tier"] = "default" if tier == "auto" else tier
    answer.update(id=turn.ids.next("resp_", 50), model=turn.model, output=_output(turn), usage=_usage(turn))
    if turn.finish_reason in ("length", "content_filter"):
        why = "max_output_tokens" if turn.finish_reason == "length" else turn.finish_reason
        answer.update(status="incomplete", incomplete_details={"reason": why})
    return answer


def events(answer: Json) -> list[Json]:
    """Return the events that stream *answer*."""
    found: list[Json] = []
    for number, (kind, fields) in enumerate(_events(answer)):
        found.append({"event": kind, "data": {"type": kind, **fields, "sequence_number": number}})
    return found


def queued(answer: Json) -> Json:
    """Return how *answer* looks while it is made in the background."""
    return {**answer, "status": "queued", "completed_at": None, "incomplete_details": None, "output": [], "usage": None}


def replayed(request: OpenAIRequest, answer: Json) -> list[Json]:
    """Return the events of a stored *answer*, from where the request asks to go on."""
    found = re.search(r"(?:^|&)starting_after=(\d+)", request.query)
    return events(answer)[int(found[1]) + 1 if found else 0 :]


def _events(answer: Json) -> Iterator[tuple[str, Json]]:
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
        yield from _message_events(item, here) if item["type"] == "message" else _call_events(item, here)
        yield "response.output_item.done", {"item": item, "output_index": index}
    yield f"response.{answer['status']}", {"response": answer}


def _message_events(item: Json, here: Json) -> Iterator[tuple[str, Json]]:
    part: Json = item["content"][0]
    here = {**here, "content_index": 0}
    yield "response.content_part.added", {**here, "part": {**part, "text": ""}}
    for piece in pieces(part["text"]):
        yield "response.output_text.delta", {**here, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**here, "text": part["text"], "logprobs": []}
    yield "response.content_part.done", {**here, "part": part}


def _call_events(item: Json, here: Json) -> Iterator[tuple[str, Json]]:
    for piece in pieces(item["arguments"]):
        yield "response.function_call_arguments.delta", {**here, "delta": piece}
    yield (
        "response.function_call_arguments.done",
        {**here, "arguments": item["arguments"], "name": item["name"]},
    )


def _output(turn: Turn) -> list[Json]:
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


def _usage(turn: Turn) -> Json:
    heard, said = turn.usage["input_tokens"], turn.usage["output_tokens"]
    return {
        "input_tokens": heard,
        "input_tokens_details": {"cached_tokens": turn.usage["cached_tokens"]},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": turn.usage["reasoning_tokens"]},
        "total_tokens": heard + said,
    }
