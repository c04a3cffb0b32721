"""Faults of otelier itself: logged once, counted, and kept from the program. Also its warnings, and hooks for forks.

Each fault has a place, and each warning a key. Both have one form, `<package>.<job>`: the package or module below
`otelier` that caught it, then the job that failed, such as `telemetry.flush`; a patch adds `.patch` or `.import_hook`.
`otelier.internal.errors` counts faults by place, so a place is a literal and never made of a value.

`import otelier` loads this module, so it imports no more than the standard library; the metrics API takes 12 ms, and is
imported when there is something to count.
"""

from __future__ import annotations

import logging
import os
import threading
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from otelier import names
from otelier.errors import SettingError
from otelier.settings import Setting

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, MeterProvider


T = TypeVar("T")
P = ParamSpec("P")
logger = logging.getLogger("otelier")

MAX_PLACES = 128
"""Places that are counted apart; tests hold the number of places in our code below it."""
MAX_LOGGED = 256
"""Keys of warnings, and pairs of place and exception type, that are logged. A key is a literal, or ends with one of few
names: of a field, a setting, an attribute, a class of contexts. With an ending of which there may be many, such as the
class of an exception, one kind of warning would use up the bound and silence the others."""
OTHER_PLACE = "other"
"""Place that counts the faults of all further places."""

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
    traceback. The exception's message may hold a prompt or an id and is left out, except that of a `SettingError`,
    which is our own and holds none. Each fault counts in `otelier.internal.errors`. After `raise_faults(True)`, *exc*
    is raised again instead.

    Args:
        place: The place that caught it: a literal such as `fields.on_start`, see the module's docstring.
        exc: The exception.

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
        return  # a log handler or a metric reader failed over the record of a fault: end it here
    _busy.here = True
    try:
        _log_fault(place, exc)
    except Exception:  # there is nowhere left to report to
        pass
    finally:
        _busy.here = False
    count_fault(place)


def count_fault(place: str) -> None:
    """Count a fault in `otelier.internal.errors` that was logged in another way; never raises.

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


def attempt(place: str, step: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Run one *step* of our own, such as inside somebody's call; a fault is reported and costs that step alone.

    Args:
        place: Place that the fault is reported with.
        step: Function to call with the arguments that follow.

    Example:
        >>> attempt("docs.example", print, "done")
        done
    """
    try:
        step(*args, **kwargs)
    except Exception as exc:
        report_fault(place, exc)


def count_faults_by(provider: MeterProvider | None) -> None:
    """Count faults with *provider* from now on; `None` is the global one.

    Example:
        >>> count_faults_by(None)
    """
    global _counter, _counted_by
    _counted_by = provider
    _counter = None


def raise_faults(on: bool) -> None:
    """Let `report_fault` raise each fault again; our own tests switch this on, so that none goes unseen.

    Example:
        >>> raise_faults(False)
    """
    global _raising
    _raising = on


def warn_once(key: str, message: str, *args: object) -> None:
    """Log one WARNING through logger `otelier` per process and *key*; never raises.

    Args:
        key: Name of the warning, without its values; beyond 256 keys nothing more is logged.
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
    """Register *callback*, which undoes process state, and return it, so that this can be a decorator.

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
    """Register *callback* to run in each child after a fork, and return it, so that this can be a decorator.

    The child has no other thread, so a lock that another thread held at the fork stays locked for ever: the callback
    puts a new one in its place.

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
    """Undo all process state of otelier, the newest registration first; `otelier.testing.reset` calls this.

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
    counter = _counter  # another thread may change it at any time
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
    """Return *argument*, else the variable's value, else the default; a text that cannot be read warns once.

    Args:
        setting: The variable.
        argument: Value that goes before the variable's; `None` where none was given.
        unreadable: Value in place of a text that cannot be read; `None` takes the default.

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
    """Warn once of a setting's *error*, with the *value* that is used instead; an empty one counts as unset.

    Example:
        >>> warn_of_setting(SettingError("Cannot read OTELIER_EXAMPLE=7.", setting="OTELIER_EXAMPLE"), None)
    """
    holds = "nothing were set" if not value and not isinstance(value, bool) else f"it said {value!r}"
    warn_once(f"settings.{error.setting}", "%s otelier goes on as if %s.", error, holds)
