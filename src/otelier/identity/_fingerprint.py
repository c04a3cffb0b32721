"""Fingerprints of system prompts: an agent's prompt gives the same one, whatever changes in it from call to call."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from typing import Final

MAX_CHARS: Final = 5_000
"""Characters that are read: a longer prompt is told from others by its beginning, and costs no more than this."""
_COUNTED_CHARS: Final = 4_000
"""Characters that count, after masking. Fewer than are read: a longer date before the end moves what is read last."""
_VERSION: Final = "fp1:"
_MASK: Final = "#"

_FAMILIES: Final = (
    *("chatgpt", "claude", "codestral", "deepseek", "gemini", "gemma", "glm", "gpt", "grok"),
    *("kimi", "llama", "mistral", "mixtral", "qwen"),
)
# Words that belong to a model's name only behind it: a haiku is a poem, too.
_VARIANTS = frozenset(("flash", "haiku", "instruct", "mini", "nano", "opus", "preview", "pro", "sonnet", "turbo"))
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october"),
    *("november", "december", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"),
)
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS_SHORT: Final = ("mon", "tue", "tues", "wed", "thu", "thur", "thurs", "fri", "sat", "sun")
_ZONES: Final = ("am", "pm", "a.m", "p.m", "utc", "gmt", "cet", "cest", "est", "edt", "pst", "pdt")
# Words that belong to a date or time only beside a number.
_DATE_WORDS = frozenset((*_MONTHS, *_DAYS, *_DAYS_SHORT, *_ZONES))
_SPECIAL = frozenset((*_DATE_WORDS, *_VARIANTS, *_FAMILIES))

# Scripts written without spaces: a run would swallow the sentence around a number.
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
# A run is what may be a number, date, time, UUID, hash or model: it is masked whole. Linear, whatever the text.
_RUN = re.compile(rf"(?:[^\W{_SPACELESS}]|[.:/+-])+(?:[,'\u2019]\d[\w.:/+-]*)*")
_DIGIT = re.compile(r"\d")
# Long hex is masked for its digits; what happens to have none is a hash, too. No word of prose is spelled so.
_MIN_HEX_CHARS: Final = 8
_LETTERS_OF_HEX = re.compile(rf"(?<![^\W_])[a-f]{{{_MIN_HEX_CHARS},}}(?![^\W_])")
_FAMILY = re.compile(rf"(?<![a-z])(?:{'|'.join(_FAMILIES)})(?![a-z])")
_EDGES = ".,;:!?()[]{}<>\"'`*#_-/\\|\u2026\u201c\u201d\u2018\u2019"
# Putting marks in order takes the square of their number, 70 ms for 8,000; no script stacks more than a few.
_STACK = re.compile(r"([^\w\s\x00-\x7f]{32})[^\w\s\x00-\x7f]+")

# What a word alone cannot tell is marked, and masked if it stands beside what it belongs to.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_IN_DATE: Final = "\x00"
_MODEL: Final = "\x01"
_VARIANT: Final = "\x02"
_MODEL_NAME = re.compile(rf"{_MODEL}(?: (?:{_MASK}|{_MODEL}|{_VARIANT}[a-z]+)){{0,8}}")
_FOLLOWS = rf"(?:[.,]? (?:{_IN_DATE}[a-z]+(?:\.[a-z]+\.?)?|{_MASK})){{0,8}}"
# Written as two, since a search for one of two characters is six times as fast as one for an optional group.
_DATE = re.compile(rf"{_IN_DATE}[a-z.]+,? (?:{_IN_DATE}[a-z.]+,? ){{0,2}}{_MASK}{_FOLLOWS}|{_MASK}{_FOLLOWS}")


class _Words(dict[str, str]):
    """Each word as it counts. Most prompts of a process are made of the same words, so those of late are kept."""

    former: dict[str, str]

    def __init__(self) -> None:
        super().__init__()
        self.former = {}

    def __missing__(self, word: str) -> str:
        counts = self.former.get(word)
        if counts is None:
            # Most new words are plain ones: 0.4 us instead of 1.3.
            stem = word.rstrip(_ENDS)
            plain = stem.isascii() and stem.isalpha() and stem.lower() not in _SPECIAL
            if plain and len(stem) >= _MIN_HEX_CHARS and _is_hex(stem):
                plain = False
            counts = word.lower() if plain else _masked(_folded(word))
        if len(word) <= _MAX_WORD_CHARS:
            if len(self) >= _MAX_WORDS:
                self.former = dict(self)
                self.clear()
            self[word] = counts
        return counts


_MAX_WORDS = 8_192
_PIECE_CHARS = 512
_MAX_WORD_CHARS = 64
_ENDS = ".,:;!?"
_words = _Words()


def prompt_fingerprint(text: str) -> str:
    """Return the fingerprint of a system prompt: `fp1:` and the SHA-256 of what is left of it after masking.

    Masked are dates, times, numbers, UUIDs and all words with digits, e-mail addresses, URLs, and names of models.
    Case, white space and compatibility forms (NFKC) do not count. Of what is left the first 4,000 characters count,
    and no more than 5,000 are read. The text cannot be had back from it, but who knows a prompt can tell that it is
    this one.

    Args:
        text: The system prompt.

    Example:
        >>> monday = prompt_fingerprint("You are a billing agent. Today is November 16, 2026.")
        >>> friday = prompt_fingerprint("You are a billing agent.  Today is November 20, 2026.")
        >>> monday == friday != prompt_fingerprint("You are a shipping agent. Today is November 20, 2026.")
        True
    """
    counts = " ".join(map(_words.__getitem__, text[:MAX_CHARS].split()))
    if _MODEL in counts:
        counts = _MODEL_NAME.sub(_MASK, counts)
    if _IN_DATE in counts or "# #" in counts:
        counts = _DATE.sub(_MASK, counts)
    counts = counts[:_COUNTED_CHARS]
    return hashed(counts.replace(_IN_DATE, "").replace(_VARIANT, ""))


def hashed(text: str) -> str:
    """Return the fingerprint of *text* as it is."""
    return _VERSION + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _folded(word: str) -> str:
    if not word.isascii():
        word = " ".join("".join(_compatible(word)).split())
    return (word if word.isprintable() else _CONTROL.sub("", word)).casefold()


def _compatible(word: str) -> Iterator[str]:
    """Yield the pieces of *word* in NFKC, as many as can count: one character can grow to eighteen."""
    chars = 0
    for start in range(0, len(word), _PIECE_CHARS):
        piece = unicodedata.normalize("NFKC", _STACK.sub(r"\1", word[start : start + _PIECE_CHARS]))
        yield piece
        chars += len(piece)
        if chars >= MAX_CHARS:
            return


def _masked(word: str) -> str:
    bare = word.strip(_EDGES)
    if bare in _DATE_WORDS:
        return word.replace(bare, _IN_DATE + bare, 1)
    if bare in _VARIANTS:
        return word.replace(bare, _VARIANT + bare, 1)
    if bare.isalpha() and bare not in _FAMILIES and not _is_hex(bare):
        return word
    if "://" in word or "www." in word:
        return _MASK
    name, _, host = bare.rpartition("@")
    if name and "." in host:
        return word.replace(bare, _MASK)
    return _RUN.sub(_masked_run, word)


def _is_hex(word: str) -> bool:
    return _LETTERS_OF_HEX.fullmatch(word.lower()) is not None


def _masked_run(match: re.Match[str]) -> str:
    run = match.group()
    is_model = _FAMILY.search(run) is not None
    if not is_model and _DIGIT.search(run) is None and _LETTERS_OF_HEX.search(run) is None:
        return run
    return (_MODEL if is_model else _MASK) + run[len(run.rstrip(".:/+-")) :]
