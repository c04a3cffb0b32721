"""One question to the model, streamed or not, by chat completions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from otelier.agents._client import is_async
from otelier.agents._threads import in_thread


@dataclass(slots=True)
class Answer:
    """What the model answered."""

    text: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Calls of tools, in the form of chat completions."""
    refusal: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0

    def message(self) -> dict[str, Any]:
        """Return the answer as a message of the conversation."""
        said = self.text or self.refusal or ""
        message: dict[str, Any] = {"role": "assistant", "content": said or (None if self.calls else "")}
        return {**message, "tool_calls": self.calls} if self.calls else message


async def question(client: Any, request: dict[str, Any], told: Callable[[str], None] | None) -> Answer:
    """Ask the model; *told* is given each piece of text, and makes the answer a streamed one.

    Raises:
        Exception: whatever the client raises, unchanged.
    """
    create = client.chat.completions.create
    if told is not None:
        request = {**request, "stream": True, "stream_options": {"include_usage": True}}
    if not is_async(client):
        loop = asyncio.get_running_loop()
        return await in_thread(lambda: _ask_sync(create, request, told, loop), "otelier-model")
    response = await create(**request)
    if told is None:
        return _whole(response)
    answer = Answer()
    async with response as chunks:
        async for chunk in chunks:
            _add(answer, chunk, told)
    return answer


def _ask_sync(
    create: Callable[..., Any],
    request: dict[str, Any],
    told: Callable[[str], None] | None,
    loop: asyncio.AbstractEventLoop,
) -> Answer:
    response = create(**request)
    if told is None:
        return _whole(response)
    answer = Answer()
    with response as chunks:
        for chunk in chunks:
            _add(answer, chunk, lambda text: loop.call_soon_threadsafe(told, text))
    return answer


def _whole(response: Any) -> Answer:
    answer = Answer()
    _count(answer, getattr(response, "usage", None))
    choices: Any = getattr(response, "choices", None)
    if choices:
        message = choices[0].message
        answer.text, answer.refusal = message.content or "", getattr(message, "refusal", None)
        calls: Any = message.tool_calls or ()
        for call in calls:
            function: Any = getattr(call, "function", None)
            if function is not None:
                answer.calls.append(_call(call.id, function.name, function.arguments))
    return answer


def _add(answer: Answer, chunk: Any, told: Callable[[str], object]) -> None:
    _count(answer, getattr(chunk, "usage", None))
    for choice in chunk.choices or ():
        delta = choice.delta
        if choice.index or delta is None:
            continue
        if delta.content:
            answer.text += delta.content
            told(delta.content)
        if getattr(delta, "refusal", None):
            answer.refusal = (answer.refusal or "") + delta.refusal
        for piece in delta.tool_calls or ():
            _add_call(answer, piece)


def _add_call(answer: Answer, piece: Any) -> None:
    at: int = piece.index
    while len(answer.calls) <= at:
        answer.calls.append(_call("", "", ""))
    call = answer.calls[at]
    call["id"] = call["id"] or piece.id or ""
    if piece.function is not None:
        call["function"]["name"] += piece.function.name or ""
        call["function"]["arguments"] += piece.function.arguments or ""


def _call(id: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    return {"id": id or "", "type": "function", "function": {"name": name or "", "arguments": arguments or ""}}


def _count(answer: Answer, usage: Any) -> None:
    if usage is not None:
        answer.input_tokens = getattr(usage, "prompt_tokens", 0) or 0
        answer.output_tokens = getattr(usage, "completion_tokens", 0) or 0
