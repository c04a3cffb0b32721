"""Outbound `baggage` header of one request, at the last hop, where its real host is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opentelemetry.context import get_current

from otelier.baggage._config import HEADER, carries_trace, config, is_open
from otelier.baggage._header import Entries, with_ours, without_ours
from otelier.faults import report_fault
from otelier.fields import entries_of

_MODEL_CLIENT: Final = "x-stainless-"
"""How headers begin that openai's client puts on each request, and so do other providers' of the same make."""
Headers = Sequence[tuple[str, str]]
"""Names and values, the name as the client has it."""


def ours_here() -> Entries:
    """Return our entries of the current context, nothing where otelier sends none."""
    if not config.on:
        return ()
    return entries_of(get_current())


def changed_headers(
    host: str | None, headers: Headers, entries: Entries, also: Sequence[str] = ()
) -> list[tuple[str, str]] | None:
    """Return the headers of a request to *host* as they shall leave; `None` for as they are.

    Inside, our *entries* are appended to the application's. Everywhere else, and where the host is not known, they
    are taken out again, should somebody have put them in.

    Args:
        host: The connection's.
        headers: Of the request.
        entries: Ours.
        also: Other hosts that the request names outside of its headers; each has to be inside, too.
    """
    try:
        return _changed(host, headers, entries, also)
    except Exception as exc:
        report_fault("baggage.outbound", exc)
        return None


def _changed(
    host: str | None, headers: Headers, entries: Entries, also: Sequence[str]
) -> list[tuple[str, str]] | None:  # fmt: skip
    lowered = [(name.lower(), value) for name, value in headers]
    allows = config.policy.allows
    inside = host is not None and allows(host) and all(map(allows, also)) and _is_meant_for_inside(lowered)
    there = any(name == HEADER for name, _ in lowered)
    if not inside and not there:
        return None
    if not there:
        added = _added(lowered, (), entries)
        return None if added is None else [*headers, (HEADER, added)]
    kept = _without_ours(headers, entries)
    added = _added(lowered, kept, entries) if inside else None
    if added is None:
        return None if kept == list(headers) else kept
    for index, (name, value) in enumerate(kept):
        if name.lower() == HEADER:
            kept[index] = (name, value + added)
            return kept
    return [*kept, (HEADER, added)]


def _is_meant_for_inside(lowered: Headers) -> bool:
    """Tell whether nothing in the headers says that the request goes on to the outside.

    A gateway inside passes on by the `Host` that it is told. And what a model's client sends is for the model's
    provider, whichever of its endpoints is called: those that are not instrumented open no call that could be seen.
    """
    for name, value in lowered:
        if name.startswith(_MODEL_CLIENT) or (name == "host" and not config.policy.allows(_without_port(value))):
            return False
    return True


def _without_port(host: str) -> str:
    name, _, port = host.strip().rpartition(":")
    return name if name and (not port or port.isdecimal()) and (name[-1] == "]" or ":" not in name) else host.strip()


def _without_ours(headers: Headers, entries: Entries) -> list[tuple[str, str]]:
    """Return *headers* less our members; a header that held nothing else goes as a whole."""
    kept: list[tuple[str, str]] = []
    for name, value in headers:
        left = without_ours(value, entries) if name.lower() == HEADER else value
        if left or not value:
            kept.append((name, left))
    return kept


def _added(lowered: Headers, kept: Headers, entries: Entries) -> str | None:
    current = get_current()
    if not is_open(current) or not carries_trace(current, lowered):
        return None
    return with_ours([value for name, value in kept if name.lower() == HEADER], entries)
