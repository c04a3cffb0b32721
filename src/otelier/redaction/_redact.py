"""Redaction: secrets leave no process, whatever carries them: content, exception messages, logged arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from threading import current_thread, main_thread
from typing import TypeAlias, cast

from otelier.errors import SettingError
from otelier.faults import on_reset, report_fault, warn_once
from otelier.redaction._bytes import may_hold_bytes, pieces_of
from otelier.redaction._masks import masked
from otelier.redaction._personal import PERSONAL
from otelier.redaction._rules import apply_rows, redacted
from otelier.redaction._secrets import SECRETS, SHORTEST_KEY
from otelier.settings import MAX_CONTENT_CHARS, quoted

MAX_CHARS = MAX_CONTENT_CHARS
"""Characters of one text that are looked at; what is beyond is cut off, since it was not looked at."""
MARGIN = 4_096
"""Characters behind a cut that are looked at all the same, so that no half of a secret is left before it."""
NOTE = 32
"""Characters of the note of how much was cut off."""
_NOTE_AT_END = re.compile(r" \[cut: (\d+) characters\]\Z")
PRIVATE = "PRIVATE KEY"
"""Words in a text whose base64 is a key and no file."""
FAILED = redacted("error")
"""Text in place of a value whose redaction failed."""

Redactor: TypeAlias = "str | re.Pattern[str] | Callable[[str], str]"
"""A redactor of the user's: a pattern, as text or compiled, or a function from text to redacted text."""

_extra: tuple[Callable[[str], object], ...] = ()  # what a user's function returns is not ours to promise


def set_redactions(extra: Iterable[Redactor]) -> None:
    """Add the user's own redactors to the table of secrets, in place of those set before.

    They run after the table, in the order given. What a pattern finds becomes `[REDACTED:custom]`.

    Args:
        extra: Patterns, as text or compiled, and functions from text to text. A function that raises or returns
            anything but text turns that value into `[REDACTED:error]` and is reported once.

    Raises:
        SettingError: if a text is no regular expression.
        TypeError: if *extra* is not a collection of these.

    Example:
        >>> set_redactions([r"ACME-[0-9]+"])
        >>> redact("order ACME-1234")
        'order [REDACTED:custom]'
        >>> set_redactions([])
    """
    global _extra
    if isinstance(extra, (str, bytes, re.Pattern)) or callable(extra) or not hasattr(extra, "__iter__"):
        raise TypeError(f"`redact` is {type(extra).__name__}: it must be a list of patterns and callables. Use `[…]`.")
    _extra = tuple(_as_function(redactor) for redactor in extra)


def redact(text: str, *, personal: bool = False) -> str:
    """Return *text* with each secret in it replaced by `[REDACTED:kind]`, and *personal* data if asked; never raises.

    Provider keys, bearer tokens, JWTs, private keys, passwords in URLs and what stands behind telling names such as
    `password=` are found by their form; then come the user's own redactors. Beyond 1,000,000 characters the text is
    cut, with a note of how much.

    Example:
        >>> redact("Incorrect API key provided: sk-proj-abcdef0123456789.")
        'Incorrect API key provided: [REDACTED:api-key].'
        >>> redact("postgres://app:s3cret@db/orders")
        'postgres://app:[REDACTED:password]@db/orders'
    """
    try:
        return _redact(text, personal=personal)
    except Exception as exc:
        report_fault("redaction.text", exc)
        return FAILED


def redact_start(text: str, max_chars: int, *, personal: bool = False) -> str:
    """Return the first *max_chars* characters of *text*, redacted, with a note of how much was cut off.

    Bytes in it become their type, size and hash.

    Example:
        >>> redact_start("my password=hunter2 and more", 17)
        'my password=[REDA [cut: 21 characters]'
    """
    text, before = without_note(text)
    if may_hold_bytes(text) and PRIVATE not in text:
        beyond = max(len(text) - MAX_CHARS, 0)
        before += beyond
        text = "".join(piece for piece, _ in pieces_of(text[:MAX_CHARS] if beyond else text))
    return start_of(text, before, max_chars, personal=personal)


def start_of(text: str, before: int, max_chars: int, *, personal: bool) -> str:
    """Return the start of *text* as `redact_start` does, bytes or not; *before* is what an earlier cut left out."""
    over = len(text) - max_chars - MARGIN
    if over > 0:
        # Redacted, the text may be shorter: a secret that was cut in two stands at its very end all the same.
        clean = redact(text[:-over], personal=personal)[:-MARGIN]
        over += MARGIN
    else:
        over, clean = 0, redact(text, personal=personal)
    return cut_text(clean, max_chars, before=before + over)


def cut_text(text: str, max_chars: int, *, before: int = 0) -> str:
    """Return the first *max_chars* characters of *text*, and how many were cut off, *before* that too.

    Example:
        >>> cut_text("a long story", 6), cut_text("short", 6)
        ('a long [cut: 6 characters]', 'short')
    """
    max_chars = max(max_chars, 0)
    over = max(len(text) - max_chars, 0) + before
    return f"{text[:max_chars]} [cut: {over} characters]" if over else text


def without_note(text: str) -> tuple[str, int]:
    """Return *text* without the note of an earlier cut, and how much that was of."""
    note = _NOTE_AT_END.search(text, max(len(text) - NOTE, 0))
    return (text[: note.start()], int(note[1])) if note is not None else (text, 0)


def _redact(text: str, *, personal: bool = False) -> str:
    if len(text) > MAX_CHARS:
        # Cut at a space, so that no secret is cut in two and missed.
        end = max(text.rfind(" ", MAX_CHARS - 2_000, MAX_CHARS), MAX_CHARS - 2_000)
        clean = _redact(text[:end], personal=personal)
        return cut_text(clean, len(clean), before=len(text) - end)
    text = masked(text)  # first: of what a row took a part, the rest would stay
    if len(text) >= SHORTEST_KEY or ":" in text or "=" in text or not text.isascii():
        text = apply_rows(text, SECRETS)
    if personal:
        text = apply_rows(text, PERSONAL)
    for function in _extra:
        text = _call(function, text)
    return text


def _as_function(redactor: object) -> Callable[[str], object]:
    if isinstance(redactor, str):
        try:
            redactor = re.compile(redactor)
        except re.error as exc:
            raise SettingError(
                f"Cannot use {quoted(redactor)} in `redact`: it is no regular expression ({exc}). "
                "Escape it with `re.escape` to find it as it stands.",
                setting="redact",
            ) from exc
    if isinstance(redactor, re.Pattern):
        pattern = cast("re.Pattern[str]", redactor)
        return lambda text: pattern.sub(redacted("custom"), text)
    if callable(redactor):
        return redactor
    raise TypeError(f"`redact` holds {type(redactor).__name__}: give a pattern, as text or compiled, or a callable.")


def _call(function: Callable[[str], object], text: str) -> str:
    try:
        result = function(text)
    except BaseException as exc:  # a panic of Rust is no `Exception`
        if isinstance(exc, (KeyboardInterrupt, SystemExit)) and current_thread() is main_thread():
            raise  # a handler of a signal runs in the middle of whatever the main thread does
        # The user's code, so it is told as such and not as a fault of ours; its message may hold the text.
        warn_once(
            "redaction.redactor",
            "A redactor of `init(redact=…)` raised %s: such values are replaced.",
            type(exc).__name__,
        )
        return FAILED
    if isinstance(result, str):
        return result
    warn_once(
        "redaction.redactor",
        "A redactor of `init(redact=…)` gave no text but %s: such values are replaced.",
        type(result).__name__,
    )
    return FAILED


@on_reset
def _forget() -> None:
    global _extra
    _extra = ()
