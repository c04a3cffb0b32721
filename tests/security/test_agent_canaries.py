"""Canaries in what agents are given, are told and say: what of a run leaves, however it ends, by any signal."""

from __future__ import annotations

import contextlib
import time

import pytest

import otelier
from otelier.testing import SpanRecorder
from tests.security.agent_runs import HAPPENINGS, KEY, KINDS, NEVER, QUERY, SAID, TELLING, staged
from tests.security.places import WHO, Lines, found, logs_of, metrics_of, spans_of

MODE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
each_happening = pytest.mark.parametrize("happens", HAPPENINGS, ids=lambda happens: happens.__name__)
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def let_happen(monkeypatch):
    """Let something happen with content off or on; gives what it left behind, and what the model's host received."""

    def let(happens, kind, *, content):
        monkeypatch.setenv(MODE, content)
        recorder, lines = SpanRecorder(), Lines()
        providers = {name: getattr(recorder, name) for name in ("tracer_provider", "meter_provider", "logger_provider")}
        otelier.init(app="shop", **providers)
        with staged(recorder, kind) as stage, lines:
            with contextlib.suppress(Exception):
                happens(stage)
            assert stage.server.requests or "pre_" in happens.__name__
            headers = [dict(request.headers) for request in stage.server.requests]
            # A stream that was left: its client is not asynchronous, and goes on in its thread for a moment.
            deadline = time.monotonic() + 300
            while recorder.open_spans and time.monotonic() < deadline:
                time.sleep(0.01)
        assert recorder.open_spans == ()
        otelier.shutdown()
        return recorder, lines.text, headers

    return let


@each_kind
@each_happening
def test_content_is_off(let_happen, happens, kind):
    """No field but the exported ones, no secret in those, no query, task, argument, result, answer, in no signal."""
    recorder, lines, headers = let_happen(happens, kind, content="no_content")
    everything = spans_of(recorder) + logs_of(recorder) + metrics_of(recorder) + lines + repr(headers)
    assert found([*NEVER, *SAID.all], everything) == []
    for span in recorder.spans:
        assert found(WHO, repr(dict(span.attributes))) == list(WHO)
        assert span.attributes["app.note"] == "order 7, paid with [REDACTED:api-key]"
        assert span.attributes["app.password"] == "[REDACTED:secret]"
    assert found(WHO, metrics_of(recorder) + lines + repr(headers)) == []


@each_kind
@each_happening
def test_content_is_on(let_happen, happens, kind):
    """What is said is then on spans; what the context holds is not, but for what the program itself tells of it."""
    recorder, lines, headers = let_happen(happens, kind, content="span_only")
    assert found(NEVER, logs_of(recorder) + metrics_of(recorder) + lines + repr(headers)) == []
    assert found(SAID.all, logs_of(recorder) + metrics_of(recorder) + lines + repr(headers)) == []
    if happens not in TELLING:
        assert found(NEVER, spans_of(recorder)) == []
    assert KEY not in spans_of(recorder)
    if happens.__name__ != "interceptor_fails_at_pre_run":
        assert QUERY in spans_of(recorder)


@each_kind
def test_the_canaries_sing(let_happen, kind):
    """The errors of these runs do tell everything: what holds above is not that nobody said anything."""
    from tests.security.agent_runs import METADATA, telling

    told = telling(KINDS[kind](query=QUERY, metadata=METADATA))
    assert found(NEVER, told) == list(NEVER)
    assert QUERY in told
