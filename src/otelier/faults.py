"""The guard: faults of otelier itself are logged once, counted, and never reach the program.

The context rooms import this module, so it loads no more than the standard library; the metrics API costs 12 ms
more and is needed only when there is something to count.
"""

from __future__ import annotations

import logging
import os
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from otelier import names
from otelier.errors import SettingError
from otelier.settings import Setting

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, MeterProvider


T = TypeVar("T")
logger = logging.getLogger("otelier")

# What is kept per process has a bound. Places are literals in our code, and keys of warnings are literals or end with
# one of few names: of a field, a setting, an attribute, a class of contexts. A key that ended with anything of which
# there may be many, such as the class of an exception, would use up the bound and silence all later warnings.
MAX_PLACES = 64
MAX_LOGGED = 256
OTHER_PLACE = "other"

_logged: dict[tuple[str, type[BaseException]], object] = {}
_places: set[str] = set()
_warned: dict[str, object] = {}
_resets: list[Callable[[], object]] = []
_busy = threading.local()
_raising = False
_counter: Counter | None = None
_counted_by: MeterProvider | None = None


def report_fault(place: str, exc: BaseException) -> None:
    """Log and count a fault that otelier caught in its own work; never raises.

    The first fault of each (*place*, exception type) is logged through logger `otelier`, with the frames of its
    traceback but without the exception's message, which may hold a prompt or an id; that of a `SettingError` is our own
    and shows none. Each one counts in `otelier.internal.errors`. While `raise_faults(True)` holds, *exc* is raised
    again instead.

    Args:
        place: Where it was caught: a literal such as `processors.on_start`, never a value of the user's.
        exc: What was caught.

    Example:
        >>> raise_faults(False)  # as it is outside our own tests
        >>> try:
        ...     work = {}["missing"]
        ... except Exception as exc:
        ...     report_fault("docs.example", exc)
    """
    if _raising:
        raise exc
    if getattr(_busy, "here", False):
        return  # a log handler or a metric reader failed while it was told of a fault: end it here
    _busy.here = True
    try:
        _log_fault(place, exc)
    except Exception:  # there is nowhere left to report to
        pass
    finally:
        _busy.here = False
    count_fault(place)


def count_fault(place: str) -> None:
    """Count in `otelier.internal.errors` what went wrong at *place*, and was told in another way; never raises.

    Example:
        >>> count_fault("docs.example")
    """
    if getattr(_busy, "here", False):
        return
    _busy.here = True
    try:
        _count_fault(place)
    except Exception:
        pass
    finally:
        _busy.here = False


def count_faults_by(provider: MeterProvider | None) -> None:
    """Count faults with *provider* from now on; `None` is the global one.

    Example:
        >>> count_faults_by(None)
    """
    global _counter, _counted_by
    _counted_by = provider
    _counter = None


def raise_faults(on: bool) -> None:
    """Let `report_fault` raise what it is given; our own tests switch this on, so that no fault stays unseen.

    Example:
        >>> raise_faults(False)
    """
    global _raising
    _raising = on


def warn_once(key: str, message: str, *args: object) -> None:
    """Log one WARNING through logger `otelier` per process and *key*; never raises.

    Args:
        key: Names the warning, not its values; beyond 256 keys nothing more is logged.
        message: Text with `%` placeholders for *args*. Neither may hold content, secrets or ids of users.

    Example:
        >>> warn_once("docs.example", "%s gave way to the default.", "OTELIER_EXAMPLE")
    """
    mark = object()
    if len(_warned) >= MAX_LOGGED or _warned.setdefault(key, mark) is not mark:
        return
    try:
        logger.warning(message, *args)
    except Exception:  # a broken log handler is not the caller's trouble
        pass


def on_reset(callback: Callable[[], T]) -> Callable[[], T]:
    """Register *callback* to undo a room's process state, and return it, so that it can be a decorator.

    Example:
        >>> seen = {"alice"}
        >>> forget = on_reset(seen.clear)
        >>> run_resets()
        >>> seen
        set()
    """
    _resets.append(callback)
    return callback


def on_fork(callback: Callable[[], T]) -> Callable[[], T]:
    """Register *callback* to run in each child after a fork, and return it, so that it can be a decorator.

    A lock of ours that another thread holds at the fork is held for ever in the child, which has no such thread: the
    callback puts a new one in its place.

    Example:
        >>> import threading
        >>> lock = threading.Lock()
        >>> @on_fork
        ... def renew_lock() -> None:
        ...     global lock
        ...     lock = threading.Lock()
    """
    if hasattr(os, "register_at_fork"):  # some systems cannot fork
        os.register_at_fork(after_in_child=callback)
    return callback


def run_resets() -> None:
    """Undo the process state of every room, the youngest registration first; `otelier.testing.reset` calls it.

    Example:
        >>> run_resets()
    """
    for callback in reversed(_resets):
        callback()


def _log_fault(place: str, exc: BaseException) -> None:
    key = (place, type(exc))
    mark = object()
    if len(_logged) >= MAX_LOGGED or _logged.setdefault(key, mark) is not mark:
        return
    frames = "".join(traceback.format_tb(exc.__traceback__)).rstrip()
    logger.error(
        "otelier failed in %s and went on; faults of this kind are only counted from now on. %s, raised at:\n%s",
        place,
        f"{type(exc).__qualname__}: {exc}" if isinstance(exc, SettingError) else type(exc).__qualname__,
        frames or "  (no traceback)",
    )


def _count_fault(place: str) -> None:
    global _counter
    counter = _counter  # another thread may give the next provider meanwhile
    if counter is None:
        from opentelemetry import metrics  # see the module's docstring

        _counter = counter = metrics.get_meter(names.SCOPE, meter_provider=_counted_by).create_counter(
            names.INTERNAL_ERRORS,
            unit="{error}",
            description="Faults of otelier itself, by the place that caught them.",
        )
    if place not in _places:
        if len(_places) >= MAX_PLACES:
            place = OTHER_PLACE
        else:
            _places.add(place)
    counter.add(1, {names.FAULT_PLACE: place})


@on_reset
def _forget() -> None:
    global _counter, _counted_by
    _logged.clear()
    _places.clear()
    _warned.clear()
    _counter = _counted_by = None


def read_setting(setting: Setting[T], argument: T | None = None, *, unreadable: T | None = None) -> T:
    """Return *argument*, else what the variable says, else the default; a text that cannot be read warns once.

    Args:
        setting: The variable.
        argument: What was given in its place; `None` when nothing was.
        unreadable: What holds for text that cannot be read; `None` for the default.

    Example:
        >>> from otelier.settings import DISABLED
        >>> read_setting(DISABLED)
        False
    """
    try:
        return setting.value(argument)
    except SettingError as exc:
        value = setting.default if unreadable is None else unreadable
        warn_of_setting(exc, value)
        return value


def warn_of_setting(error: SettingError, value: object) -> None:
    """Say once what is wrong with a setting, and which *value* holds in its place; nothing is an unset one.

    Example:
        >>> warn_of_setting(SettingError("Cannot read OTELIER_EXAMPLE=7.", setting="OTELIER_EXAMPLE"), None)
    """
    holds = "nothing were set" if not value and not isinstance(value, bool) else f"it said {value!r}"
    warn_once(f"settings.{error.setting}", "%s otelier goes on as if %s.", error, holds)
