"""From the arguments of a call to those of the client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

from otelier.llm._schemas import Reader, Schema, format_of, is_model_class, reader_of, reader_of_format
from otelier.llm._tools import Offerable

Messages: TypeAlias = "Iterable[Mapping[str, Any]]"
"""Messages as chat completions have them."""
Prompt: TypeAlias = "str | Messages"
"""A question, or messages as chat completions have them."""
OfferedTools: TypeAlias = "Iterable[Offerable | Mapping[str, Any]]"
"""Tools that were registered, the registry itself, functions made tools, or tools as chat completions have them."""


def read_request(
    prompt: Prompt | None,
    messages: Messages | None,
    model: str | None,
    schema: Schema | None,
    response_format: Mapping[str, Any] | None,
    tools: OfferedTools | None,
    options: Mapping[str, Any],
) -> tuple[dict[str, Any], Reader | None]:
    """Return the arguments of `chat.completions.create`, and what reads its answer; `None` for plain text."""
    if "stream" in options:
        raise TypeError("Cannot take 'stream' as an option of the call: call `otelier.llm.stream`.")
    if prompt is not None and messages is not None:
        raise TypeError("Cannot ask with both a prompt and messages: put the question behind the messages.")
    if not isinstance(model, str):
        raise TypeError(f"Cannot ask model {model!r}: give its name as `model`.")
    request = {"model": model, "messages": _messages(prompt if messages is None else messages), **options}
    if offered := [_tool(tool) for tool in tools or ()]:
        request["tools"] = offered
    reader: Reader | None = None
    if response_format is not None:
        if not isinstance(cast("object", response_format), Mapping):
            raise TypeError(f"Cannot ask for response_format {response_format!r}: give a dict, or a class as `schema`.")
        request["response_format"] = dict(response_format)
        reader = reader_of_format(response_format)
    if schema is not None:
        if not isinstance(schema, Mapping) and not is_model_class(schema):
            raise TypeError(f"Cannot ask for schema {schema!r}: give a pydantic model class or a JSON schema.")
        if response_format is None:
            request["response_format"] = format_of(schema)
        reader = reader_of(schema)
    return request, reader


def _messages(prompt: Any) -> list[Any]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    messages: list[Any] = []
    if isinstance(prompt, Iterable) and not isinstance(prompt, (bytes, Mapping)):
        messages = list(cast("Iterable[Any]", prompt))
    if not messages or not all(isinstance(message, Mapping) for message in messages):
        raise TypeError(
            f"Cannot ask a model with a prompt of type {type(cast('Any', prompt)).__name__!r}: "
            "give a text, or a list of messages such as `{'role': 'user', 'content': 'Hello'}`."
        )
    return messages


def _tool(tool: Any) -> Any:
    if isinstance(tool, Mapping):
        return cast("Mapping[str, Any]", tool)
    to_param = getattr(tool, "to_param", None)  # asking whether it is an `Offerable` takes 6 us
    if to_param is not None:
        return to_param()
    raise TypeError(f"Cannot offer {tool!r} as a tool: register it with `Tools.register`, and give what that returns.")
