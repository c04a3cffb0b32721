"""Answers, read as span attributes and for the metric point of their call; content is left out."""

from __future__ import annotations

import re
from typing import Any, Final, cast

from otelier import names
from otelier.openai._telemetry import CallPoint
from otelier.openai.reading._fields import (
    MAX_NUMBER,
    MAX_TEXTS,
    Attributes,
    Facts,
    facts_of,
    field_of,
    fit_count,
    has_compaction,
    items_of,
    text_of,
)
from otelier.redaction import redact
from otelier.telemetry import Failure, fit_text

ERROR_REASON: Final = "error"
"""Finish reason of a choice that has none."""
UNFINISHED: Final = frozenset(("queued", "in_progress"))
"""States of a response that still works, as in the background."""
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_BYTES_PER_NUMBER = 4
_SERVED_MODEL = "x-ms-served-model"

# What a call of a tool that the client runs is in a Responses answer, and the states in which the model finished it.
_CLIENT_CALLS: Final = frozenset(
    ("apply_patch_call", "computer_call", "custom_tool_call", "function_call", "local_shell_call")
)
_ENDED = ("completed", "incomplete")
_BROKEN = frozenset(("failed", "cancelled", "incomplete"))
_INCOMPLETE = {"max_output_tokens": "length", "content_filter": "content_filter"}


def chat_answer(facts: Facts, attributes: Attributes, point: CallPoint) -> Failure | None:
    """Add the attributes of a chat completion; return its failure, which some servers send with status 200."""
    get = facts.get
    _add_model_and_id(get("model"), get("id"), attributes, point)
    found: Any = get("choices")
    choices = cast("list[Any]", found) if type(found) is list else []
    if choices:
        attributes[names.FINISH_REASONS] = tuple(
            [finish_reason_of(facts_of(choice).get("finish_reason")) for choice in choices[:MAX_TEXTS]]
        )
    extra: Attributes = {}
    tier, fingerprint = fit_text(get("service_tier")), fit_text(get("system_fingerprint"))
    if tier is not None:
        extra[names.OPENAI_RESPONSE_SERVICE_TIER] = attributes[names.OPENAI_RESPONSE_SERVICE_TIER] = tier
    if fingerprint is not None:
        extra[names.OPENAI_SYSTEM_FINGERPRINT] = attributes[names.OPENAI_SYSTEM_FINGERPRINT] = fingerprint
    if extra:
        point.extra = extra
    usage = get("usage")
    if usage is not None:
        chat_usage(usage, attributes, point)
    return failure_in(facts) if get("error") else None


def finish_reason_of(reason: Any) -> str:
    """Return a choice's finish reason; what is no text counts as none."""
    return fit_text(reason) or ERROR_REASON


def chat_usage(usage: Any, attributes: Attributes, point: CallPoint) -> None:
    """Add the tokens of a chat completion."""
    get = facts_of(usage).get
    add_tokens(get("prompt_tokens"), get("completion_tokens"), attributes, point)
    # Zeros are left out, as in the official instrumentation.
    details = get("prompt_tokens_details")
    if details is not None:
        found = facts_of(details)
        if found.get("cached_tokens"):
            add_count(names.CACHE_READ_TOKENS, found["cached_tokens"], attributes)
        if found.get("audio_tokens"):
            add_count(names.AUDIO_INPUT_TOKENS, found["audio_tokens"], attributes)
        if found.get("cache_write_tokens", True):
            add_count(names.CACHE_WRITE_TOKENS, _newer_field(details, found, "cache_write_tokens"), attributes)
    details = get("completion_tokens_details")
    if details is not None:
        found = facts_of(details)
        if found.get("reasoning_tokens"):
            add_count(names.REASONING_TOKENS, found["reasoning_tokens"], attributes)
        if found.get("audio_tokens"):
            add_count(names.AUDIO_OUTPUT_TOKENS, found["audio_tokens"], attributes)


def responses_answer(facts: Facts, attributes: Attributes, point: CallPoint) -> Failure | None:
    """Add the attributes of a response; return its failure, if it has one."""
    get = facts.get
    _add_model_and_id(get("model"), get("id"), attributes, point)
    add_text(names.OPENAI_RESPONSE_SERVICE_TIER, get("service_tier"), attributes)
    usage = get("usage")
    if usage is not None:
        responses_usage(usage, attributes, point)
    reasons = finish_reasons(facts)
    if reasons:
        attributes[names.FINISH_REASONS] = reasons
    if has_compaction(get("output")):
        attributes[names.CONVERSATION_COMPACTED] = True
    return failure_in(facts)


def failure_in(facts: Facts) -> Failure | None:
    """Return the failure that an answer reports; `None` where it reports none."""
    error = facts.get("error")
    if not error:
        return None
    problem = facts_of(error)
    return failure_from(problem.get("code") or problem.get("type"), problem.get("message"))


def failure_from(code: Any, message: Any) -> Failure:
    """Return a failure of a provider's *code*, `_OTHER` where that is none, and its *message*, if that is text."""
    text = str(code) if isinstance(code, (str, int)) else ""
    is_code = _CODE.fullmatch(text) is not None and redact(text) == text
    kind = text if is_code else names.OTHER if code else ERROR_REASON
    return Failure(type=kind, message=message if isinstance(message, str) else None)


def embeddings_answer(facts: Facts, attributes: Attributes, point: CallPoint) -> None:
    """Add the attributes of an embeddings answer."""
    get = facts.get
    add_model(get("model"), attributes, point)
    data = items_of(get("data"))
    if data:
        size = _dimensions(facts_of(data[0]).get("embedding"))
        if size:
            attributes[names.EMBEDDING_DIMENSIONS] = size
    usage = get("usage")
    if usage is not None:
        add_tokens(facts_of(usage).get("prompt_tokens"), None, attributes, point)


def add_served_model(headers: Any, attributes: Attributes, point: CallPoint) -> None:
    """Add the model that really answered, which Azure names in a header."""
    model = headers.get(_SERVED_MODEL)
    if isinstance(model, str) and model.strip():
        add_model(model, attributes, point)


def finish_reasons(facts: Facts) -> tuple[str, ...]:
    """Return why a response ended: one reason for what broke it off, else each kind of its items once."""
    status = text_of(facts.get("status"))
    whole = reason_of_status(status, facts_of(facts.get("incomplete_details")).get("reason"))
    if status in UNFINISHED:
        return ()
    reasons: dict[str, None] = {}
    if status not in _BROKEN:
        for item in items_of(facts.get("output")):
            reason = _item_reason(item)
            if reason is not None:
                reasons[reason] = None
    return tuple(reasons) or ((whole,) if whole else ())  # words of our own, but for why it is incomplete


def reason_of_status(status: Any, why: Any = None) -> str | None:
    """Return the finish reason that a status stands for; `None` while there is none."""
    if status == "completed":
        return "stop"
    if status in ("failed", "cancelled"):
        return ERROR_REASON
    if status == "incomplete":
        known = _INCOMPLETE.get(why) if isinstance(why, str) else None
        return known or fit_text(why) or status
    return None


def is_client_call(item: Any, kind: Any) -> bool:
    """Tell whether an *item* of that *kind* calls a tool that the client runs."""
    if kind == "shell_call":
        return field_of(field_of(item, "environment"), "type") != "container_reference"
    if kind == "tool_search_call":
        return field_of(item, "execution") == "client"
    return isinstance(kind, str) and kind in _CLIENT_CALLS


def is_ended_call(item: Any, kind: Any) -> bool:
    """Tell whether an *item* of that *kind* is such a call, and the model finished it."""
    if not is_client_call(item, kind):
        return False
    status = field_of(item, "status")
    return status is None or status in _ENDED


def _item_reason(item: Any) -> str | None:
    found = facts_of(item)
    kind = found.get("type")
    if kind == "message":
        return reason_of_status(found.get("status"))
    return "tool_calls" if is_ended_call(item, kind) else None


def _add_model_and_id(model: Any, answer_id: Any, attributes: Attributes, point: CallPoint) -> None:
    # Not by the functions below: each that every call passes is 0.1 us.
    text = fit_text(model)
    if text is not None:
        point.model = attributes[names.RESPONSE_MODEL] = text
    text = fit_text(answer_id)
    if text is not None:
        attributes[names.RESPONSE_ID] = text


def add_model(model: Any, attributes: Attributes, point: CallPoint) -> None:
    """Add the model that answered, where the answer names it."""
    text = fit_text(model)
    if text is not None:
        point.model = attributes[names.RESPONSE_MODEL] = text


def add_text(attribute: str, value: Any, attributes: Attributes) -> None:
    """Add a name or an id that the provider chose, if it is one."""
    text = fit_text(value)
    if text is not None:
        attributes[attribute] = text


def add_tokens(read: Any, written: Any, attributes: Attributes, point: CallPoint) -> None:
    """Add the numbers of tokens read and written, each where the answer has it."""
    if type(read) is int and 0 <= read <= MAX_NUMBER:
        point.input_tokens = attributes[names.INPUT_TOKENS] = read
    if type(written) is int and 0 <= written <= MAX_NUMBER:
        point.output_tokens = attributes[names.OUTPUT_TOKENS] = written


def add_count(attribute: str, count: Any, attributes: Attributes) -> None:
    """Add a count of something, unless there was none."""
    known = fit_count(count)
    if known:
        attributes[attribute] = known


def _newer_field(model: Any, found: Facts, name: str) -> Any:
    """Return a field that old clients do not know: they keep it with the extras."""
    if name in found:
        return found[name]
    extras: Any = getattr(model, "__pydantic_extra__", None)
    return extras.get(name) if extras else None


def responses_usage(usage: Any, attributes: Attributes, point: CallPoint) -> None:
    """Add the tokens of a response."""
    get = facts_of(usage).get
    add_tokens(get("input_tokens"), get("output_tokens"), attributes, point)
    details = get("input_tokens_details")
    if details is not None:
        found = facts_of(details)
        if found.get("cached_tokens"):
            add_count(names.CACHE_READ_TOKENS, found["cached_tokens"], attributes)
        written = _newer_field(details, found, "cache_write_tokens")
        if written is None:
            written = _newer_field(details, found, "cache_creation_input_tokens")
        if written:
            add_count(names.CACHE_WRITE_TOKENS, written, attributes)
    details = get("output_tokens_details")
    if details is not None and facts_of(details).get("reasoning_tokens"):
        add_count(names.REASONING_TOKENS, facts_of(details)["reasoning_tokens"], attributes)


def _dimensions(embedding: Any) -> int:
    """Return how many numbers an embedding has; as base64 it is text of four bytes each."""
    if isinstance(embedding, str):
        return (len(embedding) * 3 // 4 - embedding.count("=", -2)) // _BYTES_PER_NUMBER
    return len(items_of(embedding))
