"""The words that the conventions' messages are built of: they tell nobody anything, and give all the rest its meaning.

Redaction lets them pass. A function of the user's that masks names may take `user` for one, and one that fails
replaces whatever it sees: without its roles and kinds a message cannot be read by anything.

See: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/#capturing-instructions-inputs-and-outputs
"""

from __future__ import annotations

from typing import Final

_KINDS = frozenset(("role", "type", "finish_reason", "modality"))
_WORDS = frozenset(
    (
        *("system", "developer", "user", "assistant", "tool", "function", "image", "audio", "video", "document"),
        *("text", "reasoning", "tool_call", "tool_call_response", "server_tool_call", "server_tool_call_response"),
        *("blob", "file", "uri", "compaction", "stop", "length", "content_filter", "incomplete", "error"),
    )
)
KEYS: Final = frozenset(
    (
        *_KINDS,
        *("arguments", "content", "description", "file_id", "id", "mime_type", "name", "parameters", "parts"),
        *("response", "server_tool_call", "server_tool_call_response", "size", "uri"),
    )
)
"""Names of the fields of messages, parts and tools."""


def is_form(key: object, item: object) -> bool:
    """Tell whether *item* under *key* is such a word and no content.

    Example:
        >>> is_form("role", "user"), is_form("role", "user of ACME"), is_form("name", "user")
        (True, False, False)
    """
    return key in _KINDS and isinstance(item, str) and item in _WORDS
