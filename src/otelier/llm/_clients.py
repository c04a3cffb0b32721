"""Clients for the calls of models: the given one, or one for each event loop."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from otelier.errors import ClientUseError
from otelier.faults import on_reset
from otelier.telemetry import in_thread

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

Client: TypeAlias = "AsyncOpenAI | OpenAI"
"""A client of the openai package, or of Azure, asynchronous or not."""

_THREAD: Final = "otelier-model"
_LAST_CHUNK_S: Final = 1.0
"""Seconds that a cancelled stream waits for a thread that reads."""
_kept: dict[asyncio.AbstractEventLoop, tuple[AsyncOpenAI, AsyncGenerator[AsyncOpenAI, None]]] = {}
"""By loop: its client, and the generator that closes it when the loop ends. Each loop's thread changes its own entry,
by single steps of the dict: there is no lock that a fork could leave taken."""
_homes: weakref.WeakKeyDictionary[Any, weakref.ref[asyncio.AbstractEventLoop]] = weakref.WeakKeyDictionary()
"""The loop that each given asynchronous client is used on."""


async def create(client: Client | None, request: dict[str, Any]) -> Any:
    """Make one call; a client that is not asynchronous makes it in a thread.

    Raises:
        ClientUseError: if *client* is asynchronous, and was used on another loop.
        TypeError: if it is no client.
        Exception: what the client raises, unchanged.
    """
    import openai  # not before a call is made

    if isinstance(client, openai.OpenAI):
        return await in_thread(partial(client.chat.completions.create, **request), _THREAD)
    if client is None:
        client = await _default_client()
    elif isinstance(client, openai.AsyncOpenAI):  # pyright: ignore[reportUnnecessaryIsInstance] -- or a mock of one
        _keep_home(client)
    make: Any = getattr(getattr(getattr(client, "chat", None), "completions", None), "create", None)
    if make is None:
        raise TypeError(f"Cannot ask a model by {type(client).__name__!r}: give a client of the openai package.")
    made = make(**request)
    return await made if inspect.isawaitable(made) else made


def base_url_of(client: Client | None) -> str:
    """Return where *client* asks; empty when that is the environment's matter."""
    return str(getattr(client, "base_url", ""))


async def chunks_of(stream: Any) -> AsyncGenerator[Any, None]:
    """Give the chunks of a stream that `create` returned."""
    if hasattr(stream, "__aiter__"):
        async for chunk in stream:
            yield chunk
        return
    chunks, end = iter(stream), object()
    while (chunk := await _next_chunk(chunks, end)) is not end:
        yield chunk


async def _next_chunk(chunks: Iterator[Any], end: object) -> Any:
    step = asyncio.ensure_future(in_thread(partial(next, chunks, end), _THREAD))
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        # Closing a connection does not wake the thread that reads it. The next chunk does, and mostly comes at once.
        await asyncio.wait([step], timeout=_LAST_CHUNK_S)
        if step.done():
            step.exception()  # nobody else looks at it
        raise


async def close(stream: Any) -> None:
    """Close a stream that `create` returned; a second time does nothing."""
    if hasattr(stream, "__aiter__"):
        await stream.close()
    else:
        await in_thread(stream.close, _THREAD)


def _keep_home(client: AsyncOpenAI) -> None:
    loop = asyncio.get_running_loop()
    home = _homes.get(client)
    if home is None:
        _homes[client] = weakref.ref(loop)
    elif home() is not loop:
        raise ClientUseError(
            f"Cannot use this {type(client).__name__} on a second event loop: its connections belong to the first. "
            f"Leave `client` out, so that each loop has its own, or give a client that is not asynchronous."
        )


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


on_reset(_homes.clear)
