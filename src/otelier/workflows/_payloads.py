"""Payloads: inputs, results, signals and state as they are stored, plain data of a bounded size."""

from __future__ import annotations

import functools
from typing import Any

from otelier.codec import check_size, to_plain
from otelier.faults import on_reset, read_setting
from otelier.settings import PAYLOAD_MAX_BYTES
from otelier.workflows.engines.protocol import Json


def to_payload(value: object, as_type: Any = None, *, what: str) -> Json:
    """Return *value* as the plain data that is stored, and that a replay sees.

    Raises:
        CodecError: if something in it has no form in JSON, or its JSON is too large.
    """
    return checked_payload(to_plain(value, as_type, what=what), what=what)


def checked_payload(plain: Json, *, what: str) -> Json:
    """Return *plain* data if its JSON is no larger than the setting allows.

    Raises:
        CodecError: if it is.
    """
    check_size(plain, what=what, max_bytes=max_bytes())
    return plain


@functools.cache
def max_bytes() -> int:
    """Return how many bytes one payload may have as JSON."""
    return read_setting(PAYLOAD_MAX_BYTES)


def read_limit() -> None:
    """Read the limit again when it is next asked for: a worker or a client begins its work."""
    max_bytes.cache_clear()


on_reset(read_limit)
