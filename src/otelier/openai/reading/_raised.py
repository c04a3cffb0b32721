"""The answer that the client raised over: it came and was paid for, so what it says is told.

Some errors of the client hold it (`LengthFinishReasonError.completion`). Others are pydantic's or JSON's and know of no
answer; then the frames that they went through do, since each of the client's ways to read one holds the response.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any, Final

from otelier.openai.reading._fields import facts_of
from otelier.openai.reading._raw import RAW_RESPONSE, data_in

_CLIENT: Final = "openai"
_RESPONSE: Final = "response"
_SELF: Final = "self"


def answer_behind(error: BaseException) -> tuple[Any, Any]:
    """Return the answer that *error* is raised over, and the headers it came with; each `None` where there is none."""
    response = next(_responses(error), None)
    answer = facts_of(error).get("completion")
    return data_in(response) if answer is None else answer, getattr(response, "headers", None)


def _responses(error: BaseException) -> Iterator[Any]:
    """Yield what *error* and its frames hold of HTTP responses that are no errors themselves."""
    held = [facts_of(error).get(_RESPONSE)]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__", "").partition(".")[0] == _CLIENT:
            found = frame.f_locals
            held += found.get(_RESPONSE), facts_of(found.get(_SELF)).get(RAW_RESPONSE)
    for response in reversed(held):  # the innermost has the answer to the last try
        if getattr(response, "is_success", False) is True:
            yield response
