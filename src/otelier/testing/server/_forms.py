"""Forms, as which requests with files come."""

from __future__ import annotations

from email import message_from_bytes, policy

from otelier.testing.server._requests import Json

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
