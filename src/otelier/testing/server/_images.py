"""The shape of images: pictures of one pixel, as the newer models send them or by URL."""

from __future__ import annotations

from typing import Any, Final

from otelier.testing.server._requests import Json, OpenAIRequest
from otelier.testing.server._turns import Turn

CREATED: Final = 1731456000
PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
"""A PNG of one pixel, in base64."""
_TOKENS_PER_IMAGE = 272


def body(request: OpenAIRequest, turn: Turn) -> Json:
    """Return a whole answer: URLs from the `dall-e` models unless they are asked for the image itself."""
    count = int(request.asked.get("n") or 1)
    if not turn.model.startswith("dall-e"):
        data: list[Json] = [{"b64_json": PIXEL} for _ in range(count)]
        return {"created": CREATED, **_settings(request), "data": data, "usage": _usage(turn, count)}
    if request.asked.get("response_format") == "b64_json":
        return {"created": CREATED, "data": [{"b64_json": PIXEL} for _ in range(count)]}
    urls = (f"https://images.example.com/{turn.ids.next('img-', 24)}.png" for _ in range(count))
    return {"created": CREATED, "data": [{"revised_prompt": request.prompt, "url": url} for url in urls]}


def events(request: OpenAIRequest, turn: Turn) -> list[Json]:
    """Return the partial images that were asked for and the whole one, of each image."""
    kind = "image_edit" if request.path.endswith("/edits") else "image_generation"
    image: Json = {"b64_json": PIXEL, "created_at": CREATED, **_settings(request)}
    found: list[Json] = [
        {"type": f"{kind}.partial_image", **image, "partial_image_index": index}
        for index in range(int(request.asked.get("partial_images") or 0))
    ]
    found.append({"type": f"{kind}.completed", **image, "usage": _usage(turn, 1)})
    return [{"event": one["type"], "data": one} for one in found] * int(request.asked.get("n") or 1)


def _settings(request: OpenAIRequest) -> dict[str, Any]:
    usual = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}
    return {name: request.asked.get(name) or value for name, value in usual.items()}


def _usage(turn: Turn, count: int) -> Json:
    heard, drawn = turn.usage["input_tokens"], _TOKENS_PER_IMAGE * count
    return {
        "input_tokens": heard,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": heard},
        "output_tokens": drawn,
        "output_tokens_details": {"image_tokens": drawn, "text_tokens": 0},
        "total_tokens": heard + drawn,
    }
