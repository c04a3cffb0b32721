"""The client that makes the calls: the one that was given, or one for each event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

Client: TypeAlias = "AsyncOpenAI | OpenAI"
"""A client of the openai package, or of Azure, asynchronous or not."""

_kept: dict[asyncio.AbstractEventLoop, tuple[AsyncOpenAI, AsyncGenerator[AsyncOpenAI, None]]] = {}
"""By loop: its client, and the generator that closes it when the loop ends. Each loop's thread changes its own entry,
by single steps of the dict: there is no lock that a fork could leave taken."""


async def create(client: Client | None, request: dict[str, Any]) -> Any:
    """Make one call; a client that is not asynchronous makes it in a thread."""
    import openai  # not before a call is made

    if isinstance(client, openai.OpenAI):
        return await asyncio.to_thread(client.chat.completions.create, **request)
    chat: Any = (client or await _default_client()).chat
    return await chat.completions.create(**request)


async def chunks_of(stream: Any) -> AsyncGenerator[Any, None]:
    """Give the chunks of a stream that `create` returned."""
    if hasattr(stream, "__aiter__"):
        async for chunk in stream:
            yield chunk
        return
    chunks, end = iter(stream), object()
    while (chunk := await asyncio.to_thread(next, chunks, end)) is not end:
        yield chunk


async def close(stream: Any) -> None:
    """Close a stream that `create` returned; a second time does nothing."""
    if hasattr(stream, "__aiter__"):
        await stream.close()
    else:
        await asyncio.to_thread(stream.close)


async def _default_client() -> AsyncOpenAI:
    """Return the running loop's client, made from the environment as `AsyncOpenAI()` reads it.

    Connections belong to a loop, so each loop has a client of its own. `asyncio.run` closes the generators of its
    loop before it closes the loop, which is the moment to close the client: at its collection it would be too late.
    """
    loop = asyncio.get_running_loop()
    found = _kept.get(loop)
    if found is None:
        for other in list(_kept):
            if other.is_closed():  # without closing its generators
                _kept.pop(other, None)
        keeper = _keep(loop)
        found = _kept[loop] = (await anext(keeper), keeper)
    return found[0]


async def _keep(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[AsyncOpenAI, None]:
    import openai

    async with openai.AsyncOpenAI() as client:
        try:
            yield client
        finally:
            _kept.pop(loop, None)
