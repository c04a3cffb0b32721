"""Ways in which consumers end streams."""

from __future__ import annotations

from typing import Any

GIVEN_UP_AFTER = 3


class ConsumerError(Exception):
    """What a consumer raises in the middle of a stream."""


def drained(stream: Any) -> None:
    """Read to the end."""
    for _ in stream:
        pass


def closed(stream: Any) -> None:
    """Close after some chunks."""
    for _ in range(GIVEN_UP_AFTER):
        next(stream, None)
    stream.close()


def dropped(stream: Any) -> None:
    """Drop after some chunks."""
    for _ in range(GIVEN_UP_AFTER):
        next(stream, None)


def failed(stream: Any) -> None:
    """Fail in the block that reads."""
    with stream:
        for number, _ in enumerate(stream):
            if number == GIVEN_UP_AFTER:
                raise ConsumerError("the consumer's own")


async def drained_async(stream: Any) -> None:
    """Read to the end."""
    async for _ in stream:
        pass


async def closed_async(stream: Any) -> None:
    """Close after some chunks."""
    for _ in range(GIVEN_UP_AFTER):
        await anext(stream, None)
    await stream.close()


async def failed_async(stream: Any) -> None:
    """Fail in the block that reads."""
    number = 0
    async with stream:
        async for _ in stream:
            number += 1
            if number == GIVEN_UP_AFTER:
                raise ConsumerError("the consumer's own")
