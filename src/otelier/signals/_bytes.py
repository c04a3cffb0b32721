"""Bytes in content: found wherever they stand, and replaced by their type, size and hash.

Signals are no store of files, and the hash still tells one file from another. Nothing here knows where a provider or a
tool puts an image: it is known by its form, as `bytes`, in a `data:` URL, or as base64 or hexadecimal text.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from hashlib import sha256
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

SHORTEST_RUN: Final = 256
"""Characters without a blank from which on text is looked at for base64; a key or a hash is shorter."""
SHORTEST_KNOWN: Final = 64
"""The same where the key says that it is bytes."""
_SHORTEST_MAGIC: Final = 32
"""The same where it begins as a file does."""
_SAMPLE: Final = 2_048
"""Characters of a run's beginning and end that tell what it is."""
_LONGEST_WORD: Final = 24
"""Letters and digits in a row of which base64 has more, and a path or a slug less."""
_STEP: Final = 64

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
"""How their base64 begins."""
_STARTS: Final = ("data:", *_MAGIC_TEXTS)
_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_UNKNOWN: Final = "application/octet-stream"

_ONE: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_WRAPPED: Final = r"(?:\\r)?(?:\\n|\r?\n)"
_HEAD: Final = r"[dD][aA][tT][aA]:(?P<type>[\w.+-]{1,64}/[\w.+-]{1,64})?(?:;[\w.=+-]{1,64}){0,4}?;[bB]ase64,"
# A run begins where nothing of its kind stands before it, so that a text is read once. A line that is shorter
# belongs to it if nothing stands behind it there.
_FOUND: Final = re.compile(
    rf"{_HEAD}(?P<url>[A-Za-z0-9+/_=%-]*)"
    rf"|(?<![A-Za-z0-9+/_-])(?P<run>[A-Za-z0-9+/_-]{{60,}}(?:{_WRAPPED}[A-Za-z0-9+/_-]{{60,}})*"
    rf"(?:{_WRAPPED}[A-Za-z0-9+/]{{1,59}}(?=[=\r\n\"')\]}}\\]|\Z))?={{0,2}})"
)
_SEPARATORS: Final = re.compile(r"[-_/+]")
_HEX: Final = re.compile(r"[0-9a-f]+|[0-9A-F]+")


def bytes_told(content: bytes | bytearray | memoryview, mime_type: str | None = None) -> str:
    """Return what stands for *content*.

    Example:
        >>> bytes_told(b"%PDF-1.7")[:34]
        '[bytes: application/pdf, size 8, s'
    """
    return f"[bytes: {mime_type or _type_of(bytes(content[:16]))}, size {len(content)}, {hash_of(content)}]"


def hash_of(content: bytes | bytearray | memoryview) -> str:
    """Return the hash that tells *content* from other bytes.

    Example:
        >>> hash_of(b"")[:14]
        'sha256:e3b0c44'
    """
    return f"sha256:{sha256(content).hexdigest()}"


def may_hold_bytes(text: str) -> bool:
    """Tell, without looking at each character, whether `pieces_of` could find bytes in *text*.

    Example:
        >>> may_hold_bytes("a b " * 1000), may_hold_bytes("x" * 1000)
        (False, True)
    """
    size = len(text)
    if size < SHORTEST_RUN:
        # A short text is bytes only where it says so itself.
        return ";base64," in text or text.startswith(_STARTS)
    # Whatever is so long without a blank holds one of these places, and the 64 characters before or behind it.
    for place in range(SHORTEST_RUN - 1, size, SHORTEST_RUN):
        if " " not in text[place : place + _STEP] or " " not in text[place - _STEP + 1 : place + 1]:
            return True
    return ";base64," in text or text.startswith("data:")


def pieces_of(text: str) -> Iterator[tuple[str, bool]]:
    """Yield *text* piece by piece, each with whether it stands for bytes that were there.

    Example:
        >>> list(pieces_of("see data:image/gif;base64,R0lGOD== below"))[1][0][:31]
        '[bytes: image/gif, size 4, sha2'
    """
    if text.startswith("data:") and (whole := _of_url(text)) is not None:
        yield whole, True
        return
    if text.startswith(_MAGIC_TEXTS) and (whole := told_of_base64(text, _SHORTEST_MAGIC)) is not None:
        yield whole, True
        return
    done = 0
    for match in _FOUND.finditer(text):
        run = match["run"]
        if run is None:
            told = bytes_told(_decoded(unquote(match["url"])), match["type"])
        elif (content := _content_of(run)) is None:
            continue
        else:
            told = bytes_told(content)
        yield text[done : match.start()], False
        yield told, True
        done = match.end()
    yield text[done:], False


def told_of_base64(text: str, shortest: int = SHORTEST_KNOWN) -> str | None:
    """Return what stands for *text* if it is base64 as a whole; `None` if it is something else.

    Example:
        >>> told_of_base64("It costs 12 EUR.")
    """
    if len(text) < shortest or _ONE.fullmatch(unwrapped := "".join(text.split())) is None:
        return None
    return bytes_told(_decoded(unwrapped))


def _of_url(text: str) -> str | None:
    """Return what stands for a whole `data:` URL, however it is encoded."""
    head, comma, payload = text[5:].partition(",")
    if not comma or len(head) > 256 or any(char.isspace() for char in head):
        return None
    mime_type = head.partition(";")[0] or None
    if ";base64" in head.lower():
        payload = "".join(unquote(payload).split())
        return bytes_told(_decoded(payload), mime_type) if not payload or _ONE.fullmatch(payload) else None
    return bytes_told(unquote_to_bytes(payload), mime_type) if "/" in head else None


def _content_of(run: str) -> bytes | None:
    """Return the bytes of a run of letters and digits; `None` if it is more likely a word, a path or a number."""
    text = run
    for wrap in ("\\r", "\\n", "\r", "\n"):
        text = text.replace(wrap, "")
    text = text.rstrip("=")
    if len(text) < SHORTEST_RUN and not (text.startswith(_MAGIC_TEXTS) and len(text) >= _SHORTEST_MAGIC):
        return None
    sample = text if len(text) <= 2 * _SAMPLE else text[:_SAMPLE] + text[-_SAMPLE:]
    if _HEX.fullmatch(sample):
        return _of_hex(text) if not (sample.isdigit() or sample.isalpha()) else None
    if sample in (sample.lower(), sample.upper()) or not any(digit in sample for digit in "0123456789"):
        return None
    if max(map(len, _SEPARATORS.split(sample))) < _LONGEST_WORD:
        return None
    return _decoded(text)


def _of_hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
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
