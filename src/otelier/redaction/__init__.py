"""Redaction: values leave the process without secrets, and without personal data where that is asked for."""

from __future__ import annotations

from otelier.redaction._gate import (
    MOST_ON_A_LOOP,
    ContentGate,
    content_gate,
    forget_content_gate,
    json_of,
    read_content_gate,
)
from otelier.redaction._input import Later, TooLongError, copied
from otelier.redaction._masks import has_masks, mask_value, masked, masked_value
from otelier.redaction._nested import redact_value
from otelier.redaction._redact import cut_text, redact, redact_start, set_redactions

__all__ = [
    "MOST_ON_A_LOOP",
    "ContentGate",
    "Later",
    "TooLongError",
    "content_gate",
    "copied",
    "cut_text",
    "forget_content_gate",
    "has_masks",
    "json_of",
    "mask_value",
    "masked",
    "masked_value",
    "read_content_gate",
    "redact",
    "redact_start",
    "redact_value",
    "set_redactions",
]
