"""Fingerprints of a process: those of the last prompts are cached, and their number is bounded."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias, cast

from otelier.faults import on_fork, on_reset, warn_once
from otelier.identity._agent import AgentIdentity, agent_id_for
from otelier.identity._fingerprint import MAX_CHARS, exact_fingerprint, prepare, prompt_fingerprint

Fingerprint: TypeAlias = Callable[[str], "str | None"]

MAX_DISTINCT: Final = 200
"""Fingerprints that may name agents of one process; each is a value on metrics, and an agent in somebody's list."""
MAX_PROMPT_CHARS: Final = 10_000
"""Characters that a recipe of the user's own is given: ours reads fewer, and no more are hashed and kept."""
_KEPT_PROMPTS: Final = 256
_MAX_FINGERPRINT_CHARS: Final = 256
_SLOW_S: Final = 0.1
_MAX_SLOW: Final = 10
_EXACT: Final = "prompt.id:"
_OURS = re.compile("fp1:([0-9a-f]{8})[0-9a-f]{56}")
_MADE_NAME = re.compile("agent-[0-9a-f]{8}")


class _Fingerprinter:
    """The function that makes fingerprints of prompts, and those that came up so far."""

    def __init__(self) -> None:
        self.renew_lock()
        self.clear()

    def renew_lock(self) -> None:
        self.lock = threading.RLock()  # a signal's handler may come back to it

    def clear(self) -> None:
        self.use(prompt_fingerprint)
        self.seen: set[str] = set()

    def use(self, function: Fingerprint | None) -> None:
        self.function = function
        self.max_chars = MAX_CHARS if function is prompt_fingerprint else MAX_PROMPT_CHARS
        self.slow = 0

    def admits(self, fingerprint: str) -> bool:
        """Return whether *fingerprint* is one of the first that came up in this process."""
        with self.lock:
            if fingerprint not in self.seen:
                if len(self.seen) >= MAX_DISTINCT:
                    return False
                self.seen.add(fingerprint)
            return True


class _NestedError(Exception):
    """The user's recipe asks a model itself, and that call's prompt would be put to the recipe again."""


_fingerprinter = _Fingerprinter()
_asking = threading.local()


def use_fingerprint(function: Fingerprint | None) -> None:
    """Make *function* the recipe of fingerprints from now on; `None` switches them off."""
    if function is not _fingerprinter.function:
        _fingerprinter.use(function)
        _of_text.cache_clear()


def prepare_fingerprints() -> None:
    """Read what our own recipe needs now, and not within the first call to a model."""
    if _fingerprinter.function is prompt_fingerprint:
        prepare()


def fingerprint_of(prompt: str) -> str | None:
    """Return the fingerprint of a system prompt; `None` where there is none, or the process has too many.

    Only the first 3,000 characters are looked at and kept, 10,000 for a recipe of the user's own.
    """
    # Cut before the cache sees it: hashing and comparing 100,000 characters costs 18 µs, and keeping them memory.
    try:
        return _of_text(prompt[: _fingerprinter.max_chars])
    except _NestedError:
        return None


def fingerprint_of_id(prompt_id: str) -> str | None:
    """Return the fingerprint of a prompt that the provider stores, by the id it gave it: nothing in it is masked."""
    return fingerprint_of(_EXACT + prompt_id)


@functools.lru_cache(maxsize=_KEPT_PROMPTS)
def _of_text(text: str) -> str | None:
    function = _fingerprinter.function
    if function is None or not text.strip():
        return None
    if function is not prompt_fingerprint:
        found = _call_user_function(function, text)
    else:
        found = exact_fingerprint(text) if text.startswith(_EXACT) else function(text)
    if found is None or _fingerprinter.admits(found):
        return found
    warn_once(
        "identity.too_many_prompts",
        "More than %d different system prompts were fingerprinted: further ones are attributed to the process's "
        "own agent. Name agents with set_context(agent=...), or mask what varies with init(fingerprint=...).",
        MAX_DISTINCT,
    )
    return None


def _call_user_function(function: Fingerprint, text: str) -> str | None:
    if getattr(_asking, "here", False):
        raise _NestedError
    _asking.here = True
    began = time.perf_counter()
    try:
        found = cast("object", function(text))  # it is the user's
    except Exception as exc:
        warn_once(
            "identity.fingerprint_raised",
            "init(fingerprint=) raised %s: that prompt counts as having no fingerprint.",
            type(exc).__qualname__,
        )
        return None
    finally:
        _asking.here = False
        if time.perf_counter() - began > _SLOW_S:
            _count_slow_call(function)
    if found is None:
        return None
    if isinstance(found, str):
        found = str.__str__(found)  # a member of a str Enum is taken down to its text
        if len(found) <= _MAX_FINGERPRINT_CHARS and found.isprintable() and found.strip():
            return found
    warn_once(
        "identity.fingerprint_unusable",
        "init(fingerprint=) gave a %s that cannot be sent: that prompt counts as having no fingerprint. Return 1 to "
        "%d printable characters, or None.",
        type(found).__qualname__,
        _MAX_FINGERPRINT_CHARS,
    )
    return None


def _count_slow_call(function: Fingerprint) -> None:
    """Warn that *function* took long, and stop calling it after a few times: it runs inside the user's call."""
    warn_once(
        "identity.fingerprint_slow",
        "init(fingerprint=) took more than %d ms for one prompt, and the call to the model waits for it. After %d "
        "such prompts it is not asked any more.",
        _SLOW_S * 1000,
        _MAX_SLOW,
    )
    _fingerprinter.slow += 1
    if _fingerprinter.slow >= _MAX_SLOW and _fingerprinter.function is function:
        _fingerprinter.function = None
        warn_once("identity.fingerprint_off", "init(fingerprint=) was slow %d times: it is switched off.", _MAX_SLOW)


def is_name_of_prompt(name: str) -> bool:
    """Return whether *name* is one that `resolve_fingerprint` makes."""
    return _MADE_NAME.fullmatch(name) is not None


def resolve_fingerprint(fingerprint: str) -> AgentIdentity:
    """Return the agent that is known by its prompt only."""
    agent_id = agent_id_for(fingerprint)
    ours = _OURS.fullmatch(fingerprint)
    short = agent_id[:8] if ours is None else ours[1]
    return AgentIdentity(id=agent_id, name=f"agent-{short}", source="fingerprint", fingerprint=fingerprint)


@on_reset
def _forget() -> None:
    _fingerprinter.clear()
    _of_text.cache_clear()


on_fork(_fingerprinter.renew_lock)
