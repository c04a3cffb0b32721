"""What otelier itself logs and prints while everything it warns of happens, with canaries in all of it."""

from __future__ import annotations

import pickle
import traceback

import openai
import pytest
from opentelemetry import propagate
from opentelemetry.context import Context, attach

import otelier
from otelier.faults import raise_faults, report_fault
from otelier.fields import FIELD_NAMES
from otelier.redaction import redact
from otelier.testing import SpanRecorder
from tests.openai.conftest import serving
from tests.programs import exporting_to, run
from tests.security.places import FIELDS, WHO, Lines, found

PROMPT = "canary of the prompt"
SECRET = "canary0123456789abcdef"
ALL = (*WHO, PROMPT, SECRET)


class TellingError(Exception):
    """An error that says what it was about."""


def raising(text):
    raise TellingError(text)


def switch_on(**more):
    recorder = SpanRecorder()
    otelier.init(
        tracer_provider=recorder.tracer_provider,
        meter_provider=recorder.meter_provider,
        logger_provider=recorder.logger_provider,
        **more,
    )
    return recorder


def ask(api, prompt=PROMPT):
    api.server.reply("Hello", times=None)
    messages = [{"role": "system", "content": prompt}, {"role": "user", "content": PROMPT}]
    return api.call("chat", messages=messages)


def a_fault():
    raise_faults(False)
    try:
        raising(" ".join(ALL))
    except TellingError as exc:
        report_fault("tests.place", exc)


def a_name_beside_an_id():
    with otelier.context(agent_id="a-1", user_id=WHO[0]), otelier.context(agent=PROMPT):
        pass


def a_late_name():
    with otelier.context(agent="triage", user_id=WHO[0]):
        otelier.init(app="late")


def inbound_fields():
    switch_on(trust_inbound=True)
    attach(propagate.extract({"baggage": f"user.id={SECRET}%0A,session.id={'s' * 2000}{SECRET}"}, context=Context()))


def a_redactor_that_raises():
    switch_on(redact=[raising])
    redact(" ".join(ALL))


def a_recipe_that_raises():
    switch_on(fingerprint=raising)
    with serving() as api, otelier.context(**FIELDS):
        ask(api)


def a_recipe_that_gives_what_cannot_be_sent():
    switch_on(fingerprint=lambda text: f"{text}\n")
    with serving() as api, otelier.context(**FIELDS):
        ask(api)


def too_many_prompts():
    switch_on()
    with serving() as api, otelier.context(user_id=WHO[0]):
        for number in range(201):
            letters = "".join(chr(ord("a") + int(digit)) for digit in str(number))
            ask(api, f"{PROMPT} {letters}")


def too_many_agents():
    switch_on()
    for number in range(1_001):
        with otelier.context(user_id=WHO[0], agent=f"agent {number}"):
            pass


def servers_that_say_too_much():
    recorder = switch_on()
    with serving() as api, otelier.context(**FIELDS):
        for number in range(202):
            api.server.reply(PROMPT, model=f"{SECRET} {number}")
            api.call("chat")
        recorder.metrics()


@pytest.mark.parametrize(
    "happens",
    [
        a_fault,
        a_name_beside_an_id,
        a_late_name,
        inbound_fields,
        a_redactor_that_raises,
        a_recipe_that_raises,
        a_recipe_that_gives_what_cannot_be_sent,
        too_many_prompts,
        too_many_agents,
        servers_that_say_too_much,
    ],
    ids=lambda happens: happens.__name__,
)
def test_warnings_say_what_happened_and_to_nobody_whom(happens):
    """Every warning names the setting, the field or the class; no content, no secret, no user, no error's message."""
    with Lines() as lines:
        happens()
        otelier.shutdown()
    assert [line for line in lines.lines if "otelier is active" not in line]
    assert found(ALL, lines.text) == []


def test_a_mode_that_is_none_of_them(monkeypatch):
    """A secret that got into the wrong variable is not logged."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", f"sk-proj-{SECRET}")
    with Lines() as lines:
        switch_on()
    otelier.shutdown()
    assert "CAPTURE_MESSAGE_CONTENT" in lines.text
    assert SECRET not in lines.text


def test_what_stands_in_a_traceback():
    """Our objects show no field in a traceback or a `repr`; only what `get_context` gives shows what it is."""
    with otelier.context(**FIELDS) as nothing:
        assert nothing is None
        try:
            otelier.propagate(raising)("failed")
        except TellingError:
            assert found(WHO, traceback.format_exc()) == []
        bound = otelier.propagate(print)
        shown = repr([bound, otelier.context(**FIELDS), otelier.ContextMiddleware(print), otelier.get_agent()])
        assert found(WHO, shown) == []
        assert found(WHO, repr(otelier.get_context())) == list(WHO)


def test_what_is_pickled():
    """A pickled function holds the fields, the trace and the application's own baggage: it is data for our side."""
    with otelier.context(**FIELDS):
        parcel = pickle.dumps(otelier.propagate(print))
    assert found(WHO, parcel.decode("latin-1")) == list(WHO)


@pytest.mark.parametrize(
    "values",
    [
        ("a\nb", None, None, None, None, None),
        ("u" * 1025, None, None, None, None, None),
        (7.5, None, None, None, None, None),
        (None, None, None, None, None, "\ud800"),
    ],
    ids=["control character", "too long", "no text", "surrogate"],
)
def test_what_is_unpickled_is_checked(values):
    """Fields that come in a pickle are checked like those of `set_context`: a value that is none clears its field."""
    with otelier.context(**FIELDS):
        parcel = pickle.dumps(otelier.propagate(otelier.get_context), protocol=0)
    assert pickle.loads(parcel)().user_id == FIELDS["user_id"]
    taken = {name: value for name, value in zip(FIELD_NAMES, values) if value is not None}
    ((field, value),) = taken.items()
    told = f"V{FIELDS[field]}\n".encode()
    assert told in parcel
    text = str(value).encode("raw-unicode-escape").replace(b"\n", rb"\u000a")
    written = (b"V" if isinstance(value, str) else b"F") + text + b"\n"
    changed = parcel.replace(told, written)
    assert pickle.loads(changed)() == otelier.CallContext(**{**FIELDS, field: None})
    otelier.init(strict=True)
    with pytest.raises((TypeError, otelier.errors.ContextValueError), match=field):
        pickle.loads(changed)


PROGRAM = """
import logging, os
import openai
from opentelemetry import trace
import otelier

logging.getLogger("otelier").setLevel("DEBUG")
handler = logging.StreamHandler()
handler.setLevel("DEBUG")
logging.getLogger("otelier").addHandler(handler)
message = {"role": "user", "content": "canary of the prompt"}
with openai.OpenAI(max_retries=0) as client, trace.get_tracer("app").start_as_current_span("request"):
    otelier.set_context(user_id="canary of the user", user_role="canary of the role")
    otelier.set_context(session_id="canary of the session", workflow_id="canary of the workflow", agent_id="a-1")
    otelier.set_context(tenant_id="canary of the tenant")
    otelier.set_context(agent="billing")
    client.chat.completions.create(model="gpt-4.1", messages=[message])
    try:
        client.chat.completions.create(model="error-400", messages=[message])
    except openai.BadRequestError:
        pass
"""


@pytest.mark.slow
def test_a_whole_process(receiver):
    """Under `opentelemetry-instrument` what a process exports and prints holds no key and no header of any of them."""
    with serving() as api:
        ran = run(
            PROGRAM,
            instrumented=True,
            **exporting_to(receiver.url),
            OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer%20{SECRET}",
            OPENAI_BASE_URL=api.server.base_url,
            OPENAI_API_KEY=f"sk-proj-{SECRET}",
            OTEL_SERVICE_NAME="shop",
        )
        requests = api.server.requests
    assert ran.code == 0, ran.err
    assert SECRET in requests[0].headers["authorization"]
    assert "An agent's name was set while an agent id stands" in ran.err
    assert found(ALL, ran.out + ran.err) == []
    exported = repr((receiver.spans, receiver.metrics, receiver.logs))
    assert WHO[0] in exported
    assert found([PROMPT, SECRET], exported) == []
    assert found(WHO, repr(receiver.metrics)) == []
    assert not [request.headers for request in requests if "baggage" in request.headers]


def test_the_doctor_prints_no_secret_of_the_environment():
    """A secret in any variable is not printed: values are not shown, and the few that are pass the redactions."""
    named = """
        OTELIER_APP OTELIER_TRUST_INBOUND OTELIER_DISABLED OTELIER_UNHEARD_OF OPENAI_API_KEY OTEL_SERVICE_NAME
        OTEL_TRACES_EXPORTER OTEL_EXPORTER_OTLP_PROTOCOL OTEL_PROPAGATORS OTEL_PYTHON_DISABLED_INSTRUMENTATIONS
        OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT OTEL_TRACES_SAMPLER
    """
    shown = dict.fromkeys(named.split(), f"sk-proj-{SECRET}")
    hidden = {"OTEL_RESOURCE_ATTRIBUTES": f"note={SECRET}", "OTEL_EXPORTER_OTLP_HEADERS": f"x={SECRET}"}
    hidden["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://me:{SECRET}@127.0.0.1:9/{SECRET}?{SECRET}"
    hidden["OTELIER_PROPAGATE_TO"] = f"https://me:{SECRET}@host"
    program = "from otelier.cli import main; main()"
    ran = run(f"import sys; sys.argv = ['otelier', 'doctor']; {program}", **shown, **hidden)
    assert "OTEL_EXPORTER_OTLP_HEADERS" in ran.out
    assert SECRET not in ran.out
    assert SECRET not in ran.err


def test_servers_of_the_tests_are_on_this_machine_only():
    """What `otelier.testing` serves listens on loopback: nobody else on the network can ask it."""
    with serving() as api, otelier.testing.OtlpReceiver() as receiver:
        assert api.server.url.startswith("http://127.0.0.1:")
        assert receiver.url.startswith("http://127.0.0.1:")


def test_what_a_provider_answers_is_not_run(monkeypatch):
    """Answers are data: a model that writes endless brackets, or a code of a megabyte, costs its own signal nothing."""
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "span_only")
    recorder = switch_on()
    with serving() as api:
        api.server.reply(tool_calls=[("look_up", "[" * 100_000)])
        api.call("chat")
        api.server.fail(400, message="x" * 1_000_000, code="y" * 1_000_000)
        with pytest.raises(openai.BadRequestError):
            api.call("chat")
    otelier.shutdown()
    first, second = recorder.spans
    assert "[[[[" in first.attributes["gen_ai.output.messages"]
    assert len(second.status.description) < 9_000
    assert second.attributes["error.type"] == "openai.BadRequestError"
