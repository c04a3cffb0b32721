"""One received request, read as far as its answer depends on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from typing import Any, cast

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIRequest:
    """One request that `OpenAIServer` received.

    Example:
        >>> request = OpenAIRequest(method="POST", path="/v1/chat/completions", headers={}, body={
        ...     "model": "gpt-4.1", "messages": [{"role": "user", "content": "Hello"}]})
        >>> request.model, request.prompt, request.stream
        ('gpt-4.1', 'Hello', False)
    """

    method: str
    """HTTP method."""
    path: str
    """Path without the query, such as `/v1/chat/completions`."""
    headers: Mapping[str, str] = field(repr=False)
    """Headers by lower-case name. They hold the API key, so they are not part of the `repr` that a test prints."""
    body: Json | None
    """The parsed JSON body, or the fields of a form, where a file is its name and size; `None` without one."""
    query: str = ""
    """What stands behind the path's question mark."""

    @property
    def model(self) -> str:
        """Requested model; empty if none was named."""
        return str(self.asked.get("model") or "")

    @property
    def stream(self) -> bool:
        """Whether a streamed answer was requested."""
        return bool(self.asked.get("stream")) or "stream=true" in self.query

    @property
    def prompt(self) -> str:
        """Text of the last message or input."""
        return text_of(self.messages[-1]) if self.messages else ""

    @property
    def instructions(self) -> str:
        """Texts of `instructions` and of all system and developer messages, one per line."""
        said = (message for message in self.messages if _field(message, "role") in ("system", "developer"))
        return "\n".join(filter(None, [text_of(self.asked.get("instructions")), *map(text_of, said)]))

    @property
    def messages(self) -> list[Any]:
        """Messages, input items or prompts in their order; a single text is a list of one."""
        said: Any = self.asked.get("messages") or self.asked.get("input") or self.asked.get("prompt") or []
        if isinstance(said, dict):  # a prompt that is stored, in Responses
            return []
        return cast("list[Any]", said) if isinstance(said, list) else [said]

    @property
    def asked(self) -> Json:
        """The body; empty if there is none."""
        return self.body or {}

    @property
    def answers_tool(self) -> bool:
        """Whether the last message is a tool's result."""
        last = self.messages[-1] if self.messages else None
        return _field(last, "role") == "tool" or str(_field(last, "type") or "").endswith("_call_output")


def text_of(message: Any) -> str:
    """Return the text of a message, content part or plain string; other parts have none."""
    if isinstance(message, str):
        return message
    if isinstance(message, list):
        return " ".join(filter(None, map(text_of, cast("list[Any]", message))))
    return text_of(_field(message, "content") or _field(message, "text") or _field(message, "output") or [])


def part(of: Json, name: str) -> Json:
    """Return the object that stands under *name*; empty when there is none."""
    found: Any = of.get(name)
    return cast("Json", found) if isinstance(found, dict) else {}


def _field(message: Any, name: str) -> Any:
    return cast("Json", message).get(name) if isinstance(message, dict) else None


_FLAGS = {"true": True, "false": False}


def form_fields(content_type: str, body: bytes) -> Json:
    """Return the fields of a form by name; `name[]` is a list, a file its name and size, and numbers are numbers."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    fields: Json = {}
    for part in message_from_bytes(head + body, policy=policy.HTTP).iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        data = content if isinstance(content, bytes) else b""
        file = part.get_filename()
        value = _value(data.decode(errors="replace")) if file is None else {"filename": file, "bytes": len(data)}
        if name.endswith("[]"):
            fields.setdefault(name.removesuffix("[]"), []).append(value)
        else:
            fields[name] = value
    return fields


def _value(text: str) -> str | int | bool:
    return int(text) if text.isdecimal() else _FLAGS.get(text, text)
