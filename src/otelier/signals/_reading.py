"""Settings read where nobody can be told by an error: in processes that otelier is switched on in without code."""

from __future__ import annotations

from typing import TypeVar

from otelier.errors import SettingError
from otelier.settings import Setting
from otelier.signals._guard import warn_once

T = TypeVar("T")


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
