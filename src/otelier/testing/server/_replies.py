"""Replies that were given to the server, by its methods or by a script, and the queue in which they wait."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from otelier.testing.server._requests import Json, OpenAIRequest

BreakMode = Literal["drop", "invalid_json", "error"]
When = Callable[[OpenAIRequest], bool]
"""Says whether a reply fits a request."""

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
    # The client waits before it tries again: half a second and more, unless it is given less.
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
    when: When | None
    times: int | None


class ReplyQueue:
    """Replies in the order they were given; each answers the first request it fits, as often as it may."""

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._lock = threading.Lock()

    def add(self, reply: Reply, when: When | None, times: int | None) -> None:
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
            if waiting not in self._waiting:  # pragma: no cover -- another request was faster
                return False
            if waiting.times is not None:
                waiting.times -= 1
                if not waiting.times:
                    self._waiting.remove(waiting)
            return True

    def clear(self) -> None:
        """Drop every reply that still waits."""
        with self._lock:
            self._waiting.clear()


ScriptLine = tuple[Reply, "When | None", "int | None"]

_REPLY: Final = (
    "text", "tool_calls", "usage", "finish_reason", "model", "body", "events", "headers", "delay_s", "chunk_delay_s",
)  # fmt: skip
_FAIL: Final = ("status", "message", "code", "html", "headers", "delay_s")
_BREAK: Final = ("break", "after", "text")
_MODES: Final = ("drop", "invalid_json", "error")
_PATTERNS: Final = ("model", "path", "prompt", "instructions")
_ANSWERS: Final = "answers"
_SHARED: Final = ("when", "times")


def script_lines(text: str, name: str) -> list[ScriptLine]:
    """Read a script.

    Raises:
        ValueError: for the first line that cannot be used; it names *name*, the line's number and what would do.
    """
    found: list[ScriptLine] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(_script_line(line))
            except (TypeError, ValueError, re.error) as exc:
                raise ValueError(f"Cannot use line {number} of {name}: {exc}") from exc
    return found


def _script_line(line: str) -> ScriptLine:
    parsed: Any = json.loads(line)
    if not isinstance(parsed, dict):
        raise ValueError("it must be a JSON object.")
    given = cast("Json", parsed)
    kind = _FAIL if "status" in given else _BREAK if "break" in given else _REPLY
    _check_keys(given, (*kind, *_SHARED), "it")
    when, times = _patterns(given.pop("when", None)), given.pop("times", 1)
    if times is not None and (not isinstance(times, int) or times < 1):
        raise ValueError(f"`times` must be 1 or more, or `null` for always, not {times!r}.")
    if kind is _FAIL:
        return failure(given.pop("status"), **given), when, times
    if kind is _BREAK:
        mode = given["break"]
        if mode not in _MODES:
            raise ValueError(f"`break` must be one of {', '.join(_MODES)}, not {mode!r}.")
        broken = Reply(text=given.get("text"), break_mode=mode, break_after=given.get("after", 2))
        return broken, lambda request: request.stream and (when is None or when(request)), times
    given["tool_calls"] = [_tool_call(call) for call in given.get("tool_calls") or ()]
    return Reply(**given), when, times


def _tool_call(call: Any) -> tuple[str, Any]:
    pair = cast("list[Any]", call) if isinstance(call, list) else []
    if len(pair) != 2 or not isinstance(pair[0], str):
        raise ValueError(f'each of `tool_calls` must be a name and its arguments, `["search", {{}}]`, not {call!r}.')
    return pair[0], pair[1]


def _patterns(given: Any) -> When | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise ValueError("`when` must be an object.")
    wanted = cast("Json", given)
    _check_keys(wanted, (*_PATTERNS, _ANSWERS), "`when`")
    patterns = {name: re.compile(wanted[name], re.IGNORECASE) for name in _PATTERNS if name in wanted}
    answers: Any = wanted.get(_ANSWERS, ...)

    def fits(request: OpenAIRequest) -> bool:
        if any(not pattern.search(getattr(request, name)) for name, pattern in patterns.items()):
            return False
        return answers is ... or answers == _answering_tool(request)

    return fits


def _answering_tool(request: OpenAIRequest) -> str | None:
    """Return the name of the tool that the last message comes from; `None` if it comes from none."""
    if not request.answers_tool:
        return None
    last: Json = request.messages[-1]
    wanted = last.get("tool_call_id") or last.get("call_id")
    return next((name for call, name in _tool_names(request) if call == wanted), None)


def _tool_names(request: OpenAIRequest) -> Iterator[tuple[Any, str]]:
    messages: list[Json] = [message for message in request.messages if isinstance(message, dict)]
    for message in messages:
        yield message.get("call_id"), str(message.get("name"))
        for call in message.get("tool_calls") or ():
            yield call.get("id"), str(call.get("function", {}).get("name"))


def _check_keys(given: Json, allowed: tuple[str, ...], what: str) -> None:
    if unknown := [key for key in given if key not in allowed]:
        raise ValueError(f"{what} has {unknown[0]!r}, which means nothing. Use {', '.join(allowed)}.")
