"""The shape of embeddings: the recorded vector, turned to a different direction for each text."""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from functools import cache
from typing import Any, cast

from otelier.testing.server._exchanges import template
from otelier.testing.server._requests import Json, OpenAIRequest
from otelier.testing.server._turns import Turn


def body(request: OpenAIRequest, turn: Turn) -> Json:
    """Return one vector for each input, of unit length and the same for the same input."""
    given: Any = request.asked.get("input") or ""
    # A list of numbers is one text in tokens.
    listed = cast("list[Any]", given) if isinstance(given, list) else [given]
    inputs = [listed] if listed and isinstance(listed[0], int) else listed
    size = int(request.asked.get("dimensions") or len(_recorded()))
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
def _recorded() -> tuple[float, ...]:
    raw = base64.b64decode(template("embeddings")["data"][0]["embedding"])
    return struct.unpack(f"<{len(raw) // 4}f", raw)


def _vector(text: Any, size: int) -> list[float]:
    whole = _recorded()
    start = zlib.crc32(json.dumps(text).encode()) % len(whole)
    turned = [whole[(start + index) % len(whole)] for index in range(size)]
    length = math.sqrt(sum(value * value for value in turned)) or 1.0
    return [value / length for value in turned]


def _encode(vector: list[float], as_text: bool) -> str | list[float]:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if as_text else vector
