"""The shape of legacy completions: a text for each prompt, whole or word by word."""

from __future__ import annotations

from typing import Any

from otelier.testing.server._requests import Json, OpenAIRequest, part
from otelier.testing.server._turns import Turn, pieces

CREATED = 1731456000


def body(request: OpenAIRequest, turn: Turn) -> Json:
    """Return a whole answer."""
    choices = [_choice(index, turn.text or "", turn.finish_reason) for index in range(_count(request))]
    return {**_head(turn), "choices": choices, "usage": _usage(turn)}


def events(request: OpenAIRequest, turn: Turn) -> list[Json]:
    """Return the chunks, the usage at their end where it was asked for, and `[DONE]`."""
    head, indexes = _head(turn), range(_count(request))
    chunks = [{**head, "choices": [_choice(index, piece)]} for piece in pieces(turn.text or "") for index in indexes]
    chunks += [{**head, "choices": [_choice(index, "", turn.finish_reason)]} for index in indexes]
    if part(request.asked, "stream_options").get("include_usage"):
        chunks.append({**head, "choices": [], "usage": _usage(turn)})
    return [{"data": chunk} for chunk in [*chunks, "[DONE]"]]


def _head(turn: Turn) -> Json:
    return {"id": turn.ids.next("cmpl-"), "object": "text_completion", "created": CREATED, "model": turn.model}


def _choice(index: int, text: str, finish_reason: str | None = None) -> Json:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish_reason}


def _count(request: OpenAIRequest) -> int:
    prompt: Any = request.asked.get("prompt")
    prompts = len(request.messages) if isinstance(prompt, list) and request.messages else 1
    return prompts * int(request.asked.get("n") or 1)


def _usage(turn: Turn) -> Json:
    heard, said = turn.usage["input_tokens"], turn.usage["output_tokens"]
    return {"prompt_tokens": heard, "completion_tokens": said, "total_tokens": heard + said}
