"""The content gate: prompts, answers, tool definitions and arguments leave only when asked for, and redacted."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from opentelemetry.util.types import AnyValue

from otelier.errors import SettingError
from otelier.settings import CAPTURE_CONTENT, CONTENT_MAX_CHARS, EMIT_EVENT, REDACT_PERSONAL, Setting
from otelier.signals._guard import report_fault, warn_once
from otelier.signals._redaction import FAILED, redact, redact_value

T = TypeVar("T")


class ContentMode(Enum):
    """Where content may go: `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`.

    Example:
        >>> ContentMode.SPAN_ONLY.on_span, ContentMode.SPAN_ONLY.on_event
        (True, False)
    """

    NO_CONTENT = "NO_CONTENT"
    SPAN_ONLY = "SPAN_ONLY"
    EVENT_ONLY = "EVENT_ONLY"
    SPAN_AND_EVENT = "SPAN_AND_EVENT"

    @property
    def on_span(self) -> bool:
        """Whether spans carry content, as JSON text."""
        return self in (ContentMode.SPAN_ONLY, ContentMode.SPAN_AND_EVENT)

    @property
    def on_event(self) -> bool:
        """Whether log events carry content, structured."""
        return self in (ContentMode.EVENT_ONLY, ContentMode.SPAN_AND_EVENT)

    @property
    def any(self) -> bool:
        """Whether content goes anywhere at all."""
        return self is not ContentMode.NO_CONTENT


@dataclass(frozen=True, slots=True)
class ContentGate:
    """What content has to pass: ask `mode` whether it may go, then send it through `json` or `value`.

    Example:
        >>> gate = ContentGate(ContentMode.SPAN_ONLY)
        >>> gate.json([{"role": "user", "content": "my password=hunter2"}])
        '[{"role":"user","content":"my password=[REDACTED:secret]"}]'
    """

    mode: ContentMode
    """Where content may go."""
    emits: bool = False
    """Whether calls are told by log events, with or without content."""
    personal: bool = False
    """Whether personal data is redacted beside secrets."""
    max_chars: int = CONTENT_MAX_CHARS.default
    """Longest text that is kept."""

    def text(self, text: str) -> str:
        """Return *text* with the secrets in it redacted, such as the message of an error."""
        return redact(text, personal=self.personal)

    def value(self, value: object) -> AnyValue:
        """Return nested data with the secrets in it redacted, for the structured attributes of an event."""
        return redact_value(value, personal=self.personal, max_chars=self.max_chars)

    def json(self, value: object) -> str:
        """Return nested data as JSON text with the secrets in it redacted, for a span's attribute."""
        return json_of(self.value(value))


def json_of(value: AnyValue) -> str:
    """Return what `ContentGate.value` gave as the JSON text that `ContentGate.json` would give; never raises.

    Example:
        >>> json_of(ContentGate(ContentMode.SPAN_AND_EVENT).value({"role": "user"}))
        '{"role":"user"}'
    """
    try:
        return json.dumps(value, separators=(",", ":"), default=_base64)
    except Exception as exc:
        report_fault("signals.content", exc)
        return json.dumps(FAILED)


def content_gate() -> ContentGate:
    """Return the gate as the environment sets it now; ask once, when switching on, not per call.

    A value that is no mode warns once, naming the choices, and means `NO_CONTENT`; so does any other that cannot be
    read, and what it is about is then redacted.

    Example:
        >>> content_gate().mode
        <ContentMode.NO_CONTENT: 'NO_CONTENT'>
    """
    try:
        mode = ContentMode(CAPTURE_CONTENT.value())
    except SettingError as exc:
        warn_once("content-mode", "%s No content is captured.", redact(str(exc)))
        mode = ContentMode.NO_CONTENT
    said = _read(EMIT_EVENT, None)
    return ContentGate(
        mode,
        emits=mode.on_event if said is None else said,
        personal=_read(REDACT_PERSONAL, True),
        max_chars=_read(CONTENT_MAX_CHARS, CONTENT_MAX_CHARS.default),
    )


def _read(setting: Setting[T], otherwise: T) -> T:
    try:
        return setting.value()
    except SettingError as exc:
        warn_once(f"content.{setting.variable}", "%s", exc)
        return otherwise


def _base64(value: bytes) -> str:
    return b64encode(value).decode()  # the only thing that redaction lets through and JSON does not know
