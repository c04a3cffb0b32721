"""Texts of `baggage` headers: our members are added and removed, text in, text out.

See: https://www.w3.org/TR/baggage/
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_plus

from otelier.faults import on_reset, warn_once

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


def with_ours(there: Sequence[str], entries: Entries) -> str | None:
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


def without_ours(value: str, entries: Entries) -> str:
    """Return a header's *value* without the members that say the same as one of *entries*.

    Only key and value together tell our member from the application's own, which stays, byte for byte.
    """
    ours = frozenset(entries)
    members = value.split(",")
    kept = [member for member in members if _entry(member) not in ours]
    return value if len(kept) == len(members) else ",".join(kept)


@lru_cache(maxsize=1024)
def _alone(entries: Entries) -> str | None:
    """Return the text for *entries* in a request that has no baggage yet, where all that is encoded has room."""
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


# What does not fit is told again, as every warning is.
on_reset(_encoded.cache_clear)
on_reset(_alone.cache_clear)
