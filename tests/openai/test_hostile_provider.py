"""What a provider answers is data from outside: bounded where it names a time series, and never run."""

from __future__ import annotations

import openai
import pytest
from opentelemetry.trace import StatusCode

from tests.openai.conftest import CHAT

DURATION = "gen_ai.client.operation.duration"


def points(recorder):
    return [point for point in recorder.metric_points if point.name == DURATION]


def test_models_on_metrics_are_bounded(api, recorder, caplog):
    """A server that names a new model each time makes 200 time series, not more; spans say each."""
    for number in range(205):
        api.server.reply("Hi", model=f"model-{number}")
        api.call("chat")
    named = [point.attributes.get("gen_ai.response.model") for point in points(recorder)]
    assert len([name for name in named if name]) == 200
    assert None in named
    assert sum(point.count for point in points(recorder)) == 205
    assert recorder.spans[-1].attributes["gen_ai.response.model"] == "model-204"
    assert len([record for record in caplog.records if "gen_ai.response.model" in record.getMessage()]) == 1


def test_long_values_stay_off_the_metrics(api, recorder):
    """A name of a megabyte is no name of a time series."""
    api.server.reply("Hi", model="m" * 1_000_000)
    api.call("chat")
    (point,) = points(recorder)
    assert "gen_ai.response.model" not in point.attributes


def test_counts_below_zero(api, recorder):
    """Fewer than no tokens are none."""
    below = {"cached_tokens": -4, "reasoning_tokens": -1}
    api.server.reply("Hi", usage={"input_tokens": 9, "output_tokens": 2, **below}, times=2)
    api.call("chat")
    api.call("responses")
    for span in recorder.spans:
        counts = {name: value for name, value in span.attributes.items() if name.startswith("gen_ai.usage.")}
        assert counts == {"gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 2}


def failed(code, message="Failed."):
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-4.1", "status": "failed", "output": [],
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": {"code": code, "message": message},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", "server_error"),
        (None, "error"),
        ("", "error"),
        (500, "500"),
        ("c" * 65, "_OTHER"),
        ("sk-proj-abc def", "_OTHER"),
        ("sk-proj-" + "aB3dE6gH9j" * 2, "_OTHER"),
        ("a\nb", "_OTHER"),
        (["a"], "_OTHER"),
        ({"a": "b"}, "_OTHER"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_codes_of_errors(api, recorder, code, kind, stream):
    """A code is a short word; what is none counts as `_OTHER`, on the span and on the metrics."""
    if stream:
        api.server.reply(events=[{"type": "error", "code": code, "message": "Failed."}])
        try:
            list(api.call("responses", stream=True))
        except openai.APIError:  # newer clients raise it, and the span names that class
            kind = "openai.APIError"
    else:
        api.server.reply(body=failed(code))
        api.call("responses")
    (span,) = recorder.spans
    assert span.attributes["error.type"] == kind
    assert span.status.status_code is StatusCode.ERROR
    assert {point.attributes["error.type"] for point in points(recorder)} == {kind}


def test_codes_on_metrics_are_bounded(api, recorder):
    """Beyond 200 codes the metrics say `_OTHER`."""
    for number in range(203):
        api.server.reply(body=failed(f"code-{number}"))
        api.call("responses")
    kinds = [point.attributes["error.type"] for point in points(recorder)]
    assert len(kinds) == 201
    assert "_OTHER" in kinds
    assert recorder.spans[-1].attributes["error.type"] == "code-202"


@pytest.mark.parametrize("message", [7, ["a"], {"a": "b"}, None])
def test_messages_that_are_no_text(api, recorder, message):
    """A message that is no text is none."""
    api.server.reply(body=failed("server_error", message))
    api.call("responses")
    assert recorder.spans[0].status.description == "server_error"


@pytest.mark.parametrize("brackets", ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000])
def test_arguments_that_no_parser_takes(api, recorder, monkeypatch, brackets):
    """Arguments of a tool that nest without end, or are a number without end, are text."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    from otelier.openai import OpenAIInstrumentor

    OpenAIInstrumentor().uninstrument()
    OpenAIInstrumentor().instrument(tracer_provider=recorder.tracer_provider)
    api.server.reply(tool_calls=[("look_up", brackets)])
    api.call("chat", messages=CHAT["messages"])
    assert brackets[:100].replace('"', '\\"') in recorder.spans[0].attributes["gen_ai.output.messages"]


def test_a_page_for_an_error(api, recorder, monkeypatch):
    """An error of a megabyte is cut on the span, after its secrets are redacted."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    from otelier.openai import OpenAIInstrumentor

    OpenAIInstrumentor().uninstrument()
    OpenAIInstrumentor().instrument(tracer_provider=recorder.tracer_provider)
    api.server.fail(400, message="password=hunter2 " + "x" * 1_000_000)
    with pytest.raises(Exception, match="hunter2"):
        api.call("chat")
    description = recorder.spans[0].status.description
    assert len(description) < 8_300
    assert "hunter2" not in description
    assert "[cut: " in description[-60:]
