"""Responses: the events of their streams, fetches, and the tokens of those that work in the background.

Tokens are recorded once: by the first fetch that finds a response ended. A process that only fetches records none,
since the one that started the response may.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from otelier import names
from otelier.faults import on_fork, on_reset
from otelier.openai._telemetry import CallPoint
from otelier.openai.content._parts import output_message, text_part
from otelier.openai.content._responses import ASSISTANT, fetched_content, output_messages, responses_answer_content
from otelier.openai.reading._answer import (
    ERROR_REASON,
    UNFINISHED,
    add_model,
    add_text,
    failure_from,
    finish_reasons,
    responses_answer,
    responses_usage,
)
from otelier.openai.reading._fields import Arguments, Attributes, Facts, answer_of, facts_of, field_of, text_of
from otelier.openai.reading._request import API_RESPONSES
from otelier.telemetry import Failure, fit_text

_WATCHED: Final = frozenset(
    (
        "error",
        "response.completed",
        "response.created",
        "response.failed",
        "response.in_progress",
        "response.incomplete",
        "response.output_item.added",
        "response.output_item.done",
        "response.queued",
    )
)
# The client raises nothing for "error": https://github.com/openai/openai-python/issues/2487
_LAST: Final = frozenset(("error", "response.completed", "response.failed", "response.incomplete"))


class ResponsesChunks:
    """The events of a Responses stream; the last one holds all of it."""

    __slots__ = ("_compacted", "_content", "_failure", "_final", "_items", "_latest", "_text", "model")

    def __init__(self, *, content: bool) -> None:
        self.model: str | None = None
        self._content = content
        self._latest: Any = None  # as the last event had it that holds any; ids and settings are there from the first
        self._final: Any = None
        self._items: list[Any] = []
        self._text: list[str] = []
        self._failure: Failure | None = None
        self._compacted = False

    def observer(self) -> Callable[[Any], bool]:
        return self._see_content if self._content else self._see

    def _see(self, event: Any) -> bool:
        try:
            facts = event.__dict__
        except AttributeError:  # a type of the caller's own
            return False
        kind = facts.get("type")
        if kind is None:  # before 1.100 the event of a failure comes as the data of another
            event = field_of(event, "data")
            kind = field_of(event, "type")
        return type(kind) is str and kind in _WATCHED and self._watch(event, kind)

    def _see_content(self, event: Any) -> bool:
        """Keep what came as well, in case there is no last event."""
        facts = facts_of(event)
        kind = facts.get("type")
        if kind == "response.output_text.delta":
            self._text.append(text_of(facts.get("delta")))
            return False
        if kind == "response.output_item.done":
            self._items.append(facts.get("item"))
            self._text.clear()
        return self._see(event)

    def _watch(self, event: Any, kind: str) -> bool:
        # `field_of`: old clients parse an event they know in part as one of another kind, with the rest as extras.
        response = field_of(event, "response")
        if response is not None:
            self._latest = response
        if response is not None and not self.model:
            self.model = fit_text(field_of(response, "model"))
        if kind == "error":
            self._failure = failure_from(field_of(event, "code"), field_of(event, "message"))
        elif kind in _LAST:
            self._final = response
            if kind == "response.failed":
                self._failure = Failure(type=kind)
        elif field_of(field_of(event, "item"), "type") == "compaction":
            self._compacted = True
        return kind in _LAST

    def awaits_usage(self) -> bool:
        return self._final is None and self._failure is None

    def write_to(self, attributes: Attributes, point: CallPoint) -> Failure | None:
        add_model(self.model, attributes, point)
        if self._compacted:
            attributes[names.CONVERSATION_COMPACTED] = True
        if self._final is None:
            latest = answer_of(self._latest)
            add_text(names.RESPONSE_ID, latest.get("id"), attributes)
            remember_unrecorded(latest.get("id"))
            return self._failure
        failure = ended_answer(answer_of(self._final), attributes, point)
        # Only the event counts as failed: a completed response may carry the error of an attempt.
        return self._failure and (failure or self._failure)

    def content(self) -> Mapping[str, list[Any]]:
        if self._final is not None:
            return responses_answer_content(self._final)
        messages = output_messages(self._items)
        text = "".join(self._text)
        if text:
            messages.append(output_message(ASSISTANT, [text_part(text)], ERROR_REASON))
        return {names.OUTPUT_MESSAGES: messages}


def fetch_request(arguments: Arguments, attributes: Attributes) -> None:
    """Add the attributes of a fetch's arguments."""
    attributes[names.OPENAI_API_TYPE] = API_RESPONSES
    response_id, cursor = arguments.get("response_id"), arguments.get("starting_after")
    add_text(names.RESPONSE_ID, response_id, attributes)
    if isinstance(cursor, (int, str)):
        add_text(names.REQUEST_STREAM_CURSOR, str(cursor), attributes)


def fetch_answer(facts: Facts, attributes: Attributes, point: CallPoint) -> None:
    """Add the attributes of a fetched response; that it failed once is no failure to fetch it."""
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

    def write_to(self, attributes: Attributes, point: CallPoint) -> Failure | None:
        add_model(self.model, attributes, point)
        if self._final is not None:
            fetch_answer(answer_of(self._final), attributes, point)
        return self._failure

    def content(self) -> Mapping[str, list[Any]]:
        return {**fetched_content(self._latest), **super().content()}


MAX_UNRECORDED: Final = 4_096
"""Ids that are remembered; beyond that the oldest are forgotten, and their tokens are not recorded."""
_LONGEST_ID: Final = 1_024

_unrecorded: Final[OrderedDict[str, bool]] = OrderedDict()


def remember_unrecorded(response_id: Any) -> None:
    """Remember a response that this process started and whose tokens are not recorded yet."""
    if isinstance(response_id, str) and 0 < len(response_id) <= _LONGEST_ID:
        _unrecorded[response_id] = True
        if len(_unrecorded) > MAX_UNRECORDED:
            _unrecorded.popitem(last=False)


def created_answer(facts: Facts, attributes: Attributes, point: CallPoint) -> Failure | None:
    """Add the attributes of a response that a call created; return its failure, if it has one."""
    return ended_answer({**facts, "usage": None} if _is_at_work(facts) else facts, attributes, point)


def ended_answer(facts: Facts, attributes: Attributes, point: CallPoint) -> Failure | None:
    """Do the same for a response that is known to have ended."""
    if facts.get("usage") is None:
        remember_unrecorded(facts.get("id"))
    return responses_answer(facts, attributes, point)


def usage_once(facts: Facts, attributes: Attributes, point: CallPoint) -> None:
    """Add the tokens of a response that was fetched and ended, if this process started it and they are not recorded."""
    usage, response_id = facts.get("usage"), facts.get("id")
    if usage is None or not isinstance(response_id, str) or _is_at_work(facts):
        return
    if _unrecorded.pop(response_id, False):  # only one of many that fetch it at once
        responses_usage(usage, attributes, point)


def _is_at_work(facts: Facts) -> bool:
    """Tell whether a response has not ended; some servers count its tokens all the same, or send zeros."""
    return text_of(facts.get("status")) in UNFINISHED


@on_fork
@on_reset
def _forget() -> None:
    _unrecorded.clear()
