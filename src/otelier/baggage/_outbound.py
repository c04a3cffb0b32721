"""Outbound `baggage` header of one request, made at the last hop, where its real host is known.

See: https://www.w3.org/TR/baggage/
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, unquote_plus

from opentelemetry.context import Context, get_current
from opentelemetry.propagate import get_global_textmap

from otelier.baggage._policy import config
from otelier.faults import on_reset, report_fault, warn_once
from otelier.fields import SPAN, entries_of
from otelier.telemetry import CALL_SUPPRESSORS, suppressed

HEADER: Final = "baggage"
MAX_FIELD_BYTES: Final = 1_024
"""Longest value of one field, percent-encoded."""
MAX_OUR_BYTES: Final = 3_072
"""Longest text of all our members together, with their keys and commas."""
MAX_HEADER_BYTES: Final = 8_192
"""Longest header that OpenTelemetry reads: of a longer one it takes nothing at all."""
MAX_MEMBERS: Final = 180
"""Members that OpenTelemetry reads."""

Entries = tuple[tuple[str, str], ...]
"""Keys and values of ours."""
_MODEL_CLIENT: Final = "x-stainless-"
"""Beginning of headers that openai's client puts on each request, and so do other providers' clients of that make."""
Headers = Sequence[tuple[str, str]]
"""Names and values, the name as the client has it."""
_CLOSED: Final = frozenset[str]().union(*CALL_SUPPRESSORS.values())


def ours_here() -> Entries:
    """Return our entries of the current context."""
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
    kept = _headers_without_ours(headers, entries)
    added = _added(lowered, kept, entries) if inside else None
    if added is None:
        return None if kept == list(headers) else kept
    for index, (name, value) in enumerate(kept):
        if name.lower() == HEADER:
            kept[index] = (name, value + added)
            return kept
    return [*kept, (HEADER, added)]


def _is_meant_for_inside(lowered: Headers) -> bool:
    """Return whether no header shows that the request goes on to the outside.

    A gateway inside passes requests on by their `Host`. And what a model's client sends is for the model's
    provider, whichever of its endpoints is called: those that are not instrumented open no call that could be seen.
    """
    for name, value in lowered:
        if name.startswith(_MODEL_CLIENT) or (name == "host" and not config.policy.allows(_without_port(value))):
            return False
    return True


def _without_port(host: str) -> str:
    name, _, port = host.strip().rpartition(":")
    return name if name and (not port or port.isdecimal()) and (name[-1] == "]" or ":" not in name) else host.strip()


def _headers_without_ours(headers: Headers, entries: Entries) -> list[tuple[str, str]]:
    """Return *headers* less our members; a header that held nothing else goes as a whole."""
    kept: list[tuple[str, str]] = []
    for name, value in headers:
        left = _value_without_ours(value, entries) if name.lower() == HEADER else value
        if left or not value:
            kept.append((name, left))
    return kept


def _added(lowered: Headers, kept: Headers, entries: Entries) -> str | None:
    current = get_current()
    if not _may_carry(current) or not _carries_trace(current, lowered):
        return None
    return _to_append([value for name, value in kept if name.lower() == HEADER], entries)


def _may_carry(current: Context) -> bool:
    """Return whether no LLM call is open in *current*, and instrumentation is not suppressed there.

    Exporters send under suppression, and a model's host gets nothing even where it is inside.
    """
    return _CLOSED.isdisjoint(current) or not suppressed(current, _CLOSED)


def is_propagated() -> bool:
    """Return whether `baggage` is a configured propagator."""
    return HEADER in get_global_textmap().fields


def _carries_trace(current: Context, headers: Iterable[tuple[str, str]]) -> bool:
    """Return whether a request with *headers*, by lower-case name, is one that baggage is propagated with.

    That is so where `baggage` is a configured propagator, and one of the others has written the trace of *current*.
    Clients' instrumentations inject both or, for excluded hosts and without a valid span, neither. A header that
    the application merely passes on from somewhere else shows another trace.
    """
    span: Any = current.get(SPAN)
    trace_id = 0 if span is None else span.get_span_context().trace_id
    if not trace_id:
        return False
    written = f"{trace_id:032x}"
    # Looked for by value first: the names are a set that every propagator makes anew.
    found = [name for name, value in headers if written in value]
    if not found:
        return False
    fields = get_global_textmap().fields
    return HEADER in fields and not {field.lower() for field in fields if field != HEADER}.isdisjoint(found)


def _to_append(there: Sequence[str], entries: Entries) -> str | None:
    """Return what to append to the header's first value, comma included; `None` for nothing.

    Args:
        there: Values of the `baggage` headers that the request has: the application's, which stay as they are.
        entries: Ours. A key that the application uses itself is left to it.
    """
    if not there:
        return _alone(entries)
    keys = {_entry(member)[0] for member in _members(there)}
    ours = [member for member in _encoded(entries) if member.partition("=")[0] not in keys]
    size = sum(map(len, there)) + len(there) - 1
    count = len(list(_members(there)))
    fitting: list[str] = []
    for member in ours:
        taken = len(member) + (1 if size else 0)
        if size + taken > MAX_HEADER_BYTES or count >= MAX_MEMBERS:
            _warn(member.partition("=")[0], "the application's own baggage leaves no room for it")
            continue
        size += taken
        count += 1
        fitting.append(member)
    if not fitting:
        return None
    return ("," if there[0].strip() else "") + ",".join(fitting)


def _value_without_ours(value: str, entries: Entries) -> str:
    """Return a header's *value* without the members that are equal to one of *entries*.

    Only key and value together tell our member from the application's own, which stays, byte for byte.
    """
    ours = frozenset(entries)
    members = value.split(",")
    kept = [member for member in members if _entry(member) not in ours]
    return value if len(kept) == len(members) else ",".join(kept)


@lru_cache(maxsize=1024)
def _alone(entries: Entries) -> str | None:
    """Return the text for *entries* in a request that has no baggage yet, where all of it fits."""
    return ",".join(_encoded(entries)) or None


@lru_cache(maxsize=1024)
def _encoded(entries: Entries) -> Collection[str]:
    """Return the members for *entries* that are within our own limits."""
    members: list[str] = []
    size = -1  # the first has no comma
    for key, value in entries:
        # Everything but letters, digits and `-._~`: some read `+` as a space, and `;` begins a property.
        encoded = quote(value, safe="")
        member = f"{key}={encoded}"
        if len(encoded) > MAX_FIELD_BYTES:
            _warn(key, f"it takes more than {MAX_FIELD_BYTES} bytes percent-encoded")
        elif size + 1 + len(member) > MAX_OUR_BYTES:
            _warn(key, f"all fields together take more than {MAX_OUR_BYTES} bytes percent-encoded")
        else:
            size += 1 + len(member)
            members.append(member)
    return tuple(members)


def _members(values: Iterable[str]) -> Iterable[str]:
    return (member for value in values for member in value.split(",") if member.strip())


def _entry(member: str) -> tuple[str, str]:
    """Return key and value of a member as OpenTelemetry reads them, without its properties."""
    key, _, value = member.partition(";")[0].partition("=")
    return unquote_plus(key.strip()).strip(), unquote_plus(value.strip()).strip()


def _warn(key: str, why: str) -> None:
    warn_once(f"baggage.too_long.{key}", "%s stays in this process and is not sent on: %s.", key, why)


# After a reset warnings come again, so what does not fit is looked at again.
on_reset(_encoded.cache_clear)
on_reset(_alone.cache_clear)
