"""Streamed answers: the stream, and the whole answer that its chunks make up."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from typing_extensions import Self

from otelier.errors import UnfinishedAnswerError
from otelier.faults import on_reset
from otelier.llm import _clients
from otelier.llm._answers import Answer, Chunk, plain_body, read_answer, read_text, read_usage
from otelier.llm._json import as_array, as_object
from otelier.llm._schemas import Reader

if TYPE_CHECKING:
    from otelier.openai import CallPieces

T = TypeVar("T")

USAGE_TOO: Final[Mapping[str, Any]] = {"include_usage": True}
"""The `stream_options` that are sent unless others are given."""
_MAX_KNOWN: Final = 256
_without_usage: set[str] = set()
"""Where servers refuse to be asked for usage, so that each is asked once."""
on_reset(_without_usage.clear)


class AnswerStream(Generic[T]):
    """The result of `stream`: iterate over its chunks, or get the whole answer with `collect`.

    The call is made at the first `await`, `async for` or `async with`; awaiting the stream makes the call and returns
    the stream. It can be read once. After a loop that is left early, the connection is closed as soon as nothing refers
    to the stream; `async with` closes it at the end of its block.

    Example:
        >>> import asyncio
        >>> from otelier import llm
        >>> async def ask():
        ...     async with llm.stream("Say this is a test", model="gpt-4o-mini") as stream:
        ...         words = [chunk.text async for chunk in stream if chunk.text]
        ...         return words[:2], (await stream.collect()).text
        >>> asyncio.run(ask())
        (['Here', ' is'], 'Here is a short answer to: Say this is a test')
    """

    def __init__(self, client: _clients.Client | None, request: dict[str, Any], reader: Reader | None) -> None:
        self._pieces = _Pieces(client, request)
        # The generator knows the pieces and not this stream: so dropping the stream drops it at once, and closes it.
        self._chunks = _chunks(self._pieces)
        self._reader = reader

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._pieces.open().__await__()
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        return await anext(self._chunks)

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def collect(self) -> Answer[T]:
        """Read the rest of the stream, and return the whole answer, as `generate` does.

        Raises:
            UnfinishedAnswerError: if the stream ended before the answer was complete: it broke, or was closed.
            AnswerError: as for `generate`.
        """
        async for _ in self._chunks:
            pass
        merged = self._pieces.merged
        if merged.finish_reason is None:
            raise UnfinishedAnswerError(
                "The stream ended before the answer did: it broke, or was closed. Ask again; "
                "what came is in `error.answer.text`.",
                answer=read_answer(merged.whole(), None),
            )
        return read_answer(merged.whole(), self._reader)

    async def aclose(self) -> None:
        """Close the connection; the rest of the answer is lost. Another call does nothing."""
        await self._chunks.aclose()
        await self._pieces.close()


class _Pieces:
    """The client's stream, and what came of it."""

    def __init__(self, client: _clients.Client | None, request: dict[str, Any]) -> None:
        self._client = client
        self._request = request
        self._opened = False
        self.stream: Any = None
        self.merged = _Merger()

    async def open(self) -> None:
        if not self._opened:
            self._opened = True
            self.stream = await self._asked()

    async def _asked(self) -> Any:
        """Make the call; a server that knows no `stream_options` is asked again without ours."""
        without = {key: value for key, value in self._request.items() if key != "stream_options"}
        is_ours = self._request.get("stream_options") == USAGE_TOO
        where = _clients.base_url_of(self._client)
        if is_ours and where in _without_usage:
            return await _clients.create(self._client, without)
        try:
            return await _clients.create(self._client, self._request)
        except Exception as exc:
            status = getattr(exc, "status_code", None)
            if not is_ours or status not in (400, 422) or "stream_options" not in str(exc):
                raise
        made = await _clients.create(self._client, without)
        if len(_without_usage) < _MAX_KNOWN:
            _without_usage.add(where)
        return made

    async def close(self) -> None:
        self._opened = True  # what was closed before it began does not begin
        stream, self.stream = self.stream, None
        if stream is not None:
            await _clients.close(stream)


async def _chunks(pieces: _Pieces) -> AsyncGenerator[Chunk, None]:
    try:
        await pieces.open()
        if pieces.stream is None:
            return
        async with aclosing(_clients.chunks_of(pieces.stream)) as raws:
            async for raw in raws:
                piece = plain_body(raw)
                choice = pieces.merged.add(piece)
                yield Chunk(
                    text=read_text(as_object(choice.get("delta")).get("content")),
                    finish_reason=choice.get("finish_reason"),
                    usage=read_usage(piece.get("usage")),
                )
    finally:
        await pieces.close()


class _Merger:
    """Takes the chunks of one stream, and gives the whole answer as if it had come in one piece."""

    def __init__(self) -> None:
        self._body: dict[str, Any] = {}
        self._message: dict[str, Any] = {"role": "assistant", "content": None}
        self._calls: list[dict[str, Any]] = []
        self._latest: dict[int | None, tuple[CallPieces, dict[str, Any]]] = {}
        self.finish_reason: str | None = None

    def add(self, chunk: dict[str, Any]) -> dict[str, Any]:
        """Take one chunk, and return its first choice; an empty one when it has none."""
        self._body.update({key: value for key, value in chunk.items() if key != "choices" and value is not None})
        choices = map(as_object, as_array(chunk.get("choices")))
        first = next((choice for choice in choices if not choice.get("index")), as_object(None))
        self.finish_reason = first.get("finish_reason") or self.finish_reason
        delta = as_object(first.get("delta"))
        for key, value in delta.items():
            if key == "tool_calls":
                for call in as_array(value):
                    self._add_call(as_object(call))
            elif key != "role":
                self._message[key] = _appended(self._message.get(key), value)
        return first

    def whole(self) -> dict[str, Any]:
        """Return the answer as chat completions that are not streamed have it."""
        message = {**self._message, **({"tool_calls": self._calls} if self._calls else {})}
        return {**self._body, "choices": [{"index": 0, "finish_reason": self.finish_reason, "message": message}]}

    def _add_call(self, piece: dict[str, Any]) -> None:
        index, call_id = piece.get("index"), piece.get("id")
        index = index if isinstance(index, int) else None
        function = as_object(piece.get("function")) or as_object(piece.get("custom"))
        name, written = (value if isinstance(value, str) else "" for value in map(function.get, ("name", "arguments")))
        if index not in self._latest or self._latest[index][0].end_before(call_id, name):
            from otelier.openai import CallPieces  # not before it is needed: `import otelier.llm` stays light

            self._latest[index] = (CallPieces(), {"type": "function"})
            self._calls.append(self._latest[index][1])
        pieces, call = self._latest[index]
        pieces.add(call_id, name, written)
        for key, value in piece.items():
            if key in ("function", "custom"):
                part = call.setdefault(key, {})
                for member, more in as_object(value).items():
                    grows = member in ("arguments", "input")
                    part[member] = _appended(part.get(member), more) if grows else more or part.get(member)
            elif key != "index" and value is not None:
                call[key] = value


def _appended(before: Any, value: Any) -> Any:
    """Put a piece behind what came before; texts and lists grow, and anything else is replaced.

    Some providers send parts for one piece and a text for the next: then the texts become parts.
    """
    if value is None:
        return before
    kinds: set[type[Any]] = {type(before), type(value)}
    if kinds == {str, list}:
        return _content_parts(before) + _content_parts(value)
    grows = kinds == {str} or kinds == {list}
    return before + value if grows else value


def _content_parts(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return content
