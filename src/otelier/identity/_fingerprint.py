"""Fingerprints of system prompts: an agent's prompt gives the same one, whatever changes in it from call to call."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Final

MAX_CHARS: Final = 8_000
"""Characters that count: a longer prompt is told from others by its beginning, and costs no more than this."""
_VERSION: Final = "fp1:"
_MASK: Final = "#"

_FAMILIES: Final = (
    *("chatgpt", "claude", "codestral", "deepseek", "gemini", "gemma", "glm", "gpt", "grok", "haiku"),
    *("kimi", "llama", "mistral", "mixtral", "opus", "qwen", "sonnet"),
)
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october"),
    *("november", "december", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"),
)
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS_SHORT: Final = ("mon", "tue", "tues", "wed", "thu", "thur", "thurs", "fri", "sat", "sun")
_ZONES: Final = ("am", "pm", "a.m", "p.m", "utc", "gmt", "cet", "cest", "est", "edt", "pst", "pdt")

# A run is what may be a number, date, time, UUID, hash or model: it is masked whole. Linear, whatever the text.
_RUN = re.compile(r"[\w.:/+-]+(?:,\d[\w.:/+-]*)*")
_DIGIT = re.compile(r"\d")
_FAMILY = re.compile(rf"(?<![a-z])(?:{'|'.join(_FAMILIES)})(?![a-z])")
_EDGES = ".,;:!?()[]{}<>\"'`*#_-/\\|\u2026\u201c\u201d\u2018\u2019"
# Words that belong to a date or time only beside a number: they are marked, and masked if they stand beside one.
_MARK: Final = "\x00"
_MARKED = frozenset((*_MONTHS, *_DAYS, *_DAYS_SHORT, *_ZONES))
_DATE = re.compile(rf"(?:{_MARK}[a-z.]+,? ){{0,3}}{_MASK}(?:[.,]? (?:{_MARK}[a-z]+(?:\.[a-z]+)*|{_MASK})){{0,8}}")


class _Words(dict[str, str]):
    """Each word as it counts. Most prompts of a process are made of the same words, so they are kept."""

    def __missing__(self, word: str) -> str:
        counts = _masked(word)
        if len(word) <= _MAX_WORD_CHARS:
            if len(self) >= _MAX_WORDS:
                self.clear()
            self[word] = counts
        return counts


_MAX_WORDS = 16_384
_MAX_WORD_CHARS = 64
_words = _Words()


def prompt_fingerprint(text: str) -> str:
    """Return the fingerprint of a system prompt: `fp1:` and the SHA-256 of what is left of it after masking.

    Masked are dates, times, numbers, UUIDs and all words with digits, e-mail addresses, URLs, and names of models.
    Case, white space and compatibility forms (NFKC) do not count. Only the first 8,000 characters are read. The
    text cannot be had back from it, but who knows a prompt can tell that it is this one.

    Args:
        text: The system prompt.

    Example:
        >>> monday = prompt_fingerprint("You are a billing agent. Today is November 16, 2026.")
        >>> friday = prompt_fingerprint("You are a billing agent.  Today is November 20, 2026.")
        >>> monday == friday != prompt_fingerprint("You are a shipping agent. Today is November 20, 2026.")
        True
    """
    text = text[:MAX_CHARS]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)[:MAX_CHARS]
    counts = " ".join(map(_words.__getitem__, text.casefold().split()))
    if _MARK in counts:
        counts = _DATE.sub(_MASK, counts).replace(_MARK, "")
    return hashed(counts)


def hashed(text: str) -> str:
    """Return the fingerprint of *text* as it is."""
    return _VERSION + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _masked(word: str) -> str:
    bare = word.strip(_EDGES)
    if bare in _MARKED and word.startswith(bare):
        return _MARK + word
    if bare.isalpha() and bare not in _FAMILIES:
        return word
    if "://" in word or "www." in word:
        return _MASK
    name, _, host = bare.rpartition("@")
    if name and "." in host:
        return word.replace(bare, _MASK)
    return _RUN.sub(_masked_run, word)


def _masked_run(match: re.Match[str]) -> str:
    run = match.group()
    if _DIGIT.search(run) is None and _FAMILY.search(run) is None:
        return run
    return _MASK + run[len(run.rstrip(".:/+-")) :]
