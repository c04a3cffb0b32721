"""Which agent a system prompt belongs to: fingerprints, kept for the prompts of late and bounded for the process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, TypeAlias

from otelier.identity._agent import AgentIdentity
from otelier.identity._fingerprint import MAX_CHARS, hashed, prompt_fingerprint
from otelier.identity._ids import agent_id_for
from otelier.signals import on_reset, warn_once

Fingerprint: TypeAlias = Callable[[str], "str | None"]

MAX_DISTINCT: Final = 200
"""Fingerprints that may name agents of one process; each is a value on metrics, and an agent in somebody's list."""
_KEPT_PROMPTS: Final = 256
_MAX_FINGERPRINT_CHARS: Final = 256
_EXACT: Final = "prompt.id:"


class _Recipe:
    """How prompts become fingerprints, and which came up so far."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.function: Fingerprint | None = prompt_fingerprint
        self.seen: set[str] = set()


_recipe = _Recipe()


def use_fingerprint(function: Fingerprint | None) -> None:
    """Make *function* the recipe of fingerprints from now on; `None` switches them off."""
    if function is not _recipe.function:
        _recipe.function = function
        _of_text.cache_clear()


def fingerprint_of(prompt: str) -> str | None:
    """Return the fingerprint of a system prompt; `None` where there is none, or the process has too many.

    Only the first 8,000 characters are looked at and kept.
    """
    # Cut before the cache sees it: hashing and comparing 100,000 characters costs 18 µs, and keeping them memory.
    return _of_text(prompt[:MAX_CHARS])


def fingerprint_of_id(prompt_id: str) -> str | None:
    """Return the fingerprint of a prompt that the provider stores, by the id it gave it: nothing in it is masked."""
    return _of_text(_EXACT + prompt_id[:MAX_CHARS])


@functools.lru_cache(maxsize=_KEPT_PROMPTS)
def _of_text(text: str) -> str | None:
    function = _recipe.function
    if function is None or not text.strip():
        return None
    found = hashed(text) if function is prompt_fingerprint and text.startswith(_EXACT) else _asked(function, text)
    if found is None or found in _recipe.seen:
        return found
    if len(_recipe.seen) >= MAX_DISTINCT:
        warn_once(
            "identity.too_many_prompts",
            "More than %d different system prompts were fingerprinted: further ones are attributed to the process's "
            "own agent. Name agents with set_context(agent=...), or mask what varies with init(fingerprint=...).",
            MAX_DISTINCT,
        )
        return None
    _recipe.seen.add(found)
    return found


def _asked(function: Fingerprint, text: str) -> str | None:
    try:
        found: object = function(text)
    except Exception as exc:
        warn_once(
            "identity.fingerprint_raised",
            "init(fingerprint=) raised %s: that prompt counts as having no fingerprint.",
            type(exc).__qualname__,
        )
        return None
    if found is None or (isinstance(found, str) and 0 < len(found) <= _MAX_FINGERPRINT_CHARS and found.isprintable()):
        return found
    warn_once(
        "identity.fingerprint_unusable",
        "init(fingerprint=) gave a %s that cannot be sent: that prompt counts as having no fingerprint. Return 1 to "
        "%d printable characters, or None.",
        type(found).__qualname__,
        _MAX_FINGERPRINT_CHARS,
    )
    return None


def resolve_fingerprint(fingerprint: str) -> AgentIdentity:
    """Return the agent that is known by its prompt only."""
    agent_id = agent_id_for(fingerprint)
    digest = fingerprint.removeprefix("fp1:")
    short = digest[:8] if digest != fingerprint else agent_id[:8]
    return AgentIdentity(id=agent_id, name=f"agent-{short}", source="fingerprint", fingerprint=fingerprint)


@on_reset
def _forget() -> None:
    _recipe.clear()
    _of_text.cache_clear()
