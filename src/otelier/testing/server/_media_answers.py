"""Answers that are no text: images of one pixel, silent speech, transcripts of it, and embeddings."""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from functools import cache
from typing import Any, Final, cast

from otelier.testing.server._exchanges import template
from otelier.testing.server._requests import Json, OpenAIRequest
from otelier.testing.server._turns import CREATED, Turn, pieces

PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""A PNG of one pixel, in base64."""
_TOKENS_PER_IMAGE = 272


def image_body(request: OpenAIRequest, turn: Turn) -> Json:
    """Return a whole answer: URLs from the `dall-e` models unless they are asked for the image itself."""
    count = int(request.asked.get("n") or 1)
    if not turn.model.startswith("dall-e"):
        data: list[Json] = [{"b64_json": PIXEL} for _ in range(count)]
        return {"created": CREATED, **_image_settings(request), "data": data, "usage": _image_usage(turn, count)}
    if request.asked.get("response_format") == "b64_json":
        return {"created": CREATED, "data": [{"b64_json": PIXEL} for _ in range(count)]}
    urls = (f"https://images.example.com/{turn.ids.next('img-', 24)}.png" for _ in range(count))
    return {"created": CREATED, "data": [{"revised_prompt": request.prompt, "url": url} for url in urls]}


def image_events(request: OpenAIRequest, turn: Turn) -> list[Json]:
    """Return the partial images that were asked for and the whole one, of each image."""
    kind = "image_edit" if request.path.endswith("/edits") else "image_generation"
    image: Json = {"b64_json": PIXEL, "created_at": CREATED, **_image_settings(request)}
    found: list[Json] = [
        {"type": f"{kind}.partial_image", **image, "partial_image_index": index}
        for index in range(int(request.asked.get("partial_images") or 0))
    ]
    found.append({"type": f"{kind}.completed", **image, "usage": _image_usage(turn, 1)})
    return [{"event": one["type"], "data": one} for one in found] * int(request.asked.get("n") or 1)


def _image_settings(request: OpenAIRequest) -> dict[str, Any]:
    usual = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}
    return {name: request.asked.get(name) or value for name, value in usual.items()}


def _image_usage(turn: Turn, count: int) -> Json:
    read, drawn = turn.usage["input_tokens"], _TOKENS_PER_IMAGE * count
    return {
        "input_tokens": read,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": read},
        "output_tokens": drawn,
        "output_tokens_details": {"image_tokens": drawn, "text_tokens": 0},
        "total_tokens": read + drawn,
    }


RATE: Final = 24_000
"""Samples per second of the speech."""
SPOKEN_S: Final = 0.1
"""Length in seconds."""
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
    read, written = turn.usage["input_tokens"], turn.usage["output_tokens"]
    usage = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
    return [
        {"data": {"type": "speech.audio.delta", "audio": audio}},
        {"data": {"type": "speech.audio.done", "usage": usage}},
    ]


def transcript_body(request: OpenAIRequest, turn: Turn) -> Json | str:
    """Return the transcript, in the form that was asked for."""
    written, form = turn.text or "", request.asked.get("response_format") or "json"
    if form == "text":
        return f"{written}\n"
    if form == "srt":
        return f"1\n00:00:00,000 --> 00:00:01,000\n{written}\n\n"
    if form == "vtt":
        return f"WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{written}\n\n"
    translated = request.path.endswith("/translations")
    if form == "verbose_json":
        task = "translate" if translated else "transcribe"
        return {"task": task, "language": "english", "duration": 1.0, "text": written, "segments": []}
    return {"text": written} if translated else {"text": written, "usage": _audio_usage(turn)}


def transcript_events(turn: Turn) -> list[Json]:
    """Return the transcript word by word, and then whole."""
    written = turn.text or ""
    found: list[Json] = [{"type": "transcript.text.delta", "delta": piece} for piece in pieces(written)]
    found.append({"type": "transcript.text.done", "text": written, "usage": _audio_usage(turn)})
    return [{"data": one} for one in found]


def _audio_usage(turn: Turn) -> Json:
    """Return what it took: `whisper-1` counts seconds, the others tokens."""
    if turn.model == "whisper-1":
        return {"type": "duration", "seconds": 1}
    read, written = turn.usage["input_tokens"], turn.usage["output_tokens"]
    return {
        "type": "tokens",
        "input_tokens": read,
        "input_token_details": {"audio_tokens": read, "text_tokens": 0},
        "output_tokens": written,
        "total_tokens": read + written,
    }


def embeddings_body(request: OpenAIRequest, turn: Turn) -> Json:
    """Return one vector for each input, of unit length and the same for the same input."""
    given: Any = request.asked.get("input") or ""
    # A list of numbers is one text in tokens.
    listed = cast("list[Any]", given) if isinstance(given, list) else [given]
    inputs = [listed] if listed and isinstance(listed[0], int) else listed
    size = int(request.asked.get("dimensions") or len(_recorded_vector()))
    as_text = request.asked.get("encoding_format") == "base64"
    tokens = turn.usage["input_tokens"]
    answer = template("embeddings")
    answer.update(
        data=[
            {"object": "embedding", "index": index, "embedding": _encode(_vector(one, size), as_text)}
            for index, one in enumerate(inputs)
        ],
        model=turn.model,
        usage={"prompt_tokens": tokens, "total_tokens": tokens},
    )
    return answer


@cache
def _recorded_vector() -> tuple[float, ...]:
    raw = base64.b64decode(template("embeddings")["data"][0]["embedding"])
    return struct.unpack(f"<{len(raw) // 4}f", raw)


def _vector(text: Any, size: int) -> list[float]:
    whole = _recorded_vector()
    start = zlib.crc32(json.dumps(text).encode()) % len(whole)
    turned = [whole[(start + index) % len(whole)] for index in range(size)]
    length = math.sqrt(sum(value * value for value in turned)) or 1.0
    return [value / length for value in turned]


def _encode(vector: list[float], as_text: bool) -> str | list[float]:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if as_text else vector
