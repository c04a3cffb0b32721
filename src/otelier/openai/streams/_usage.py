"""Usage in streams: asked for where the caller did not, and the chunk that brings it kept from them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from otelier.openai.reading._fields import field_of, is_mapping

_OPTIONS: Final = "stream_options"
_ASKED: Final = "include_usage"


def ask_for_usage(arguments: dict[str, Any]) -> bool:
    """Let a stream's *arguments* ask for usage; `False` where they do already, or the caller's word cannot be added to.

    Args:
        arguments: What the client's method is going to be called with; changed in place.
    """
    options, extra = arguments.get(_OPTIONS), arguments.get("extra_body")
    if is_mapping(extra) and _OPTIONS in extra:  # it stands before the argument
        return False
    if is_mapping(options):
        if options.get(_ASKED):
            return False
        arguments[_OPTIONS] = {**options, _ASKED: True}
    else:
        arguments[_OPTIONS] = {_ASKED: True}
    return True


def without_usage(chunks: Iterator[Any]) -> Iterator[Any]:
    """Yield *chunks* but for the one that brings nothing but usage."""
    for chunk in chunks:
        if not _is_usage(chunk):
            yield chunk


class AsyncWithoutUsage:
    """Iterates asynchronously over *chunks* but for the one that brings nothing but usage."""

    __slots__ = ("_next",)

    def __init__(self, chunks: AsyncIterator[Any]) -> None:
        self._next = chunks.__anext__

    def __aiter__(self) -> AsyncWithoutUsage:
        return self

    async def __anext__(self) -> Any:
        while _is_usage(chunk := await self._next()):
            pass
        return chunk


def _is_usage(chunk: Any) -> bool:
    # Azure's first chunk has no choices either, and no usage; usage beside choices is what a provider sends anyway.
    return field_of(chunk, "choices") == [] and field_of(chunk, "usage") is not None
