"""What a type checker makes of `otelier.testing`; read by mypy, never run."""

from __future__ import annotations

from typing_extensions import assert_type

import otelier.testing as testing

with testing.OpenAIServer() as server:
    assert_type(server, testing.OpenAIServer)
    assert_type(server.base_url, str)
    assert_type(server.requests, tuple[testing.OpenAIRequest, ...])

assert_type(testing.reset(), None)

recorder = testing.SpanRecorder()
assert_type(recorder.records, tuple[testing.SpanRecord, ...])
assert_type(recorder.records[0].duration_s, float)
assert_type(recorder.tree("user.id"), str)
assert_type(testing.trace_tree(recorder.records), str)
