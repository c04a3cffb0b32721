"""The content gate: prompts, answers, tool definitions and arguments leave only when asked for, and redacted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry.util.types import AnyValue

from otelier.errors import SettingError
from otelier.faults import on_reset, read_setting, report_fault, warn_once
from otelier.redaction._input import LIMIT
from otelier.redaction._nested import redact_value, redact_values
from otelier.redaction._redact import FAILED, redact, redact_start
from otelier.settings import CAPTURE_CONTENT, CONTENT_MAX_CHARS, EMIT_EVENT, REDACT_PERSONAL, ContentMode

MOST_ON_A_LOOP: Final = 32_768
"""Characters of content that are redacted on the thread of an event loop, in 1 to 5 ms; more is done aside."""
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_TRIES = 4
_NOTES = 64


@dataclass(frozen=True, slots=True)
class ContentGate:
    """The gate for content: `mode` has where it may go, `json` and `value` redact it.

    Example:
        >>> from otelier.settings import ContentMode
        >>> gate = ContentGate(ContentMode.SPAN_ONLY)
        >>> gate.json([{"role": "user", "content": "my password=hunter2"}])
        '[{"role":"user","content":"my password=[REDACTED:secret]"}]'
    """

    mode: ContentMode
    """Signals that content may go to."""
    emits: bool = False
    """Whether calls emit log events, with or without content."""
    personal: bool = False
    """Whether personal data is redacted beside secrets."""
    max_chars: int = CONTENT_MAX_CHARS.default
    """Characters that an attribute has at most."""

    def text(self, text: str, max_chars: int) -> str:
        """Return the start of *text* with the secrets in it redacted, such as the message of an error."""
        return redact_start(text, max_chars, personal=self.personal)

    def value(self, value: object) -> AnyValue:
        """Return nested data with the secrets in it redacted, for the structured attributes of an event."""
        return redact_value(value, personal=self.personal, max_chars=self.max_chars)

    def values(self, content: Mapping[str, object], *, most: int | None = None) -> dict[str, AnyValue]:
        """Return the attributes of one operation's *content*, each as `value` does it.

        Together they have at most twice the characters that one may have; the first ones come first.

        Raises:
            TooLongError: if they have more than *most* characters, which is how many may be looked at here.
        """
        return redact_values(content, personal=self.personal, max_chars=self.max_chars, most=most)

    def json(self, value: object) -> str:
        """Return nested data as JSON text with the secrets in it redacted, for a span's attribute."""
        return self.written(self.value(value))

    def written(self, shown: AnyValue) -> str:
        """Return what `value` gave as strict JSON text, as long as an attribute may be; never raises."""
        text = json_of(shown)
        max_chars = self.max_chars
        for _ in range(_TRIES):
            if len(text) <= self.max_chars:
                return text
            # Escapes, and notes of what was cut, made the text longer than allowed.
            max_chars = max(max_chars * self.max_chars // len(text) - _NOTES, 0)
            text = json_of(redact_value(shown, max_chars=max_chars))
        return text if len(text) <= self.max_chars else json.dumps(LIMIT)


def json_of(value: AnyValue) -> str:
    """Return *value* as strict JSON text; never raises.

    Example:
        >>> json_of({"role": "user"})
        '{"role":"user"}'
    """
    try:
        return _encode(value)
    except Exception as exc:
        report_fault("redaction.json", exc)
        return json.dumps(FAILED)


_kept: ContentGate | None = None
"""The gate since otelier was switched on; `None` before."""


def content_gate() -> ContentGate:
    """Return the gate that was read when otelier was switched on; before that, as the environment sets it now.

    Example:
        >>> content_gate().mode
        <ContentMode.NO_CONTENT: 'NO_CONTENT'>
    """
    return _read() if _kept is None else _kept


def read_content_gate() -> ContentGate:
    """Read the gate from the environment, and keep it for calls and agents alike; for switching on.

    A variable that cannot be read warns once, naming the choices. Then no content is captured, personal data is
    redacted, and what else it may be about has its default.

    Example:
        >>> read_content_gate() is content_gate()
        True
    """
    global _kept
    _kept = _read()
    return _kept


@on_reset
def forget_content_gate() -> None:
    """Read the environment anew from now on; for switching off."""
    global _kept
    _kept = None


def _read() -> ContentGate:
    try:
        mode = ContentMode(CAPTURE_CONTENT.value())
    except SettingError as exc:
        warn_once("redaction.content_mode", "%s No content is captured.", redact(str(exc)))
        mode = ContentMode.NO_CONTENT
    emits = read_setting(EMIT_EVENT)
    return ContentGate(
        mode,
        emits=mode.on_event if emits is None else emits,
        personal=read_setting(REDACT_PERSONAL, unreadable=True),
        max_chars=read_setting(CONTENT_MAX_CHARS),
    )
