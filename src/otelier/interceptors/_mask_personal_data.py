"""`MaskPersonalData`: an interceptor that hides personal data and secrets from the model."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from itertools import compress
from typing import Any, cast

from otelier.interceptors._interceptor import InterceptContext, Interceptor, InterceptResult, Phase
from otelier.redaction import MOST_ON_A_LOOP, redact
from otelier.telemetry import in_thread


class MaskPersonalData(Interceptor):
    """Mask e-mail addresses, payment cards, IBANs, phone and US social security numbers, and secrets for the model.

    Each is replaced by `[REDACTED:email]`, `card`, `iban`, `phone`, `ssn` or the kind of secret, as on spans; patterns
    of `init(redact=)` are masked too. Names, postal addresses and other numbers are not found. The text of every
    message is masked before each model call, except for tool results. Put it last, so that no later interceptor adds
    unmasked text.

    The caller's objects stay unchanged: `context.query` has the unmasked text, so a tool can read there what the model
    does not see. `AgentResult.messages` has the masked text. Subagents receive the model's masked words, but need
    their own `MaskPersonalData` for their tools' results. `OTELIER_REDACT_PERSONAL_DATA` masks content on spans.

    Args:
        tool_results: Whether tool results are masked too. A model can then not pass data that one tool found to
            another.

    Example:
        >>> import otelier
        >>> agent = otelier.Agent("triage", "gpt-4.1-nano", interceptors=[MaskPersonalData()])
        >>> agent.run("Write to bob@example.com").messages[0]["content"]
        'Write to [REDACTED:email]'
    """

    def __init__(self, *, tool_results: bool = False) -> None:
        self.tool_results = tool_results

    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult | None:
        """Mask the messages of the next model call."""
        if phase is not Phase.PRE_THINK:
            return None
        masked: dict[str, str] = context.state.setdefault(self, {})
        looked_at = [self.tool_results or one.get("role") != "tool" for one in context.messages]
        new = {
            text
            for one in compress(context.messages, looked_at)
            for text in _texts_in_message(one)
            if text not in masked
        }
        await _learn(new, masked)
        messages = [_masked(one, masked) if mine else one for one, mine in zip(context.messages, looked_at)]
        if all(map(operator.is_, messages, context.messages)):
            return None
        return InterceptResult.modify_messages(messages)


async def _learn(texts: set[str], masked: dict[str, str]) -> None:
    """Add to *masked* what becomes of *texts*, and that this stays as it is: a run's texts are looked at once."""

    def work() -> dict[str, str]:
        return {text: redact(text, personal=True) for text in texts}

    is_long = sum(map(len, texts)) > MOST_ON_A_LOOP
    found = await in_thread(work, "otelier-mask") if is_long else work()
    masked.update({text: text for text in found.values()})
    masked.update(found)


def _texts_in_message(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of a message, or those of its parts, such as one beside an image."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (text for part in cast("list[object]", content) if (text := _text_in(part)) is not None)


def _text_in(part: object) -> str | None:
    text = cast("Mapping[str, object]", part).get("text") if isinstance(part, Mapping) else None
    return text if isinstance(text, str) else None


def _masked(message: Mapping[str, Any], masked: Mapping[str, str]) -> Mapping[str, Any]:
    """Return *message* with its texts as *masked* has them; itself where that changes nothing."""
    if all(masked[text] == text for text in _texts_in_message(message)):
        return message
    content = message["content"]
    if isinstance(content, str):
        return {**message, "content": masked[content]}
    return {**message, "content": [_masked_part(part, masked) for part in content]}


def _masked_part(part: Any, masked: Mapping[str, str]) -> object:
    text = _text_in(part)
    return part if text is None else {**part, "text": masked[text]}
