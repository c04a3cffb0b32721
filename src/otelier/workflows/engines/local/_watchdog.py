"""Watchdog of a driver's event loop: while a body holds the loop up, none of the runs goes on, and that is logged.

The loop beats, and the thread of the file looks whether it does, so it can log while the loop still stands. In memory
there is no other thread, and it is logged afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from types import FrameType
from typing import Final

_LOGGED_EVERY_S: Final = 60.0
_LIBRARY: Final = os.path.dirname(os.__file__)  # noqa: PTH120 -- compared with the names of code, which are texts
logger = logging.getLogger("otelier")


class Watchdog:
    """Logs that a loop is held up, where, and what to do instead; at most once a minute.

    Must be made on the loop, and stopped there.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, shown: str, limit_s: float) -> None:
        self._loop, self._shown, self._limit_s = loop, shown, limit_s
        self._thread = threading.get_ident()
        self._logged_at = float("-inf")
        self._guard = threading.Lock()
        self._is_stopped = False
        self._at = time.monotonic()
        self._beat()

    def stop(self) -> None:
        """Look no more."""
        self._is_stopped = True
        self._handle.cancel()

    def _beat(self) -> None:
        self.look()
        self._at = time.monotonic()
        self._handle = self._loop.call_later(self._limit_s / 4, self._beat)

    def look(self) -> None:
        """Log if the loop is held up; from any thread."""
        now = time.monotonic()
        late = now - self._at
        if late < self._limit_s * 1.25 or self._is_stopped:
            return
        with self._guard:
            if now - self._logged_at < _LOGGED_EVERY_S:
                return
            self._logged_at = now
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage] -- documented
        where = "" if threading.get_ident() == self._thread else _place(frames.get(self._thread))
        logger.warning(
            "The event loop that runs %s was held up for %.1f s%s: meanwhile none of its runs goes on, and no standby "
            "takes over. Put what blocks into a step that is a plain function: it runs in a thread.",
            self._shown, late, where,
        )  # fmt: skip


def _place(frame: FrameType | None) -> str:
    """Return where a thread stands: the innermost code that is none of Python's library or of a package."""
    found = frame
    while found is not None and _is_foreign(found.f_code.co_filename):
        found = found.f_back
    found = found or frame
    return "" if found is None else f", at {found.f_code.co_filename}:{found.f_lineno} in {found.f_code.co_name}"


def _is_foreign(file: str) -> bool:
    return file.startswith((_LIBRARY, "<frozen")) or "site-packages" in file
