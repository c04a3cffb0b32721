"""The process's own name and environment on spans, where the resource does not carry them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import Span

from otelier import names
from otelier.identity import ProcessIdentity, process


class ProcessAttributes:
    """What says which process made a span; one for each processor, since each provider has its own resource."""

    __slots__ = ("_added", "_for")

    def __init__(self) -> None:
        self._for: ProcessIdentity | None = None
        self._added: dict[str, str] = {}

    def added(self, attributes: dict[str, Any], span: Span) -> dict[str, Any]:
        """Return *attributes* with the process's own, for spans without a local parent and GenAI spans.

        They are the same dict where nothing is added: before otelier is switched on, and where the resource
        says it already.
        """
        own = process()
        if own is None:
            return attributes
        if own is not self._for:
            self._added = _missing(own, span)
            self._for = own
        return {**attributes, **self._added} if self._added else attributes


def _missing(own: ProcessIdentity, span: Span) -> dict[str, str]:
    resource = getattr(span, "resource", None)
    known: Mapping[str, Any] = {} if resource is None else resource.attributes
    wanted = {names.MAIN_AGENT_NAME: own.app if own.named else None, names.ENVIRONMENT: own.env}
    return {key: value for key, value in wanted.items() if value is not None and known.get(key) != value}
