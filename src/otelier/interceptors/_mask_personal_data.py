"""Personal data and secrets that the model shall not see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from otelier.interceptors._context import InterceptContext
from otelier.interceptors._interceptor import Interceptor
from otelier.interceptors._phase import Phase
from otelier.interceptors._result import InterceptResult
from otelier.signals import redact


class MaskPersonalData(Interceptor):
    """Mask e-mail addresses, payment cards, IBANs, phone and US social security numbers, and secrets for the model.

    Each becomes `[REDACTED:email]`, `card`, `iban`, `phone`, `ssn` or a secret's kind, as on spans; what
    `init(redact=)` adds is masked as well. Names, postal addresses and other numbers are not found. Masked is the text
    of every message but tools' results, before each question; give it last, so that it sees what others put in.

    What the caller passed stays as it is: `context.query` has the whole text, so a tool can look up there what the
    model was not told. `AgentResult.messages` has the masked text. Subagents are asked in the model's words, and need
    a mask of their own for what their tools find. Content on spans is the matter of `OTELIER_REDACT_PERSONAL_DATA`.

    Args:
        tool_results: Whether tools' results are masked, too. A model can then not hand on to one tool what another
            found.

    Example:
        >>> import otelier
        >>> agent = otelier.Agent("triage", "gpt-4.1-nano", interceptors=[MaskPersonalData()])
        >>> agent.run("Write to bob@example.com").messages[0]["content"]
        'Write to [REDACTED:email]'
    """

    def __init__(self, *, tool_results: bool = False) -> None:
        self.tool_results = tool_results

    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult | None:
        """Mask what is about to be asked."""
        if phase is not Phase.PRE_THINK:
            return None
        return InterceptResult.modify_messages([self._masked(message) for message in context.messages])

    def _masked(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        if message.get("role") == "tool" and not self.tool_results:
            return message
        content = message.get("content")
        if isinstance(content, list):
            content = [_masked_part(part) for part in cast("list[object]", content)]
        return {**message, "content": redact(content, personal=True) if isinstance(content, str) else content}


def _masked_part(part: object) -> object:
    """Return a part of a message in several, such as a text beside an image."""
    if not isinstance(part, Mapping):
        return part
    known = cast("Mapping[str, object]", part)
    text = known.get("text")
    return {**known, "text": redact(text, personal=True)} if isinstance(text, str) else known
