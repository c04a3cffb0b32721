"""Raw threads: what carries a context into one carries a lease.

OpenTelemetry's threading instrumentation, and the interpreter where `sys.flags.thread_inherit_context` is set, take the
context where a thread is started. Where neither is on nothing is taken, and this changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from opentelemetry.context import Context, attach, get_current

from otelier.fields._births import MARK
from otelier.fields._contexts import leased, without_fields
from otelier.fields._leases import Lease
from otelier.fields._slots import FIELDS, SPAN
from otelier.signals import Patches, PatchPoint, report_fault

_POOLS = ("concurrent.futures.thread", "concurrent.futures.process", "multiprocessing.pool")
"""Modules whose threads serve whoever comes: what they run has the context that came with it."""


def _start(wrapped: Callable[..., Any], thread: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Around `Thread.start`, in the thread that starts another one."""
    current = get_current()
    try:
        inside = _for_thread(current, thread)
        if inside is not current:
            # Whoever patched `start` before us, or above us, has taken the context already and keeps it there.
            members = cast("dict[str, Any]", vars(thread))
            for name, value in tuple(members.items()):
                if value is current:
                    setattr(thread, name, inside)
    except Exception as exc:
        report_fault("fields.thread", exc)
        inside = current
    if inside is current:
        return wrapped(*args, **kwargs)
    attach(inside)
    try:
        return wrapped(*args, **kwargs)
    finally:
        attach(current)


def _for_thread(current: Context, thread: Any) -> Context:
    state, span = current.get(FIELDS), current.get(SPAN)
    if state is None and getattr(span, MARK, None) is None:
        return current
    if getattr(getattr(thread, "_target", None), "__module__", None) in _POOLS or type(thread).__module__ in _POOLS:
        return without_fields(current)
    is_leased_alone = type(state) is Lease and state.own is None
    return current if is_leased_alone else leased(current, Lease.of(current))


# OpenTelemetry's instrumentation gives `Timer` a `start` of its own, which may lead past that of its base.
_STARTS = Patches(
    (PatchPoint("threading", owner, "start", _start) for owner in ("Thread", "Timer")), place="fields.threads"
)


def lease_to_threads() -> None:
    """Let a raw thread that inherits fields have them only while what they were set in is open."""
    _STARTS.apply()


def stop_leasing() -> None:
    """Take the patches out again."""
    _STARTS.remove()
