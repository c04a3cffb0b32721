"""Clients of the model: a given one stays on one event loop, and without one each loop has its own."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final

from otelier.errors import AgentUseError
from otelier.signals import on_reset

if TYPE_CHECKING:
    import openai

_homes: Final[weakref.WeakKeyDictionary[Any, weakref.ref[Any]]] = weakref.WeakKeyDictionary()
"""The loop that each given asynchronous client is used on: its connections belong to it."""
_own: Final[dict[asyncio.AbstractEventLoop, tuple[AsyncGenerator[Any, None], Any]]] = {}
"""The client that each loop has of its own, with the generator that closes it when the loop ends."""


async def client_for(given: Any) -> Any:
    """Return *given*, else the running loop's own client.

    Raises:
        AgentUseError: if *given* is an asynchronous client that is used on another loop.
    """
    loop = asyncio.get_running_loop()
    if given is None:
        return await _own_client(loop)
    if is_async(given):
        home = _homes.get(given)
        if home is None:
            _homes[given] = weakref.ref(loop)
        elif home() is not loop:
            raise AgentUseError(
                f"Cannot use this {type(given).__name__} on a second event loop: its connections belong to the first. "
                f"Leave `client` out, so that each loop has its own, or give a synchronous client."
            )
    return given


def is_async(client: Any) -> bool:
    """Tell whether the methods of *client* are awaited."""
    import openai  # loaded when a run starts: it takes a second

    return isinstance(client, openai.AsyncOpenAI)


async def _own_client(loop: asyncio.AbstractEventLoop) -> openai.AsyncOpenAI:
    for other in [one for one in _own if one.is_closed()]:
        del _own[other]
    known = _own.get(loop)
    if known is None:
        closing = _open_client(loop)
        # Started on the loop, the generator is ended by it when it shuts down: `asyncio.run` and servers do that.
        known = _own[loop] = (closing, await anext_of(closing))
    return known[1]


async def _open_client(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[Any, None]:
    import openai

    client = openai.AsyncOpenAI()
    try:
        yield client
    finally:
        _own.pop(loop, None)
        await client.close()


def anext_of(generator: AsyncGenerator[Any, None]) -> Any:
    """Return the awaitable of the next value."""
    return generator.__anext__()


@on_reset
def _forget() -> None:
    _homes.clear()
