"""Raw responses, which hold an answer unread: how they are known, asked for and read."""

from __future__ import annotations

import json
from typing import Any, Final

from otelier.openai.reading._fields import Arguments, facts_of, is_mapping

RAW_RESPONSE: Final = "http_response"
"""Field that tells a raw response from an answer."""
_RAW_HEADER: Final = "x-stainless-raw-response"


def is_left_to_caller(arguments: Arguments) -> bool:
    """Tell whether the caller reads the body of the answer, as `with_streaming_response` lets them."""
    headers = arguments.get("extra_headers")
    named = headers.items() if is_mapping(headers) else ()
    return any(str(name).lower() == _RAW_HEADER and value == "stream" for name, value in named)


def answer_in(raw: Any) -> Any:
    """Return the answer in a raw response; as plain data where the caller's own model of it does not fit."""
    try:
        return raw.parse()  # parsed once, and kept by the response for the caller
    except Exception:  # the caller will see
        return data_in(facts_of(raw).get(RAW_RESPONSE))


def data_in(response: Any) -> Any:
    """Return the JSON of an HTTP response whose body was read; `None` for anything else, such as a proxy's HTML."""
    try:
        return json.loads(response.content)
    except Exception:
        return None
