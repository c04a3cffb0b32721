"""The shape of audio: speech that is silent, and texts of what was said."""

from __future__ import annotations

import base64
import struct
from typing import Final

from otelier.testing.server._requests import Json, OpenAIRequest
from otelier.testing.server._turns import Turn, pieces

RATE: Final = 24_000
"""Samples per second of the speech."""
SPOKEN_S: Final = 0.1
"""How long it is."""
TYPES: Final = {
    "aac": "audio/aac", "flac": "audio/flac", "mp3": "audio/mpeg", "opus": "audio/opus", "pcm": "audio/pcm",
    "wav": "audio/wav",
}  # fmt: skip


def speech(request: OpenAIRequest) -> tuple[str, bytes]:
    """Return the media type and the bytes: silence as `wav` and `pcm`, and as empty frames of MPEG for the others."""
    form = str(request.asked.get("response_format") or "mp3")
    samples = b"\0\0" * int(RATE * SPOKEN_S)
    if form == "pcm":
        return TYPES[form], samples
    if form == "wav":
        size = len(samples)
        head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16,
                           b"data", size)  # fmt: skip
        return TYPES[form], head + samples
    return TYPES.get(form, TYPES["mp3"]), (b"\xff\xfb\x90\xc4" + b"\0" * 413) * 4


def speech_events(request: OpenAIRequest, turn: Turn) -> list[Json]:
    """Return speech in pieces, and what it took."""
    audio = base64.b64encode(speech(request)[1]).decode()
    heard, said = turn.usage["input_tokens"], turn.usage["output_tokens"]
    usage = {"input_tokens": heard, "output_tokens": said, "total_tokens": heard + said}
    return [
        {"data": {"type": "speech.audio.delta", "audio": audio}},
        {"data": {"type": "speech.audio.done", "usage": usage}},
    ]


def text(request: OpenAIRequest, turn: Turn) -> Json | str:
    """Return what was said, in the form that was asked for."""
    said, form = turn.text or "", request.asked.get("response_format") or "json"
    if form == "text":
        return f"{said}\n"
    if form == "srt":
        return f"1\n00:00:00,000 --> 00:00:01,000\n{said}\n\n"
    if form == "vtt":
        return f"WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{said}\n\n"
    translated = request.path.endswith("/translations")
    if form == "verbose_json":
        task = "translate" if translated else "transcribe"
        return {"task": task, "language": "english", "duration": 1.0, "text": said, "segments": []}
    return {"text": said} if translated else {"text": said, "usage": _usage(turn)}


def text_events(turn: Turn) -> list[Json]:
    """Return what was said, word by word and then whole."""
    said = turn.text or ""
    found: list[Json] = [{"type": "transcript.text.delta", "delta": piece} for piece in pieces(said)]
    found.append({"type": "transcript.text.done", "text": said, "usage": _usage(turn)})
    return [{"data": one} for one in found]


def _usage(turn: Turn) -> Json:
    """Return what it took: `whisper-1` counts seconds, the others tokens."""
    if turn.model == "whisper-1":
        return {"type": "duration", "seconds": 1}
    heard, said = turn.usage["input_tokens"], turn.usage["output_tokens"]
    return {
        "type": "tokens",
        "input_tokens": heard,
        "input_token_details": {"audio_tokens": heard, "text_tokens": 0},
        "output_tokens": said,
        "total_tokens": heard + said,
    }
