"""Answers that are told from outside the process: one JSON object a line, each what `reply`, `fail` or `break_stream`
takes, with patterns in the place of a function that chooses the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

from otelier.testing.server._replies import Reply, failure
from otelier.testing.server._requests import Json, OpenAIRequest

When = Callable[[OpenAIRequest], bool]
Line = tuple[Reply, "When | None", "int | None"]

_REPLY: Final = (
    "text", "tool_calls", "usage", "finish_reason", "model", "body", "events", "headers", "delay_s", "chunk_delay_s",
)  # fmt: skip
_FAIL: Final = ("status", "message", "code", "html", "headers", "delay_s")
_BREAK: Final = ("break", "after", "text")
_MODES: Final = ("drop", "invalid_json", "error")
_PATTERNS: Final = ("model", "path", "prompt", "instructions")
_ANSWERS: Final = "answers"
_SHARED: Final = ("when", "times")


def script_lines(text: str, name: str) -> list[Line]:
    """Read a script.

    Raises:
        ValueError: for the first line that cannot be used; it names *name*, the line's number and what would do.
    """
    found: list[Line] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(_line(line))
            except (TypeError, ValueError, re.error) as exc:
                raise ValueError(f"Cannot use line {number} of {name}: {exc}") from exc
    return found


def _line(line: str) -> Line:
    given: Any = json.loads(line)
    if not isinstance(given, dict):
        raise ValueError("it must be a JSON object.")
    told = cast("Json", given)
    kind = _FAIL if "status" in told else _BREAK if "break" in told else _REPLY
    _check(told, (*kind, *_SHARED), "it")
    when, times = _when(told.pop("when", None)), told.pop("times", 1)
    if times is not None and (not isinstance(times, int) or times < 1):
        raise ValueError(f"`times` must be 1 or more, or `null` for always, not {times!r}.")
    if kind is _FAIL:
        return failure(told.pop("status"), **told), when, times
    if kind is _BREAK:
        mode = told["break"]
        if mode not in _MODES:
            raise ValueError(f"`break` must be one of {', '.join(_MODES)}, not {mode!r}.")
        broken = Reply(text=told.get("text"), break_mode=mode, break_after=told.get("after", 2))
        return broken, lambda request: request.stream and (when is None or when(request)), times
    told["tool_calls"] = [_call(call) for call in told.get("tool_calls") or ()]
    return Reply(**told), when, times


def _call(call: Any) -> tuple[str, Any]:
    pair = cast("list[Any]", call) if isinstance(call, list) else []
    if len(pair) != 2 or not isinstance(pair[0], str):
        raise ValueError(f'each of `tool_calls` must be a name and its arguments, `["search", {{}}]`, not {call!r}.')
    return pair[0], pair[1]


def _when(told: Any) -> When | None:
    if told is None:
        return None
    if not isinstance(told, dict):
        raise ValueError("`when` must be an object.")
    wanted = cast("Json", told)
    _check(wanted, (*_PATTERNS, _ANSWERS), "`when`")
    patterns = {name: re.compile(wanted[name], re.IGNORECASE) for name in _PATTERNS if name in wanted}
    answers: Any = wanted.get(_ANSWERS, ...)

    def fits(request: OpenAIRequest) -> bool:
        if any(not pattern.search(getattr(request, name)) for name, pattern in patterns.items()):
            return False
        return answers is ... or answers == _answered(request)

    return fits


def _answered(request: OpenAIRequest) -> str | None:
    """Return the name of the tool that the last message comes from; `None` if it comes from none."""
    if not request.answers_tool:
        return None
    last: Json = request.messages[-1]
    wanted = last.get("tool_call_id") or last.get("call_id")
    return next((name for call, name in _calls(request) if call == wanted), None)


def _calls(request: OpenAIRequest) -> Iterator[tuple[Any, str]]:
    messages: list[Json] = [message for message in request.messages if isinstance(message, dict)]
    for message in messages:
        yield message.get("call_id"), str(message.get("name"))
        for call in message.get("tool_calls") or ():
            yield call.get("id"), str(call.get("function", {}).get("name"))


def _check(given: Json, allowed: tuple[str, ...], what: str) -> None:
    if unknown := [key for key in given if key not in allowed]:
        raise ValueError(f"{what} has {unknown[0]!r}, which means nothing. Use {', '.join(allowed)}.")
