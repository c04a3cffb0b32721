"""Responses that this process started and whose tokens nobody has told yet, such as those that work in the background.

What they used is told once: by the first fetch that finds them ended. A process that only fetches tells nothing, since
the one that started them may.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from otelier.faults import on_fork, on_reset
from otelier.openai._point import CallPoint
from otelier.openai.reading._answer import UNFINISHED, responses_answer, responses_usage
from otelier.openai.reading._fields import Attributes, Facts, text_of
from otelier.telemetry import Failure

MAX_STARTED: Final = 4_096
"""Ids that are remembered; beyond that the oldest are forgotten, and what they used is not told."""
_LONGEST_ID: Final = 1_024

_started: Final[OrderedDict[str, bool]] = OrderedDict()


def started(response_id: Any) -> None:
    """Remember a response whose tokens are not told yet."""
    if isinstance(response_id, str) and 0 < len(response_id) <= _LONGEST_ID:
        _started[response_id] = True
        if len(_started) > MAX_STARTED:
            _started.popitem(last=False)


def created_answer(facts: Facts, attributes: Attributes, point: CallPoint) -> Failure | None:
    """Add what a response says that a call asked for; return what made it fail, if something did."""
    return ended_answer({**facts, "usage": None} if _is_at_work(facts) else facts, attributes, point)


def ended_answer(facts: Facts, attributes: Attributes, point: CallPoint) -> Failure | None:
    """Do the same for a response that is known to have ended."""
    if facts.get("usage") is None:
        started(facts.get("id"))
    return responses_answer(facts, attributes, point)


def usage_once(facts: Facts, attributes: Attributes, point: CallPoint) -> None:
    """Add the tokens of a response that was fetched and ended, if this process started it and nobody told them."""
    usage, response_id = facts.get("usage"), facts.get("id")
    if usage is None or not isinstance(response_id, str) or _is_at_work(facts):
        return
    if _started.pop(response_id, False):  # only one of many that fetch it at once
        responses_usage(usage, attributes, point)


def _is_at_work(facts: Facts) -> bool:
    """Tell whether a response has not ended; some servers count its tokens all the same, or send zeros."""
    return text_of(facts.get("status")) in UNFINISHED


@on_fork
@on_reset
def _forget() -> None:
    _started.clear()
