"""Stand-ins for streams that cannot be followed from within: openai's when it renames things, and other types."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import wrapt

from otelier.openai.streams._steps import shown_steps, shown_steps_async
from otelier.openai.streams._streamed import StreamedCall

_Proxy: Any = wrapt.ObjectProxy  # its stubs are generic, itself it is not


class StreamProxy(_Proxy):
    """Passes for the stream it stands for, and follows it."""

    def __init__(self, stream: Any, streamed: StreamedCall) -> None:
        super().__init__(stream)  # pyright: ignore[reportUnknownMemberType]
        self._self_streamed = streamed
        streamed.inner = iter(stream)
        self._self_steps = shown_steps(streamed.inner, streamed)

    def __iter__(self) -> Any:
        return self._self_steps

    def __next__(self) -> Any:
        return next(self._self_steps)

    def __enter__(self) -> Any:
        self.__wrapped__.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
        with _ending(self._self_streamed, error):
            return self.__wrapped__.__exit__(kind, error, trace)

    def close(self) -> None:
        """Close the stream, and end its call."""
        with _ending(self._self_streamed):
            self.__wrapped__.close()


class AsyncStreamProxy(_Proxy):
    """The same for an asynchronous stream."""

    def __init__(self, stream: Any, streamed: StreamedCall) -> None:
        super().__init__(stream)  # pyright: ignore[reportUnknownMemberType]
        self._self_streamed = streamed
        streamed.inner = aiter(stream)
        self._self_steps = shown_steps_async(streamed.inner, streamed)

    def __aiter__(self) -> Any:
        return self._self_steps

    async def __anext__(self) -> Any:
        return await self._self_steps.__anext__()

    async def __aenter__(self) -> Any:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> Any:
        with _ending(self._self_streamed, error):
            return await self.__wrapped__.__aexit__(kind, error, trace)

    async def close(self) -> None:
        """Close the stream, and end its call."""
        with _ending(self._self_streamed):
            await self.__wrapped__.close()

    async def aclose(self) -> None:
        """Close the stream, and end its call."""
        with _ending(self._self_streamed):
            await self.__wrapped__.aclose()


@contextmanager
def _ending(streamed: StreamedCall, error: BaseException | None = None) -> Generator[None]:
    """Let the call end with what closes its stream: left, by *error* or not, or failed by what the closing raises."""
    if error is not None:
        streamed.leave(error)
    try:
        yield
    except BaseException as exc:
        streamed.end(exc)
        raise
    streamed.leave()
