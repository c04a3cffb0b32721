"""Records of Python's `logging` in a recorder, as a program has them whose logging is instrumented."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from otelier.testing._recorder import SpanRecorder


@contextmanager
def logging_to(recorder: SpanRecorder) -> Generator[None]:
    """Let the root logger hand its records to *recorder* until the block ends.

    A handler of OpenTelemetry's that is there, or comes later, finds the recorder as the global provider: then this one
    keeps still, so that no record is there twice.
    """
    root = logging.getLogger()
    handler = _handler(recorder.logger_provider)
    handler.addFilter(lambda _record: not any(_is_another(other, handler) for other in root.handlers))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _is_another(other: logging.Handler, handler: logging.Handler) -> bool:
    return other is not handler and any(
        kind.__name__ == "LoggingHandler" and kind.__module__.startswith("opentelemetry.")
        for kind in type(other).__mro__
    )


def _handler(provider: Any) -> logging.Handler:
    try:
        from opentelemetry.instrumentation.logging.handler import (  # pyright: ignore[reportMissingTypeStubs] -- not a dependency of ours
            LoggingHandler,
        )
    except ImportError:
        from opentelemetry.sdk._logs import LoggingHandler
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the SDK's own, which is used where the other is missing
        return LoggingHandler(logger_provider=provider)
