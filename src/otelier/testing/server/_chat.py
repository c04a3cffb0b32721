"""The shape of chat completions: one body, or chunks."""

from __future__ import annotations

from typing import Any

from otelier.testing.server._exchanges import recorded, template
from otelier.testing.server._requests import Json, OpenAIRequest, part
from otelier.testing.server._turns import Turn, pieces


def body(request: OpenAIRequest, turn: Turn) -> Json:
    """Return a whole answer."""
    message: Json = {"role": "assistant", "content": turn.text, "refusal": None}
    if turn.calls:
        message["tool_calls"] = [_call(call.id, call.name, call.arguments) for call in turn.calls]
    answer = template("chat")
    answer.update(
        id=turn.ids.next("chatcmpl-"),
        model=turn.model,
        choices=[
            {"index": index, "message": message, "logprobs": None, "finish_reason": turn.finish_reason}
            for index in range(_count(request))
        ],
        usage=_usage(turn),
        **_tier(request),
    )
    return answer


def events(request: OpenAIRequest, turn: Turn) -> list[Json]:
    """Return the chunks, the usage at their end where it was asked for, and `[DONE]`."""
    with_usage = bool(part(request.asked, "stream_options").get("include_usage"))
    base: Json = {
        **recorded()["chat_stream_usage"].events[0]["data"],
        "id": turn.ids.next("chatcmpl-"),
        "model": turn.model,
        **_tier(request),
    }
    base.pop("usage")
    if with_usage:
        base["usage"] = None
    deltas: list[Json] = [{"role": "assistant", "content": None if turn.calls else "", "refusal": None}]
    deltas += [{"content": piece} for piece in pieces(turn.text or "")]
    for index, call in enumerate(turn.calls):
        deltas.append({"tool_calls": [{"index": index, **_call(call.id, call.name, "")}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in pieces(call.arguments)
        ]
    choices = range(_count(request))
    chunks = [{**base, "choices": [_choice(index, delta, None)]} for delta in deltas for index in choices]
    chunks += [{**base, "choices": [_choice(index, {}, turn.finish_reason)]} for index in choices]
    if with_usage:
        chunks.append({**base, "choices": [], "usage": _usage(turn)})
    return [{"data": chunk} for chunk in [*chunks, "[DONE]"]]


def _choice(index: int, delta: Json, finish_reason: str | None) -> Json:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _call(id: str, name: str, arguments: str) -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _count(request: OpenAIRequest) -> int:
    return int(request.asked.get("n") or 1)


def _tier(request: OpenAIRequest) -> dict[str, Any]:
    tier = request.asked.get("service_tier")
    return {"service_tier": "default" if tier == "auto" else tier} if tier else {}


def _usage(turn: Turn) -> Json:
    usage: Json = template("chat")["usage"]
    heard, said = turn.usage["input_tokens"], turn.usage["output_tokens"]
    usage.update(prompt_tokens=heard, completion_tokens=said, total_tokens=heard + said)
    usage["prompt_tokens_details"]["cached_tokens"] = turn.usage["cached_tokens"]
    usage["completion_tokens_details"]["reasoning_tokens"] = turn.usage["reasoning_tokens"]
    return usage
