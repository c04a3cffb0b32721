"""What an error may quote of a run: its conversation, and what its context holds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, cast

from otelier.agents._context import RunContext
from otelier.agents._exported import OF_USER, exports_of
from otelier.agents._run import Run
from otelier.signals import Failure, failure_of, redact_value, report_fault, unquoted

_MAX_TEXTS: Final = 1_000
_MAX_DEPTH: Final = 8
_SHORTEST_SECRET: Final = 4
"""Characters of a secret that is taken out wherever it stands; a shorter one would be part of any word."""
_SECRET: Final = "[REDACTED:secret]"
_NAMES: Final = frozenset(("type", "role", "name", "id", "tool_call_id"))
"""Keys of what is no content; an error that names a tool is of more use than one that does not."""
_PLAIN: Final = (bytes, bool, int, float, complex, type(None), type)


def without_quotes(failure: BaseException | Failure, run: Run) -> Failure:
    """Return *failure* as a span of *run* may tell of it.

    It leaves without what the run's context holds and does not export and, where content is not captured, without
    what was said in the run and in those below it that failed.
    """
    if not isinstance(failure, Failure):
        failure = failure_of(failure)
    message = failure.message
    if not message:
        return failure
    try:
        for secret in _secrets(run.context):
            message = message.replace(secret, _SECRET)
        texts = [*_held(run.context), *(() if run.gate.mode.on_span else _said(run))]
        message = unquoted(message, texts)
        if run.parent is not None:
            run.parent.heard.extend(texts)
    except Exception as exc:  # the user's objects; what was not looked at does not leave
        report_fault("agents.quotes", exc)
        message = None
    return Failure(type=failure.type, message=message)


def _secrets(context: RunContext) -> Iterator[str]:
    """Yield what stands under a telling name, or in a `SecretStr`."""
    for name, value in _untold(context):
        secret = _of_secret(value)
        text = value if secret is None else secret
        if not isinstance(text, str) or len(text) < _SHORTEST_SECRET:
            continue
        if secret is not None or cast("dict[str, Any]", redact_value({name: text}))[name] != text:
            yield text


def _held(context: RunContext) -> Iterator[str]:
    yield from _texts([value for _, value in _untold(context)])


def _said(run: Run) -> Iterator[str]:
    # What the model was told of an error is no content by itself: the same one may come again.
    errors = {call.result for call in run.tool_calls if call.error is not None}
    messages = [message for message in run.messages if message.get("content") not in errors]
    yield from run.heard
    yield from _texts([run.task.content, run.context.query, run.instructions, messages])


def _untold(context: RunContext) -> Iterator[tuple[str, Any]]:
    """Yield name and value of everything that *context* holds and does not export."""
    told = {*OF_USER, *(name for name, _ in exports_of(type(context)))}
    held = {one.name: getattr(context, one.name, None) for one in dataclasses.fields(context)}
    for name, value in {**held, **vars(context), **context.metadata}.items():
        if name != "metadata" and (name not in told or _of_secret(value) is not None):
            yield str(name), value


def _of_secret(value: Any) -> str | None:
    read = getattr(cast("type[object]", type(value)), "get_secret_value", None)
    secret: Any = None if read is None else read(value)
    return secret if isinstance(secret, str) else None


def _texts(values: list[Any]) -> Iterator[str]:
    left = _MAX_TEXTS
    waiting = [(value, _MAX_DEPTH) for value in values]
    while waiting and left:
        left -= 1
        value, depth = waiting.pop()
        if isinstance(value, str):
            yield value
            value = _json(value)
        if depth:
            items = _items(value)
            waiting += [(item, depth - 1) for item in items[:_MAX_TEXTS]]
            if not items and not isinstance(value, _PLAIN):
                yield _shown(value)


def _json(text: str) -> Any:
    """Return what *text* says, if it is JSON, as the arguments of a tool are: an error quotes one of its values."""
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _items(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [item for key, item in cast("Mapping[Any, Any]", value).items() if key not in _NAMES]
    if isinstance(value, Collection) and not isinstance(value, bytes):
        return list(cast("Collection[Any]", value))
    if dataclasses.is_dataclass(value) or hasattr(value, "model_fields_set"):
        return list(getattr(value, "__dict__", {}).values())
    return []


def _shown(value: object) -> str:
    """Return *value* as a message would show it."""
    secret = _of_secret(value)
    if secret is not None:
        return secret
    try:
        return str(value)
    except Exception:
        return ""
