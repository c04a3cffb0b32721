"""Canaries everywhere a user might put something: which signal says what, with content off and on, over real HTTP."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
from dataclasses import dataclass

import openai
import pydantic
import pytest
from opentelemetry.trace import StatusCode

import otelier
from otelier import Agent
from otelier.errors import AnswerError
from otelier.faults import raise_faults, run_resets
from otelier.testing import SpanRecorder
from otelier.testing.server import OpenAIRequest
from tests.openai.conftest import serving
from tests.security.places import (
    ANSWER,
    CONTENT,
    CREDENTIALS,
    ENDPOINTS,
    FIELDS,
    HOWS,
    OTHERS,
    UNTOLD,
    WHO,
    Ages,
    Lines,
    Tagged,
    Verdict,
    call,
    canary_client,
    found,
    logs_of,
    metrics_of,
    spans_of,
)

MODE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
CALLS = [
    (endpoint, how)
    for endpoint in ENDPOINTS
    for how in HOWS
    if how == "plain" or not (endpoint in OTHERS or (endpoint.startswith("embeddings") and "stream" in how))
]


@dataclass(frozen=True)
class Evidence:
    """What one call left behind."""

    call: tuple[str, str]
    recorder: SpanRecorder
    lines: str
    received: OpenAIRequest

    @property
    def told(self) -> str:
        """Every signal, and every line of ours."""
        return spans_of(self.recorder) + logs_of(self.recorder) + metrics_of(self.recorder) + self.lines


def switch_on(recorder):
    providers = {name: getattr(recorder, name) for name in ("tracer_provider", "meter_provider", "logger_provider")}
    otelier.init(app="shop", **providers)


def make_all_calls(*, asynchronous):
    with serving() as api, canary_client(api):
        for endpoint, how in CALLS:
            recorder, lines = SpanRecorder(), Lines()
            switch_on(recorder)
            with lines, otelier.context(**FIELDS):
                call(api, endpoint, how, asynchronous=asynchronous)
                if recorder.open_spans:  # a stream that was dropped may be part of a circle
                    gc.collect()
            (received,) = api.server.requests
            otelier.shutdown()
            run_resets()
            yield Evidence((endpoint, how), recorder, lines.text, received)


@pytest.fixture(
    scope="module",
    params=[("no_content", False), ("no_content", True), ("span_and_event", False)],
    ids=["off", "off, async", "on"],
)
def evidence(request):
    """All calls with canaries everywhere, switched on as a program does it, with content off or on."""
    content, asynchronous = request.param
    with pytest.MonkeyPatch.context() as patch:
        for variable in list(os.environ):
            if variable.startswith(("OTEL_", "OTELIER_", "OPENAI_")):
                patch.delenv(variable)
        patch.setenv(MODE, content)
        raise_faults(True)
        try:
            yield content, list(make_all_calls(asynchronous=asynchronous))
        finally:
            raise_faults(False)
            otelier.shutdown()


def test_content(evidence):
    """Off, no prompt, answer, tool or argument is in any signal, also where an error quotes all of it; on, each is."""
    content, calls = evidence
    for each in calls:
        if each.call[1] not in ("failed", "stream failed") and each.call[0] not in OTHERS:
            assert found(UNTOLD.all, each.told) == [], each.call
        if content == "no_content":
            assert found([*CONTENT.all, *UNTOLD.all], each.told) == [], each.call
            continue
        endpoint, how = each.call
        assert found([*CONTENT.all, *UNTOLD.all], metrics_of(each.recorder) + each.lines) == [], each.call
        sent = [canary for canary in CONTENT.all if canary in repr(ENDPOINTS[endpoint])]
        if endpoint.startswith(("chat", "responses")):
            assert len(sent) > 4
            assert found(sent, spans_of(each.recorder)) == sent, each.call
            assert found(sent, logs_of(each.recorder)) == sent, each.call
        if endpoint.startswith("chat") and how in ("plain", "raw", "stream"):
            assert ANSWER in spans_of(each.recorder)


def test_credentials(evidence):
    """Keys, headers, queries and what stands in the address are in no signal, content captured or not."""
    for each in evidence[1]:
        assert found(CREDENTIALS.all, repr(dict(each.received.headers)) + each.received.query)  # they were there
        assert found(CREDENTIALS.all, each.told) == [], each.call


def test_fields(evidence):
    """Who a call is for stands on its span; on no metric or exemplar, in no line we log, and not with the request."""
    for each in evidence[1]:
        for span in each.recorder.spans:
            assert found(WHO, repr(dict(span.attributes))) == list(WHO), each.call
        assert found(WHO, metrics_of(each.recorder) + each.lines) == [], each.call
        sent = repr(dict(each.received.headers)) + each.received.query + repr(each.received.body)
        assert found(WHO, sent) == [], each.call


def test_registrations(evidence):
    """An agent's registration says which agent it is; neither its prompt nor who it was first seen for."""
    registered = [
        entry for each in evidence[1] for entry in each.recorder.logs if entry.event_name == "otelier.agent.registered"
    ]
    assert registered
    assert found([*WHO, *CONTENT.all, *UNTOLD.all], repr(registered)) == []


def test_fingerprints(evidence):
    """A system prompt leaves as a fingerprint only: a digest, whatever the prompt."""
    prints = [span.attributes.get("otelier.agent.fingerprint") for each in evidence[1] for span in each.recorder.spans]
    assert {bool(re.fullmatch("fp1:[0-9a-f]{64}", one)) for one in prints if one} == {True}


@pytest.fixture
def recorder():
    return SpanRecorder()


NAME = "Alice Canary"
MISFITS = {
    "a key": (Ages, json.dumps({"ages": {NAME: "old"}})),
    "an extra key": (Verdict, json.dumps({"number": 1, NAME: 2})),
    "a wrong tag": (Tagged, json.dumps({"pet": {"kind": NAME}})),
    "no JSON": (Verdict, f"{NAME} is {NAME}"),
    "a value": (Verdict, json.dumps({"number": NAME})),
}


@pytest.mark.parametrize("content", ["no_content", "span_and_event"])
@pytest.mark.parametrize(("form", "said"), MISFITS.values(), ids=MISFITS)
@pytest.mark.parametrize("way", ["chat", "responses", "agent"])
def test_an_answer_that_cannot_be_parsed(recorder, monkeypatch, form, said, way, content):
    """What is said of an answer that does not fit quotes it, so it leaves only with content, by every way to parse."""
    monkeypatch.setenv(MODE, content)
    switch_on(recorder)
    with serving() as api, contextlib.suppress(pydantic.ValidationError, AnswerError):
        api.server.reply(said, times=None)
        if way == "agent":
            Agent("ages", "gpt-4.1", client=api.client, output_type=form).run("How old?").wait()
        elif way == "responses":
            api.client.responses.parse(model="gpt-4.1", input="How old?", text_format=form)
        else:
            parse = getattr(api.client.chat.completions, "parse", None) or api.client.beta.chat.completions.parse
            parse(model="gpt-4.1", messages=[{"role": "user", "content": "How old?"}], response_format=form)
    assert recorder.spans[-1].status.status_code is StatusCode.ERROR
    if content == "no_content":
        assert "Alice" not in spans_of(recorder) + logs_of(recorder) + metrics_of(recorder)


KEY = "sk-proj-canary0123456789abcdef"
SECRETS = {
    "a key": KEY,
    "a bearer token": "Bearer canary0123456789abcdef",
    "a password in an address": "postgres://app:canary0123@db/orders",
    "an assignment": "password=canary0123",
    "a signed token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.canary0123-canary0123",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("how", ["content", "error", "arguments"])
def test_secrets_in_what_does_leave(recorder, monkeypatch, secret, how):
    """What is captured, and with it messages of errors, leave without the secrets that have a known form."""
    monkeypatch.setenv(MODE, "span_and_event")
    switch_on(recorder)
    with serving() as api, contextlib.suppress(openai.OpenAIError):
        if how == "error":
            api.server.fail(401, message=f"Incorrect: {secret} is not known")
        elif how == "arguments":
            api.server.reply(tool_calls=[("log_in", {"note": f"use {secret} now"})])
        said = f"use {secret} now" if how == "content" else "Hello"
        api.call("chat", messages=[{"role": "user", "content": said}])
    (span,) = recorder.spans
    assert "canary0123" not in spans_of(recorder) + logs_of(recorder)
    assert "REDACTED" in repr(dict(span.attributes)) + repr(span.status.description)
