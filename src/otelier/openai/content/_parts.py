"""Parts of messages as the conventions' JSON schemas have them; every key is there, in the order of the schemas.

Nothing here runs unless content is asked for, and nothing leaves but through the content gate.

See: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/#capturing-instructions-inputs-and-outputs
"""

from __future__ import annotations

import json
import mimetypes
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from typing import Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes

from otelier.openai.reading._fields import field_of, fields_set, is_mapping, is_sequence, items_of, text_of
from otelier.redaction import Later

Part: TypeAlias = dict[str, Any]
Message: TypeAlias = dict[str, Any]

_TEXTS = frozenset(("text", "input_text", "output_text"))
_FILES = frozenset(("file", "input_file"))
_IMAGES = frozenset(("computer_screenshot", "image_url", "input_image"))
_REASONING = frozenset(("reasoning_text", "summary_text"))
_ADDRESSES = ("data:", "http://", "https://")
_AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}
AUTHORISING = frozenset(("authorization", "headers"))
"""Members of a tool that authorise the provider to call it; the model does not see them."""
_MCP = "mcp"
_ENCRYPTED = "encrypted_content"
_MAX_DEPTH = 64
_LONGEST_INDENT = 64
_MOST_AT_ONCE = 1_024
"""Characters that are parsed or decoded where they are met; more may be too much for the event loop that runs here."""


def text_part(content: str) -> Part:
    """Return a part of text."""
    return {"content": content, "type": "text"}


def reasoning_part(content: str) -> Part:
    """Return a part of the model's reasoning."""
    return {"content": content, "type": "reasoning"}


def tool_call_part(call_id: Any, name: str, arguments: Any) -> Part:
    """Return a tool call that the model asks for."""
    return {"arguments": arguments, "name": name, "id": call_id, "type": "tool_call"}


def tool_response_part(call_id: Any, response: Any) -> Part:
    """Return what a tool answered."""
    return {"response": result_data(response), "id": call_id, "type": "tool_call_response"}


def other_part(item: Any) -> Part:
    """Return a part of a kind that the conventions do not know, as its provider has it."""
    return plain_data(fields_set(item))


def input_message(role: str, parts: list[Part], name: Any = None) -> Message:
    """Return a message that was sent."""
    message: Message = {"role": role, "parts": parts}
    if name is not None:
        message["name"] = str(name)
    return message


def output_message(role: str, parts: list[Part], finish_reason: str) -> Message:
    """Return a message that was received."""
    return {"role": role, "parts": parts, "finish_reason": finish_reason}


def result_data(value: Any) -> Any:
    """Return what a tool gave; text that is JSON of an object or a list as data, not quoted once more."""
    is_json = isinstance(value, str) and value[:_LONGEST_INDENT].lstrip().startswith(("{", "["))
    return parsed_arguments(value) if is_json else plain_data(value)


def parsed_arguments(arguments: Any) -> Any:
    """Return JSON *arguments* as data, or as they are when they are no JSON."""
    if not isinstance(arguments, str):
        return plain_data(arguments)
    return _data_or_text(arguments) if len(arguments) <= _MOST_AT_ONCE else Later(_data_or_text, arguments)


def plain_data(value: Any, depth: int = _MAX_DEPTH) -> Any:
    """Return what JSON can hold of *value*: models become what is set of them, other objects nothing.

    What the provider encrypted, and what authorises it to use an MCP server, is left out.
    """
    if value is None or isinstance(value, (str, int, float)):
        return value
    if depth == 0:
        return None
    # Not dumped: pydantic would warn of each value that its client did not expect, and quote it.
    if hasattr(value, "model_dump"):
        return plain_data(fields_set(value), depth - 1)
    if is_mapping(value):
        secret = AUTHORISING if value.get("type") == _MCP else ()
        return {
            str(key): plain_data(item, depth - 1)
            for key, item in value.items()
            if key not in secret and (key != _ENCRYPTED or is_mapping(item))  # a schema may describe one
        }
    return [plain_data(item, depth - 1) for item in value] if is_sequence(value) else None


def content_parts(content: Any) -> list[Part]:
    """Return the parts of a message's content, which is text or a list of parts."""
    if isinstance(content, str):
        return [text_part(content)]
    parts = [text_part(item) if isinstance(item, str) else _part(item) for item in items_of(content)]
    return [part for part in parts if part is not None]


def refusal_parts(message: Any) -> list[Part]:
    """Return the text of a refusal, which stands beside the content."""
    refusal = field_of(message, "refusal")
    return [text_part(refusal)] if isinstance(refusal, str) else []


def _data_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the model may write `[[[[…`
        return text


def _part(item: Any) -> Part | None:
    kind, text = field_of(item, "type"), field_of(item, "text")
    if not isinstance(kind, str):
        return text_part(text) if kind is None and isinstance(text, str) else None
    if kind in _TEXTS:
        return text_part(text) if isinstance(text, str) else None
    if kind == "input_audio":
        return _audio_part(field_of(item, "input_audio"))
    if kind in _FILES:
        return _document_part(field_of(item, "file") or item)
    if kind == "refusal":
        return next(iter(refusal_parts(item)), None)
    if kind in _IMAGES:
        return _image_part(item)
    if kind in _REASONING:
        return reasoning_part(text) if isinstance(text, str) else None
    return other_part(item)


def _image_part(item: Any) -> Part | None:
    url = field_of(item, "image_url")
    if not isinstance(url, str):
        url = field_of(url, "url")
    if isinstance(url, str) and url:
        return _media_part(url, "image")
    file_id = field_of(item, "file_id")
    return file_part(None, "image", file_id) if isinstance(file_id, str) and file_id else None


def _audio_part(audio: Any) -> Part | None:
    data, form = field_of(audio, "data"), field_of(audio, "format")
    mime_type = _AUDIO_TYPES.get(form) if isinstance(form, str) else None
    return blob_part(mime_type, "audio", data) if isinstance(data, str) else None


def _document_part(file: Any) -> Part | None:
    name, file_id = field_of(file, "filename"), field_of(file, "file_id")
    data = field_of(file, "file_data") or field_of(file, "file_url")
    mime_type = mimetypes.guess_type(name)[0] if isinstance(name, str) and name else None
    if isinstance(file_id, str) and file_id:
        return file_part(mime_type, "document", file_id)
    if not isinstance(data, str) or not data:
        return None
    if data.startswith(_ADDRESSES):
        return _media_part(data, "document")
    return blob_part(mime_type, "document", data)


def _media_part(url: str, modality: str) -> Part | None:
    if not url.startswith("data:"):
        return {"mime_type": None, "modality": modality, "uri": url, "type": "uri"}
    end = url.find(",") if "," in url else len(url)
    header = url[len("data:") : end]
    decode = _decoded_base64 if ";base64" in header.lower() else unquote_to_bytes
    # Cut where it is decoded: a copy of a long URL takes its time, too.
    return blob_part(header.split(";", 1)[0] or None, modality, url, lambda text: decode(text[end + 1 :]))


def blob_part(
    mime_type: str | None, modality: str, data: str, decode: Callable[[str], bytes | None] | None = None
) -> Part | None:
    """Return a reference in the place of bytes: telemetry is no store of files, and the hash distinguishes them.

    Args:
        mime_type: Their type, if known.
        modality: What they are to a reader.
        data: What they are written as.
        decode: Makes bytes of that; `None` reads base64.

    Returns:
        The part; `None` for a short text that cannot be decoded. A long one is decoded later.
    """
    decode = decode or _decoded_base64
    uri: Any
    size: Any
    if len(data) <= _MOST_AT_ONCE:
        content = decode(data)
        if content is None:
            return None
        uri, size = _reference(content)
    else:

        @cache
        def made(text: str) -> tuple[str, int]:
            content = decode(text)
            return _reference(text.encode(errors="replace") if content is None else content)

        uri, size = Later(lambda text: made(text)[0], data), Later(lambda text: made(text)[1], data)
    return {"mime_type": mime_type, "modality": modality, "uri": uri, "size": size, "type": "uri"}


def _reference(content: bytes) -> tuple[str, int]:
    return f"sha256:{sha256(content).hexdigest()}", len(content)


def file_part(mime_type: str | None, modality: str, file_id: str) -> Part:
    """Return a file that the provider has, by its id."""
    return {"mime_type": mime_type, "modality": modality, "file_id": file_id, "type": "file"}


def _decoded_base64(data: str) -> bytes | None:
    """Return the bytes that *data* holds as base64; `None` when it is not base64."""
    try:
        return b64decode("".join(data.split()), validate=True)
    except ValueError:
        return None


_FUNCTION: Final = "function"


def tool_definitions(tools: Any) -> list[Part]:
    """Return what each of *tools* is: functions as the conventions have them, all others as the provider does."""
    found: list[Part] = []
    # Also sets and views of the caller's: only an iterator would be drained by looking at it.
    for tool in () if tools is None or isinstance(tools, str) or hasattr(tools, "__next__") else _tools_in(tools):
        kind = field_of(tool, "type")
        if isinstance(kind, str):
            found.append(_definition(tool, kind))
    return found


def function_definitions(functions: Any) -> list[Part]:
    """Return the functions of a request that has them by themselves, as chat completions first had."""
    return [_function(function) for function in items_of(functions) if field_of(function, "name")]


def _definition(tool: Any, kind: str) -> Part:
    # Chat completions have a tool's members under the name of its kind, Responses beside it.
    members = field_of(tool, kind) or tool
    if kind == _FUNCTION:
        return _function(members)
    given = {key: value for key, value in plain_data(fields_set(members)).items() if key not in AUTHORISING}
    name = given.pop("name", None)
    return {"name": name if isinstance(name, str) else kind, **given, "type": kind}


def _function(function: Any) -> Part:
    return {
        "name": text_of(field_of(function, "name")),
        "description": field_of(function, "description"),
        "parameters": plain_data(field_of(function, "parameters")),
        "type": _FUNCTION,
    }


def _tools_in(tools: Any) -> list[Any]:
    try:
        return list(tools)
    except TypeError:  # "not given"
        return []
