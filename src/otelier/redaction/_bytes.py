"""Bytes in content: found wherever they stand, and replaced by their type, size and hash.

Telemetry is no store of files, and the hash still distinguishes one file from another. No place is listed where a
provider or a tool puts an image: it is found by its form, as `bytes`, in a `data:` URL, or as base64 or hexadecimal
text.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from typing import Final, cast
from urllib.parse import unquote, unquote_to_bytes

SHORTEST_RUN: Final = 256
"""Characters without a blank from which on text is looked at for base64; a key or a hash is shorter."""
SHORTEST_KNOWN: Final = 64
"""The same where the key says that it is bytes."""
_SHORTEST: Final = 12
"""Characters below which no text is looked at."""
_SHORTEST_MAGIC: Final = 32
"""The same where it begins as a file does."""
_SAMPLE: Final = 2_048
"""Characters of a run's beginning and end that decide what it is."""
_LONGEST_WORD: Final = 24
"""Letters and digits in a row of which base64 has more, and a path or a slug less."""
_STEP: Final = 64
FEWEST_NUMBERS: Final = 64
"""Numbers from 0 to 255 of which a list needs more to be bytes: shorter ones are of a token, or of anything."""
_OF_LINE: Final = 60
"""Characters of a line of base64; in shorter ones stand lists of ids, too."""
_OF_HASHES: Final = (64, 96, 128)
"""Characters of a hash in hexadecimal that is as long as such a line."""
_FEWEST_LINES: Final = 4
_OF_DUMP: Final = 16
"""Bytes in a line of a hexdump."""

KNOWN_KEYS: Final = frozenset(
    (
        *("audio", "audio_data", "b64", "b64_json", "base64", "blob", "bytes", "content_base64", "data", "file_data"),
        *("image", "image_base64", "image_data", "partial_image_b64", "screenshot"),
    )
)
"""Names under which base64 is bytes however short it is."""
_MAGIC: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"%PDF-": "application/pdf",
    b"PK\x03\x04": "application/zip",
    b"\x1f\x8b\x08": "application/gzip",
    b"ID3": "audio/mpeg",
    b"OggS": "audio/ogg",
    b"fLaC": "audio/flac",
    b"\x1a\x45\xdf\xa3": "video/webm",
}
_MAGIC_TEXTS: Final = ("iVBORw0KGg", "/9j/", "R0lGOD", "JVBERi0", "UEsDB", "H4sI", "SUQz", "T2dnUw", "ZkxhQ", "UklGR")
"""The beginning of their base64."""
_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_UNKNOWN: Final = "application/octet-stream"

_ONE: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_WRAPPED: Final = r"(?:\\r)?(?:\\n|\r?\n)"
_DATA: Final = r"[dD][aA][tT][aA]:"
_HEAD: Final = rf"{_DATA}(?P<type>[\w.+-]{{1,64}}/[\w.+-]{{1,64}})?(?:;[\w.=+-]{{1,64}}){{0,4}}?;[bB][aA][sS][eE]64,"
_MAGIC_TEXT: Final = f"(?:{'|'.join(_MAGIC_TEXTS)})"
_CHAR: Final = r"[A-Za-z0-9+/_-]"
_SHORTER: Final = rf"(?:{_WRAPPED}[A-Za-z0-9+/]{{1,59}}(?=[=\r\n\"')\]}}\\]|\Z)| [A-Za-z0-9+/]{{1,59}}(?==))?={{0,2}}"
_PAIR: Final = r"(?:0x)?[0-9A-Fa-f]{2}"
_GAP: Final = r"(?:\s|\\[nrt]){0,40}"
_URL: Final = re.compile(
    rf"{_HEAD}(?P<base64>[A-Za-z0-9+/_=%-]*)"
    rf"|{_DATA}(?P<kind>[\w.+-]{{1,64}}/[\w.+-]{{1,64}})(?:;[\w.=+-]{{1,64}}){{0,4}},(?P<percent>[^\s\"'()<>\\]+)"
)
_FILE: Final = re.compile(rf"(?<!{_CHAR}){_MAGIC_TEXT}{_CHAR}{{20,}}(?:(?:{_WRAPPED}| ){_CHAR}{{20,}})*{_SHORTER}")
# A run begins where nothing of its kind stands before it, so that a text is read once. A line that is shorter
# belongs to it if nothing stands behind it there.
_RUN: Final = re.compile(
    rf"(?<!{_CHAR})(?:{_CHAR}{{60,}}(?:(?:{_WRAPPED}| ){_CHAR}{{60,}})*"
    rf"|(?:{_CHAR}{{32,59}}{_WRAPPED}){{{_FEWEST_LINES},}}{_CHAR}{{32,59}}){_SHORTER}"
)
_PAIRS: Final = re.compile(
    rf"(?<![0-9A-Za-z]){_PAIR}(?P<between>[ :-]|,\s?){_PAIR}(?:(?P=between){_PAIR}){{6,}}"
    rf"(?:[,: ]?{_WRAPPED}\s{{0,20}}{_PAIR}(?:(?P=between){_PAIR}){{0,200}})*(?![A-Za-z0-9])"
)
_AMONG_PAIRS: Final = re.compile(rf"[0-9A-Fa-fx]{{0,4}}(?:(?:[ :-]|,\s?|[,:]?{_WRAPPED}\s{{0,20}}){_PAIR}){{4}}")
_LINES_OF_IDS: Final = re.compile(rf"[0-9A-Fa-f]{_WRAPPED}")
_DUMP: Final = re.compile(
    rf"^(?:[0-9a-f]{{7,8}}:? {{1,3}}[0-9a-f]{{2}}[0-9a-f ][^\n]{{0,120}}(?:\n|\Z)){{{_FEWEST_LINES},}}", re.MULTILINE
)
_NUMBERS: Final = re.compile(rf"\[{_GAP}(?P<numbers>\d{{1,3}}(?:,{_GAP}\d{{1,3}}){{{FEWEST_NUMBERS},}}){_GAP}\]")
_NO_HEX: Final = re.compile(r"0x|[^0-9A-Fa-f]")
_NO_NUMBER: Final = re.compile(r"[^0-9]+")
_DUMPED: Final = re.compile(r"([0-9a-f]{7,8}):?((?: {1,2}[0-9a-f]{2,4}(?![0-9a-zA-Z])){1,16})")
_OF_BUFFER: Final = re.compile(rf'Buffer\\{{0,7}}",{_GAP}\\{{0,7}}"data\\{{0,7}}":{_GAP}\[\Z')
_SEPARATORS: Final = re.compile(r"[-_/+]")
_HEX: Final = re.compile(r"[0-9a-f]+|[0-9A-F]+")


def describe_bytes(content: bytes | bytearray | memoryview, mime_type: str | None = None) -> str:
    """Return what stands for *content*.

    Example:
        >>> describe_bytes(b"%PDF-1.7")[:34]
        '[bytes: application/pdf, size 8, s'
    """
    return f"[bytes: {mime_type or _type_of(bytes(content[:16]))}, size {len(content)}, {hash_of(content)}]"


def hash_of(content: bytes | bytearray | memoryview) -> str:
    """Return the hash of *content*.

    Example:
        >>> hash_of(b"")[:14]
        'sha256:e3b0c44'
    """
    return f"sha256:{sha256(content).hexdigest()}"


def may_hold_bytes(text: str) -> bool:
    """Return, without looking at each character, whether `pieces_of` could find bytes in *text*.

    Example:
        >>> may_hold_bytes("a b " * 1000), may_hold_bytes("x" * 1000)
        (False, True)
    """
    if len(text) < _SHORTEST:
        return False
    for hints, _, _ in _BY_HINTS:
        for hint in hints:
            if hint in text:
                return True
    return len(text) >= SHORTEST_RUN and (_has_runs(text) or _has_pairs(text))


def pieces_of(text: str) -> Iterator[tuple[str, bool]]:
    """Yield *text* piece by piece, each with whether it stands for bytes that were there.

    Example:
        >>> list(pieces_of("see data:image/gif;base64,R0lGOD== below"))[1][0][:31]
        '[bytes: image/gif, size 4, sha2'
    """
    if text[:5].lower() == "data:" and (whole := _of_url(text)) is not None:
        yield whole, True
        return
    if text.startswith(_MAGIC_TEXTS) and (whole := describe_base64(text, _SHORTEST_MAGIC)) is not None:
        yield whole, True
        return
    pieces = [(text, False)]
    for hints, pattern, describe in _BY_HINTS:
        if any(hint in text for hint in hints):
            pieces = _replaced(pieces, pattern, describe)
    if _has_pairs(text):
        pieces = _replaced(pieces, _PAIRS, _of_pairs)
    yield from _replaced(pieces, _RUN, _of_run)


def _has_runs(text: str) -> bool:
    # Whatever is so long without a blank holds one of these places, and the 64 characters before or behind it.
    for place in range(SHORTEST_RUN - 1, len(text), SHORTEST_RUN):
        if " " not in text[place : place + _STEP] or " " not in text[place - _STEP + 1 : place + 1]:
            return True
    return False


def _has_pairs(text: str) -> bool:
    return any(_AMONG_PAIRS.match(text, place) for place in range(SHORTEST_RUN // 2, len(text), SHORTEST_RUN // 2))


def _replaced(
    pieces: list[tuple[str, bool]], pattern: re.Pattern[str], describe: Callable[[re.Match[str]], str | None]
) -> list[tuple[str, bool]]:
    """Return *pieces* with what *pattern* finds in them replaced by its description, where it has one."""
    found: list[tuple[str, bool]] = []
    for text, is_bytes in pieces:
        done = 0
        for match in () if is_bytes else pattern.finditer(text):
            description = describe(match)
            if description is not None:
                found += (text[done : match.start()], False), (description, True)
                done = match.end()
        found.append((text[done:], is_bytes))
    return found


def describe_numbers(numbers: Sequence[object], *, known: bool) -> str | None:
    """Return what stands for *numbers* if they are bytes; `None` if they may be anything else.

    Args:
        numbers: A list of anything.
        known: Whether what is around it says that it is bytes; otherwise it has to begin as a file does.

    Example:
        >>> describe_numbers(b"%PDF-1.7" * 20, known=False)[:24]
        '[bytes: application/pdf,'
        >>> describe_numbers(range(200), known=False)
    """
    if len(numbers) <= FEWEST_NUMBERS or type(numbers[0]) is not int:
        return None
    try:
        if known or _type_of(bytes(cast("Sequence[int]", numbers[:16]))) != _UNKNOWN:
            return describe_bytes(bytes(cast("Sequence[int]", numbers)))
    except (TypeError, ValueError):  # no numbers, or others
        pass
    return None


def describe_base64(text: str, shortest: int = SHORTEST_KNOWN) -> str | None:
    """Return what stands for *text* if it is base64 as a whole; `None` if it is something else.

    Example:
        >>> describe_base64("It costs 12 EUR.")
    """
    if len(text) < shortest or _ONE.fullmatch(unwrapped := "".join(text.split())) is None:
        return None
    return describe_bytes(_decoded(unwrapped))


def _of_url(text: str) -> str | None:
    """Return what stands for a whole `data:` URL, however it is encoded."""
    head, comma, payload = text[5:].partition(",")
    if not comma or len(head) > 256 or any(char.isspace() for char in head):
        return None
    mime_type = head.partition(";")[0] or None
    if ";base64" in head.lower():
        payload = "".join(unquote(payload).split())
        return describe_bytes(_decoded(payload), mime_type) if not payload or _ONE.fullmatch(payload) else None
    return describe_bytes(unquote_to_bytes(payload), mime_type) if "/" in head else None


def _of_urls(match: re.Match[str]) -> str:
    if match["percent"] is not None:
        return describe_bytes(unquote_to_bytes(match["percent"]), match["kind"])
    return describe_bytes(_decoded(unquote(match["base64"])), match["type"])


def _of_file(match: re.Match[str]) -> str:
    return describe_bytes(_decoded(_unwrapped(match[0])))


def _of_pairs(match: re.Match[str]) -> str | None:
    digits = _NO_HEX.sub("", match[0])
    if len(digits) <= 2 * FEWEST_NUMBERS or digits.isdigit() or digits.isalpha():
        return None
    if match["between"] in ":-" and _LINES_OF_IDS.search(match[0]):  # addresses and fingerprints
        return None
    return describe_bytes(bytes.fromhex(digits))


def _of_dump(match: re.Match[str]) -> str | None:
    lines = [line for line in map(_DUMPED.match, match[0].splitlines()) if line is not None]
    if len(lines) < _FEWEST_LINES or int(lines[1][1], 16) - int(lines[0][1], 16) != _OF_DUMP:
        return None
    return describe_bytes(b"".join(bytes.fromhex("".join(line[2].split())[: 2 * _OF_DUMP]) for line in lines))


def _of_numbers(match: re.Match[str]) -> str | None:
    before = match.string[max(match.start() - 160, 0) : match.start() + 1]
    numbers = [int(number) for number in _NO_NUMBER.split(match["numbers"])]
    return describe_numbers(numbers, known=_OF_BUFFER.search(before) is not None)


def _of_run(match: re.Match[str]) -> str | None:
    """Return what stands for a run of letters and digits; `None` if it is more likely a word, a path or a number."""
    text = _unwrapped(match[0])
    if len(text) < SHORTEST_RUN:
        return None
    sample = text if len(text) <= 2 * _SAMPLE else text[:_SAMPLE] + text[-_SAMPLE:]
    # Ids and hashes stand in lines, too.
    line = _first_line(match[0])
    may_be_ids = text.isalnum() and (line in _OF_HASHES or line < _OF_LINE)
    if may_be_ids or sample.isdigit() or sample.isalpha():
        return None
    if _HEX.fullmatch(sample):
        return _of_hex(text)
    if sample in (sample.lower(), sample.upper()) or not any(digit in sample for digit in "0123456789"):
        return None
    if max(map(len, _SEPARATORS.split(sample))) < _LONGEST_WORD:
        return None
    return describe_bytes(_decoded(text))


def _unwrapped(run: str) -> str:
    for wrap in ("\\r", "\\n", "\r", "\n", " "):
        run = run.replace(wrap, "")
    return run.rstrip("=")


def _first_line(run: str) -> int:
    return min(len(run.partition(wrap)[0]) for wrap in ("\\r", "\\n", "\r", "\n", " "))


def _of_hex(text: str) -> str | None:
    try:
        return describe_bytes(bytes.fromhex(text))
    except ValueError:
        return None


def _decoded(text: str) -> bytes:
    text = text.rstrip("=").replace("-", "+").replace("_", "/")
    text = text[: len(text) - (len(text) % 4 == 1)]  # of a cut text one character says nothing
    try:
        return b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return text.encode("utf-8", "replace")


def _type_of(head: bytes) -> str:
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], _UNKNOWN)
    if head[4:8] == b"ftyp":
        return "video/mp4"
    return next((mime_type for magic, mime_type in _MAGIC.items() if head.startswith(magic)), _UNKNOWN)


_BY_HINTS: Final[tuple[tuple[tuple[str, ...], re.Pattern[str], Callable[[re.Match[str]], str | None]], ...]] = (
    (("data:", "DATA:", "ase64,", "ASE64,"), _URL, _of_urls),
    (_MAGIC_TEXTS, _FILE, _of_file),
    (("0000010 ", "0000010:"), _DUMP, _of_dump),
    (("[137,", "[255,", "Buffer"), _NUMBERS, _of_numbers),
)
"""Forms that are bytes for certain: texts of which one occurs in them, their pattern, and their description."""
