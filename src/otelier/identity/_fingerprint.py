"""Fingerprints of system prompts: an agent's prompt gives the same one, whatever changes in it from call to call."""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from collections.abc import Iterable
from itertools import groupby
from typing import Final

from otelier.identity._dates import dates, has_half_day, without_names, without_short_names

MAX_CHARS: Final = 3_000
"""Characters that are read: a longer prompt is known by its beginning, and costs no more.

With the end too, an agent would be another one at each call, since what is looked up for a call stands at the end.
"""
_MAX_BYTES_NEAR: Final = 2_400
_MAX_BYTES_FAR: Final = 1_500
"""Bytes that are read of texts beyond ASCII, which take longer: 500 signs of Chinese, which say as much."""
_MAX_WORDS: Final = 700
"""More than prose has in as many characters; what has more takes longer."""
_MAX_MASKED: Final = 100
_MAX_BORDERS: Final = 70
_MAX_REWRITTEN: Final = 400
_VERSION: Final = "fp1:"

# Those without a digit: with one they are masked like any other word.
_MODELS: Final = (
    *("chatgpt", "chatgpt-latest", "claude", "claude-haiku", "claude-opus", "claude-sonnet", "codestral"),
    *("codestral-latest", "command-r", "command-r-plus", "deepseek", "deepseek-chat", "deepseek-coder"),
    *("deepseek-reasoner", "gemini", "gemini-flash", "gemini-pro", "gemma", "glm", "gpt", "grok", "grok-beta"),
    *("kimi", "llama", "mistral", "mistral-large", "mistral-large-latest", "mistral-medium", "mistral-medium-latest"),
    *("mistral-small", "mistral-small-latest", "mixtral", "qwen", "qwen-max", "qwen-plus", "qwen-turbo"),
)
_VARIANTS: Final = (
    *("flash", "haiku", "instruct", "large", "latest", "lite", "max", "mini", "nano", "opus", "plus", "preview"),
    *("pro", "small", "sonnet", "turbo"),
)
_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october"),
    *("november", "december", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"),
)
_DAYS: Final = (
    *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    *("mon", "tue", "tues", "wed", "thu", "thur", "thurs", "fri", "sat", "sun"),
)
_ZONES: Final = ("am", "pm", "a.m", "p.m", "a.m.", "p.m.", "utc", "gmt", "cet", "cest", "est", "edt", "pst", "pdt")


def _any_of(words: Iterable[str]) -> str:
    """Return a pattern of *words*, by their first letters: tried one after the other they take twice as long."""
    alike = groupby(sorted(words), lambda word: word[0])
    return "|".join(f"{re.escape(first)}(?:{'|'.join(re.escape(word[1:]) for word in some)})" for first, some in alike)


_KIN: Final = (*_MONTHS, *_DAYS, *_ZONES, *_VARIANTS)
# Small letters, one digit for all, and no brackets, quotes and control characters. `@` makes a word an address.
_SPACES = bytes((*range(0x21), 0x7F)) + b"()[]{}<>\"'`*|"
_BYTES = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ123456789@" + _SPACES,
    b"abcdefghijklmnopqrstuvwxyz0000000000" + b" " * len(_SPACES),
)
# Long hex is masked for its digits. What happens to have none is a hash, too: no word of prose is spelled so.
_LETTERS_OF_HEX = bytes(ord("0") if byte in b"abcdef" else ord(" ") for byte in range(0x100))
_EIGHT: Final = b"0" * 8

# What editors make of plain signs. Replacing these first keeps most prompts in ASCII, for 5 us instead of 30, and
# most in Chinese in NFKC, for 5 us instead of 90.
_PLAIN: Final = (
    *(("\u2018", "'"), ("\u2019", "'"), ("\u201c", '"'), ("\u201d", '"'), ("\u2013", "-"), ("\u2014", "-")),
    *(("\u2022", "*"), ("\u2026", "..."), ("\uff01", "!"), ("\uff08", "("), ("\uff09", ")"), ("\uff0c", ",")),
    *(("\uff1a", ":"), ("\uff1b", ";"), ("\uff1f", "?"), ("\u00a0", " "), ("\u3000", " "), ("\x85", " ")),
    *(("\u2028", " "), ("\u2029", " "), ("\u060c", ","), ("\u200e", ""), ("\u200f", "")),
)
# Scripts written without spaces: a number would take the sentence around it along.
_SPACELESS: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
)
# All that letters of Latin, Greek, Cyrillic and Hebrew are made of in UTF-8: texts in these have neither of the two.
_NEAR = bytes(range(0xD9))


class _Patterns:
    """The patterns: compiled at the first prompt, or when otelier is switched on, and not by `import otelier`."""

    def __init__(self) -> None:
        self.hex = re.compile(rb"(?<![a-z])[a-f]{8,}(?![a-z])")
        # That a pattern begins with a plain sign makes its search three times as fast, so a word with a digit is looked
        # for from the digit on, and what stands before it in the text in reverse.
        self.names = re.compile(rf" (?:{_any_of(_MODELS)})[.,:;!?]?(?![^ ])".encode())
        self.masked = re.compile(rf"0[^ ]*(?: (?:[^ 0]*0[^ ]*|(?:{_any_of(_KIN)})[.,:;!?]?(?![^ ])))*".encode())
        kin_backwards = _any_of(word[::-1] for word in _KIN)
        self.before = re.compile(rf"0[^ ]*(?: [.,:;!?]?(?:{kin_backwards})(?![^ ])){{0,3}}".encode())
        # Ends before a space if there is one, and never before a mark that belongs to the letter before it.
        self.piece = re.compile(r"(?s).{1,24}\S{0,16}[^\w\s]{0,8}")
        # A class twice, not once with a plus: only what begins with a class is searched for by it, twice as fast.
        self.borders = re.compile(f"([{_SPACELESS}][{_SPACELESS}]*)")
        self.other_digits = re.compile(r"[^\D0-9][^\D0-9]*")


@functools.cache
def _patterns() -> _Patterns:
    return _Patterns()


def prepare() -> None:
    """Read the table of dates and compile the patterns now, and not for the first prompt."""
    dates()
    _patterns()


def prompt_fingerprint(text: str) -> str:
    """Return the fingerprint of a system prompt: `fp1:` and the SHA-256 of what is left of it after masking.

    Dates, times, numbers, UUIDs, all words with digits, long hexadecimal strings, e-mail addresses, URLs and model
    names are masked. Beside numbers, the names of months and weekdays of all languages in Unicode's CLDR are part of
    the date. Case, white space, brackets, quotes and compatibility forms (NFKC) do not count.

    Only the beginning of a long prompt counts. At most 3,000 characters are read; of text beyond ASCII 2,400 bytes of
    UTF-8, or 1,500 if characters take three bytes. Reading also stops after 700 words, after about 400 characters that
    NFKC changes, and at the hundredth masked place. Of the text left after masking, four fifths as many bytes count.
    A fingerprint does not reveal the text, but anyone who has a prompt can check whether it matches.

    Args:
        text: The system prompt.

    Example:
        >>> monday = prompt_fingerprint("You are a billing agent. Today is November 16, 2026.")
        >>> friday = prompt_fingerprint("You are a billing agent.  Today is November 20, 2026.")
        >>> monday == friday != prompt_fingerprint("You are a shipping agent. Today is November 20, 2026.")
        True
    """
    patterns = _patterns()
    data, read, spaceless = _as_compared(text)
    if data.count(b" ") > _MAX_WORDS:  # of a letter or two each
        data = b" ".join(data.split(b" ", _MAX_WORDS)[:_MAX_WORDS])
    if _EIGHT in data.translate(_LETTERS_OF_HEX):  # 1 us; the search alone takes 20
        data = patterns.hex.sub(b"0", data)
    if has_year := b"0000" in data:
        data = without_short_names(data)
    data = b" 0".join(patterns.names.split(data, _MAX_MASKED)[:_MAX_MASKED])
    data = b"0".join(patterns.masked.split(data, _MAX_MASKED)[:_MAX_MASKED])
    # A sentence without spaces is looked at where it says a day or an hour, not at each of its numbers.
    spaceless = spaceless and (has_year or has_half_day(data))
    data = without_names(patterns.before.sub(b"0", data[::-1]), spaceless=spaceless)
    # Fewer than were read: a longer date before the end moves what was read last.
    return _VERSION + hashlib.sha256(data[1 : read * 4 // 5].rstrip()).hexdigest()


def exact_fingerprint(text: str) -> str:
    """Return the fingerprint of *text* as it is."""
    return _VERSION + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _as_compared(text: str) -> tuple[bytes, int, bool]:
    """Return *text* as it is compared, how much of it is read, and whether it may be of a script without spaces.

    That is in small letters, with one digit for all, and single spaces in place of white space and brackets.
    """
    read, far = MAX_CHARS, False
    text = text[:read]
    if not text.isascii():
        text, read, far = _compatible(text)
    # In bytes all scripts are translated equally fast; in texts, beyond ASCII, at 40 ns a character instead of 1.
    data = b" " + text.encode("utf-8", "ignore")[:read].translate(_BYTES).replace(b"://", b"0").replace(b"www.", b"0")
    while b"  " in data:  # 3 us; splitting and joining takes 12
        data = data.replace(b"  ", b" ")
    return data, read, far


def _compatible(text: str) -> tuple[str, int, bool]:
    """Return *text* in NFKC and case-folded, its numbers apart from spaceless scripts, and how much of it is read.

    The last is whether it has characters of three bytes, as scripts without spaces have.
    """
    text = text.encode("utf-8", "ignore")[:MAX_CHARS].decode("utf-8", "ignore")
    for sign, plain in _PLAIN:
        text = text.replace(sign, plain)
    if text.isascii():
        return text, MAX_CHARS, False
    data = text.encode("utf-8", "ignore")
    far = bool(data.translate(None, _NEAR))
    read = _MAX_BYTES_FAR if far else _MAX_BYTES_NEAR
    text = _normalized(data[:read].decode("utf-8", "ignore")).casefold()
    if far:
        patterns = _patterns()
        text = " ".join(patterns.borders.split(patterns.other_digits.sub("0", text, _MAX_BORDERS), _MAX_BORDERS))
    return text, read, far


def _normalized(text: str) -> str:
    """Return *text* in NFKC, as far as that is done in time.

    One character can grow to eighteen, and putting marks in order takes the square of their number.
    """
    pieces: list[str] = []
    left = _MAX_REWRITTEN
    for piece in _patterns().piece.findall(text):
        pieces.append(unicodedata.normalize("NFKC", piece))
        if pieces[-1] != piece:
            left -= len(piece) + 5 * max(0, len(pieces[-1]) - len(piece))
            if left < 0:
                break
    return "".join(pieces)
