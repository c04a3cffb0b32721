"""What is still to come of a stream when the client's helper raises over a chunk: usage comes after that one.

The helper raises because the answer is cut off or does not fit, and closes the stream. What comes until then costs the
same, so it is read first, for a moment: a provider that sends nothing more must not hold up the error.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from otelier.openai._call import clock
from otelier.openai.streams._hooks import is_raised_by
from otelier.openai.streams._streamed import StreamedCall

_SECONDS: Final = 0.5
_MOST_CHUNKS: Final = 16
_SHORTEST: Final = 0.001
"""Of waits, in seconds: none at all would be another mode of the socket."""
_HELPERS: Final = "openai.lib.streaming"


def is_raised_by_helper(streamed: StreamedCall, error: BaseException) -> bool:
    """Tell whether the client's helper for that stream raised *error*."""
    return is_raised_by(streamed, error, below=_HELPERS)


def read_on(streamed: StreamedCall) -> None:
    """Read what is still to come, up to what brings usage."""
    with _for_a_moment(streamed.response) as ends:
        look = streamed.looker()
        for _ in range(_MOST_CHUNKS):
            if clock() >= ends or not streamed.awaits_usage() or look(next(streamed.inner)):
                return


async def read_on_async(streamed: StreamedCall) -> None:
    """Do the same for an asynchronous stream."""
    with _for_a_moment(streamed.response) as ends:
        look = streamed.looker()
        for _ in range(_MOST_CHUNKS):
            if clock() >= ends or not streamed.awaits_usage() or look(await anext(streamed.inner)):
                return


@contextmanager
def _for_a_moment(response: Any) -> Generator[float]:
    """Let no read of *response* wait beyond a moment from now; gives its end, which is past where that cannot be done.

    A connection of HTTP/2 is shared with other calls, whose reads must not end with ours; other transports have none.
    """
    network = response.extensions.get("network_stream")
    if network is None or response.http_version != "HTTP/1.1":
        yield 0.0
        return
    read, ends = network.read, clock() + _SECONDS

    def read_briefly(max_bytes: int, timeout: float | None = None) -> Any:
        left = max(ends - clock(), _SHORTEST)
        return read(max_bytes, left if timeout is None else min(left, timeout))

    network.read = read_briefly
    try:
        yield ends
    finally:
        del network.read
