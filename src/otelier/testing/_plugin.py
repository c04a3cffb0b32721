"""The pytest plugin: one fixture, `otelier_spans`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from otelier.testing import SpanRecorder


@pytest.fixture
def otelier_spans() -> Iterator[SpanRecorder]:
    """Record what the test emits, with otelier switched on and the recorder's providers in place of the global ones.

    The test starts in an empty context. Afterwards everything is restored, and a span that was left open is an error.
    See `docs/testing.md`.
    """
    # Imported here: an SDK is loaded for the tests that ask for it, not at every start of pytest. What an old SDK
    # deprecates in itself must not fail the tests of somebody who turns warnings into errors.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from opentelemetry.context import Context, attach, get_current

        from otelier.setup import init
        from otelier.testing._global_providers import as_global_providers, logging_to
        from otelier.testing._recorder import SpanRecorder
        from otelier.testing._reset import reset

    reset()
    before = get_current()
    attach(Context())
    recorder = SpanRecorder()
    try:
        with as_global_providers(recorder), logging_to(recorder):
            init(
                strict=True,
                tracer_provider=recorder.tracer_provider,
                meter_provider=recorder.meter_provider,
                logger_provider=recorder.logger_provider,
            )
            yield recorder
    finally:
        reset()
        attach(before)
    if recorder.open_spans:
        names = ", ".join(repr(span.name) for span in recorder.open_spans)
        pytest.fail(f"Spans were left open: {names}. A span that never ends is never exported.", pytrace=False)
