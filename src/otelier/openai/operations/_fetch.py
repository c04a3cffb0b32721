"""Stored responses that are fetched: nothing is generated, so what they cost belongs to the call that made them.

Where that did not live to see it, as in the background, the first fetch that finds them ended tells it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otelier import names
from otelier.openai._point import CallPoint
from otelier.openai.content._responses import fetched_content
from otelier.openai.operations._responses_chunks import ResponsesChunks
from otelier.openai.operations._started import usage_once
from otelier.openai.reading._answer import add_model, add_text, finish_reasons
from otelier.openai.reading._fields import Arguments, Attributes, Facts, answer_of
from otelier.openai.reading._request import API_RESPONSES
from otelier.signals import Failure


def fetch_request(arguments: Arguments, attributes: Attributes) -> None:
    """Add what the arguments say."""
    attributes[names.OPENAI_API_TYPE] = API_RESPONSES
    response_id, cursor = arguments.get("response_id"), arguments.get("starting_after")
    add_text(names.RESPONSE_ID, response_id, attributes)
    if isinstance(cursor, (int, str)):
        add_text(names.REQUEST_STREAM_CURSOR, str(cursor), attributes)


def fetch_answer(facts: Facts, attributes: Attributes, point: CallPoint) -> None:
    """Add what the response says; that it failed once is no failure to fetch it."""
    add_model(facts.get("model"), attributes, point)
    add_text(names.RESPONSE_STATUS, facts.get("status"), attributes)
    add_text(names.OPENAI_RESPONSE_SERVICE_TIER, facts.get("service_tier"), attributes)
    reasons = finish_reasons(facts)
    if reasons:
        attributes[names.FINISH_REASONS] = reasons
    usage_once(facts, attributes, point)


class FetchChunks(ResponsesChunks):
    """The events of a response that is replayed."""

    __slots__ = ()

    def _watch(self, event: Any, kind: str) -> bool:
        last = super()._watch(event, kind)
        if kind != "error":  # what failed or was compacted did so in the call that is replayed
            self._failure = None
        return last

    def tell(self, attributes: Attributes, point: CallPoint) -> Failure | None:
        add_model(self.model, attributes, point)
        if self._final is not None:
            fetch_answer(answer_of(self._final), attributes, point)
        return self._failure

    def content(self) -> Mapping[str, list[Any]]:
        return {**fetched_content(self._latest), **super().content()}
