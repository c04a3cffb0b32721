"""What the server is told to answer, and the queue it waits in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from otelier.testing.server._requests import OpenAIRequest

BreakMode = Literal["drop", "invalid_json", "error"]

USAGE_KEYS = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
ERRORS: Mapping[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", "unsupported_country_region_territory", "This is not allowed here."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("server_error", None, "The engine is currently overloaded."),
}
"""By status: type, code and message, as the real API words them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer, as far as it was decided; what is `None` comes from the request and the recorded exchanges."""

    text: str | None = None
    tool_calls: Sequence[tuple[str, Any]] = ()
    """Name and arguments of each call; arguments are JSON values, or text sent as it is."""
    usage: Mapping[str, int] | None = None
    finish_reason: str | None = None
    model: str | None = None
    body: Any = None
    """The whole answer as it is, in place of all of the above."""
    events: Sequence[Any] | None = None
    """The whole stream as it is: JSON values, or text to stand behind `data: `."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    html: bool = False
    delay_s: float | None = None
    chunk_delay_s: float | None = None
    break_mode: BreakMode | None = None
    break_after: int = 0
    """Events sent before the stream breaks."""

    def __post_init__(self) -> None:
        if unknown := (self.usage or {}).keys() - set(USAGE_KEYS):
            raise ValueError(
                f"Cannot reply usage {sorted(unknown)!r}: it would not be sent. Use {', '.join(USAGE_KEYS)}."
            )


def failure(
    status: int, *, message: str | None = None, code: str | None = None, html: bool = False,
    headers: Mapping[str, str] | None = None, delay_s: float | None = None,
) -> Reply:  # fmt: skip
    """Return an error answer in the API's own shape, or a proxy's page of HTML."""
    kind, usual_code, usual_message = ERRORS.get(status, ERRORS[500 if status >= 500 else 400])
    # The client waits before it tries again: half a second and more, unless it is told less.
    waits = {"retry-after-ms": "5"} if status == 429 or status >= 500 else {}
    error = {"message": message or usual_message, "type": kind, "param": None, "code": code or usual_code}
    return Reply(status=status, body={"error": error}, html=html, headers={**waits, **(headers or {})}, delay_s=delay_s)


def for_model(model: str) -> Reply | None:
    """Return what a special model name asks for; see `OpenAIServer` for the list."""
    kind, _, value = model.partition("-")
    if kind == "error" and value.isdecimal() and 400 <= int(value) <= 599:
        return failure(int(value))
    if kind == "slow" and value.isdecimal():
        return Reply(delay_s=int(value) / 1000)
    if model == "html":
        return Reply(html=True)
    if kind == "stream":
        modes: dict[str, BreakMode] = {"drop": "drop", "invalid-json": "invalid_json", "error": "error"}
        if value in modes:
            return Reply(break_mode=modes[value], break_after=2)
    return None


@dataclass(slots=True, eq=False)
class _Waiting:
    reply: Reply
    when: Callable[[OpenAIRequest], bool] | None
    times: int | None


class ReplyQueue:
    """Replies in the order they were given; each answers the first request it fits, as often as it may."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()

    def add(self, reply: Reply, when: Callable[[OpenAIRequest], bool] | None, times: int | None) -> None:
        """Put *reply* at the end; `times=None` keeps it there for good."""
        if times is not None and times < 1:
            raise ValueError(f"Cannot reply times={times!r}: it would never be used. Give 1 or more, or `None`.")
        with self._lock:
            self._waiting.append(_Waiting(reply, when, times))

    def take(self, request: OpenAIRequest) -> Reply | None:
        """Return the reply for *request*, and count it as used."""
        for waiting in tuple(self._waiting):
            # Asked without the lock: it is the test's own function, and may wait or give more replies.
            if (waiting.when is None or waiting.when(request)) and self._use(waiting):
                return waiting.reply
        return None

    def _use(self, waiting: _Waiting) -> bool:
        with self._lock:
            if waiting not in self._waiting:
                return False  # another request was faster
            if waiting.times is not None:
                waiting.times -= 1
                if not waiting.times:
                    self._waiting.remove(waiting)
            return True

    def clear(self) -> None:
        """Drop every reply that still waits."""
        with self._lock:
            self._waiting.clear()
