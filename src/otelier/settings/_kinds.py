"""Settings: environment variables whose text becomes a value, and what is wrong with text that means nothing."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from otelier.errors import SettingError

T = TypeVar("T")

MAX_NAME_CHARS = 256
"""Longest name of a process or its environment."""
MAX_METRIC_TENANTS = 100
"""Most tenants that metrics name: each one is a set of time series of its own."""
MAX_CONTENT_CHARS = 1_000_000
"""Most characters of content in one attribute; redaction looks at no more of one text."""
MIN_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES = 1_000, 100_000_000
"""What the limit of one payload of a run may be."""
_MAX_SHOWN_CHARS = 64
# A key is one long word, and a password in an address stands between `:` and `@`.
_SHOWN = re.compile(r"(?!.*[\w+-]{20})[\w.*+ -]*")


def quoted(text: str) -> str:
    """Return what a message may show of the text of a setting: all of a few plain words, else how long it is.

    Whatever cannot be read may be another variable's value: a password, a key, an address with both in it.

    Example:
        >>> quoted("perhaps"), quoted("https://tok:PASSWORD@x/")
        ("'perhaps'", '(23 characters, not shown)')
    """
    if len(text) <= _MAX_SHOWN_CHARS and _SHOWN.fullmatch(text):
        return repr(text)
    return f"({len(text)} characters, not shown)"


class ContentMode(Enum):
    """Signals that content may go to: the values of `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`.

    Example:
        >>> from otelier.settings import ContentMode
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting(Generic[T]):
    """One environment variable: how its text becomes a value, and what holds without it.

    Example:
        >>> from otelier.settings import DISABLED
        >>> DISABLED.variable, DISABLED.default
        ('OTELIER_DISABLED', False)
    """

    variable: str
    """Name of the environment variable."""
    parse: Callable[[str], T]
    """Reads the text; raises `ValueError` with the choices for text that means nothing."""
    default: T
    """Value when neither argument nor variable is given."""
    kind: str
    """Type and unit in the reader's words, for the settings page."""
    meaning: str
    """One line: what it does."""

    def value(self, argument: T | None = None) -> T:
        """Return *argument*, else the variable's value, else the default.

        An empty variable counts as unset, as OpenTelemetry has it.

        Raises:
            SettingError: if the variable's text cannot be read.
        """
        if argument is not None:
            return argument
        text = os.environ.get(self.variable, "").strip()
        if not text:
            return self.default
        try:
            return self.parse(text)
        except ValueError as exc:
            default = "none" if self.default == frozenset() else repr(self.default)
            raise SettingError(
                f"Cannot read {self.variable}={quoted(text)}: {exc}. Unset it to get the default {default}.",
                setting=self.variable,
            ) from exc


def parse_text(text: str) -> str:
    return text


def parse_name(text: str) -> str:
    if len(text) > MAX_NAME_CHARS or not text.isprintable():
        raise ValueError(f"it must be 1 to {MAX_NAME_CHARS} printable characters, since every signal carries it")
    return text


def parse_flag(text: str) -> bool:
    choice = text.lower()
    if choice in ("true", "1", "yes", "on"):
        return True
    if choice in ("false", "0", "no", "off"):
        return False
    raise ValueError("it must be `true` or `false`")


def parse_positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ValueError("it must be a number above 0")
    return int(text)


def parse_content_chars(text: str) -> int:
    number = parse_positive(text)
    if number > MAX_CONTENT_CHARS:
        raise ValueError(f"it must be at most {MAX_CONTENT_CHARS}, since no more characters are redacted")
    return number


def parse_payload_bytes(text: str) -> int:
    number = parse_positive(text)
    if not MIN_PAYLOAD_BYTES <= number <= MAX_PAYLOAD_BYTES:
        raise ValueError(
            f"it must be {MIN_PAYLOAD_BYTES} to {MAX_PAYLOAD_BYTES}, since the store holds each in one row"
        )
    return number


def parse_trace_url(text: str) -> str:
    if not text.startswith(("http://", "https://")) or text.count("{trace_id}") != 1 or not text.isprintable():
        raise ValueError(
            "it must be a URL with `{trace_id}` in it once, such as `http://localhost:16686/trace/{trace_id}`"
        )
    return text


def parse_names(text: str) -> frozenset[str]:
    return frozenset(name.strip() for name in text.split(",") if name.strip())


def parse_tenants(text: str) -> frozenset[str]:
    tenants = parse_names(text)
    if len(tenants) > MAX_METRIC_TENANTS:
        raise ValueError(f"it names {len(tenants)} tenants, and metrics carry at most {MAX_METRIC_TENANTS}")
    if any(len(tenant) > MAX_NAME_CHARS or not tenant.isprintable() for tenant in tenants):
        raise ValueError(f"each tenant must be 1 to {MAX_NAME_CHARS} printable characters, since metrics carry it")
    return tenants


*_FIRST_MODES, _LAST_MODE = (f"`{mode}`" for mode in ContentMode.__members__)
CONTENT_MODES = f"{', '.join(_FIRST_MODES)} or {_LAST_MODE}"


def parse_content_mode(text: str) -> str:
    mode = text.upper()
    if mode in ContentMode.__members__:
        return mode
    raise ValueError(f"it must be {CONTENT_MODES}")
