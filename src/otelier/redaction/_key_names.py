"""Telling names, such as `db_password`, `OPENAI_API_KEY` and `clientSecret`: a secret is stored under them.

The end of a name decides, and what stands before it: `next_page_token` is none.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from otelier.redaction._rules import is_redacted

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
"""Names of the fields that messages, parts and tools are built of."""


def is_message_word(key: object, item: object) -> bool:
    """Return whether *item* under *key* is a word that messages are built of, such as a role, and no content.

    Example:
        >>> is_message_word("role", "user"), is_message_word("role", "user of ACME"), is_message_word("name", "user")
        (True, False, False)
    """
    return key in _KINDS and isinstance(item, str) and item in _WORDS


SECRET_NAME: Final = (
    r"(?:pass(?:(?:word|wort|wd|code|phrase)s?(?:[_-]hash)?|(?<![a-z]pass)(?![a-z]))|pw(?:d|(?![a-z]))|secret(?:s|[_-]key[_-]base)?"
    r"|tokens?|cred(?:ential)?s|credential|keys?)"
)
"""The end of a telling name, in lower case; `is_other` looks at what stands before it."""
VALUE_NAMES: Final = (
    *("value", "val", "v", "stringValue", "default", "defaultValue", "const", "content", "example", "examples"),
)
"""Names of values in pairs, `{"name": "DB_PASSWORD", "value": …}`, and in schemas."""
_NAME: Final = re.compile(
    rf"(?:{SECRET_NAME}|authorization|cookies?|^auth|^bearer|(?<![a-z])(?:psw|otp|cvv2?|cvc)|(?:php|j)sessi(?:on)?d|kennwort|contraseña|senha|mot_?de_?passe"
    r"|wachtwoord|пароль|密码|密碼|パスワード|비밀번호)\Z"
)
_BEFORE_KEY: Final = re.compile(
    r"(?:access|account|admin|api|app|auth|deploy|encryption|fernet|functions|hmac|license|master|private|secret|service"
    r"|session|shared|signing|ssh|storage|subscription|webhook|write)[ _-]?\Z"
)
_BEFORE_TOKENS: Final = re.compile(r"(?:access|api|auth|bearer|refresh|security|session)[ _-]?\Z")
# Tokens of texts and of pages, not of people: `next_page_token`, `pad_token`, `max_tokens`.
_OTHER_TOKENS: Final = re.compile(
    r"(?:page|next|prev|previous|continuation|pagination|cursor|sync|resume|skip|pad|eos|bos|unk|sep|cls|mask|special|stop"
    r"|start|end|first|last|per|each|max|min|num|new|image|audio|text|input|output|prompt|completion|cached|reasoning|total"
    r"|used|remaining|begin|continue)[ _-]?\Z"
    r"|(?<![a-z])(?:a|an|the|every|one|of|no|to|word|what|which|this|that)[ _-]\Z"
)
_OTHER_PASS: Final = re.compile(
    r"(?<![a-z])(?:low|high|band|all|first|second|third|last|next|one|two|single|multi|render|shadow|forward"
    r"|backward|is|did)[ _-]?\Z"
)

_REFERENCE: Final = re.compile(
    # Where the value is, and not the value: in a shell, in a template, in a form that is to be filled in.
    r"(?:\$[A-Z_][A-Z0-9_]{2,}|\$env:\w+|%[A-Z_]{3,}%|\$\([^()]*\)?|\$?\{\{?[^{}]*\}\}?|\$?\{+|<[^<>]{0,64}>"
    r"|\[[\w .:-]{0,40}\]|!(?:Ref|Sub|GetAtt|vault|secret|env|ref|sub)(?:\s.*)?|%[sdr]|%\(\w+\)[sdr]|%\{\w+\}"
    r"|(?i:alt|ctrl|cmd|shift|option)\+\S+|\*{3,}|[xX]{4,}|\.{3,}|…|(?i:your|insert|enter)[-_ ][A-Za-z_ -]{0,40})\Z"
)


def is_secret_name(name: str) -> bool:
    """Return whether *name* is a telling one.

    Example:
        >>> is_secret_name("dbPassword"), is_secret_name("max_tokens"), is_secret_name("next_page_token")
        (True, False, False)
    """
    return _is_secret_name(name[-64:])


@lru_cache(maxsize=2_048)  # the names of fields come again and again
def _is_secret_name(name: str) -> bool:
    if name.endswith("Pass"):
        name = f"{name[:-4]}_pass"
    lowered = name.lower()
    match = _NAME.search(lowered)
    return match is not None and not is_other(match[0], lowered[: match.start()])


def is_other(name: str, left: str) -> bool:
    """Return whether *name*, with *left* before it, names something else than a secret: a page's token, a low pass.

    Example:
        >>> is_other("token", "next_page_"), is_other("token", "access_")
        (True, False)
    """
    if name == "token":
        return _OTHER_TOKENS.search(left) is not None
    if name == "tokens":
        return _BEFORE_TOKENS.search(left) is None
    if name in ("key", "keys"):
        return _BEFORE_KEY.search(left) is None
    return name == "pass" and _OTHER_PASS.search(left) is not None


def is_harmless(name: str, value: object) -> bool:
    """Return whether *value* under a telling *name* is no secret: empty, a flag, a number of tokens, a directory."""
    if value is None or isinstance(value, bool):
        return True
    lowered = name.lower()
    if isinstance(value, (int, float)):
        return lowered.endswith(("token", "tokens", "pass"))
    if isinstance(value, str):
        if not value.strip() or is_redacted(value) or is_reference(value):
            return True
        return lowered.endswith("pwd") and value.startswith("/")
    return False


def is_reference(value: str) -> bool:
    """Return whether *value* says where a secret is, or stands for one in an example.

    Example:
        >>> is_reference("${DB_PASSWORD}"), is_reference("<your key>"), is_reference("$ecret")
        (True, True, False)
    """
    return _REFERENCE.match(value) is not None
