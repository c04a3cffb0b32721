"""Settings that cannot be read: which variable and what it may say is told, and never a password that stands there."""

from __future__ import annotations

import logging

import pytest

import otelier
from otelier.errors import SettingError
from otelier.faults import report_fault
from otelier.settings import all_settings
from otelier.telemetry import metric_tenants
from tests.programs import run

CANARY = "hunter2-canary"
WRONG = {
    "OTELIER_APP": f"https://me:{CANARY}@x/\x01",
    "OTELIER_ENV": f"https://me:{CANARY}@x/\x01",
    "OTELIER_DISABLED": f"postgres://me:{CANARY}@db/x",
    "OTELIER_PROPAGATE_TO": f"fine.example,https://tok:{CANARY}@x/",
    "OTELIER_STRICT": f"https://tok:{CANARY}@x/",
    "OTELIER_TRUST_INBOUND": f"Bearer {CANARY}{CANARY}",
    "OTELIER_CONTENT_MAX_CHARS": f"https://{CANARY}@x/",
    "OTELIER_PAYLOAD_MAX_BYTES": f"https://{CANARY}@x/",
    "OTELIER_TRACE_URL": f"https://tok:{CANARY}@x/",
    "OTELIER_METRIC_TENANTS": f"acme,https://me:{CANARY}@x/\x01",
    "OTELIER_REDACT_PERSONAL_DATA": f"key={CANARY}",
    "OTELIER_OPENAI_STREAM_USAGE": f"sk-{CANARY}-{CANARY}",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": f"https://tok:{CANARY}@x/",
    "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT": f"https://tok:{CANARY}@x/",
    "OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK": f"https://tok:{CANARY}@x/",
}
CHOICES = {
    "OTELIER_APP": "printable",
    "OTELIER_ENV": "printable",
    "OTELIER_PROPAGATE_TO": "*.example.com",
    "OTELIER_METRIC_TENANTS": "printable",
    "OTELIER_CONTENT_MAX_CHARS": "a number above 0",
    "OTELIER_PAYLOAD_MAX_BYTES": "a number",
    "OTELIER_TRACE_URL": "a URL with `{trace_id}`",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "EVENT_ONLY",
    "OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK": "entry point",
}
RAISED_BY_INIT = {name for name in WRONG if name.startswith("OTELIER_")} - {"OTELIER_METRIC_TENANTS"}
PROGRAM = """
import json, otelier
print(json.dumps([otelier.get_agent().name, otelier.get_agent().source]))
"""


def parsed_here():
    """Variables of the table whose text can be wrong, and that are ours to read."""
    for setting in all_settings():
        try:
            setting.parse(f"https://me:{CANARY}@x/\x01 !")
        except ValueError:
            yield setting.variable


def test_every_variable_that_can_be_wrong_is_tried():
    """No variable that may be refused is left out here."""
    assert set(WRONG) >= set(parsed_here())


def test_without_code_each_is_named_with_its_choices():
    """Under `opentelemetry-instrument` each is one WARNING with variable and choices, and the others hold."""
    ran = run(PROGRAM, instrumented=True, OTEL_SERVICE_NAME="shop", OTEL_TRACES_EXPORTER="none", **NOWHERE, **WRONG)
    assert ran.answer == ["shop", "app"]
    assert CANARY not in ran.err
    for variable in WRONG.keys() - {"OTELIER_PAYLOAD_MAX_BYTES", "OTELIER_TRACE_URL"}:  # read by workers and commands
        word = CHOICES.get(variable, "`true` or `false`")
        told = [line for line in ran.err.splitlines() if word in line and told_of(variable) in line]
        assert len(told) == 1, (variable, ran.err)
    assert "otelier failed in" not in ran.err


NOWHERE = {"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}


def told_of(variable):
    # The hook's entry point is looked for, and its line names the group of entry points.
    return "completion hook" if variable.endswith("COMPLETION_HOOK") else variable


def test_what_can_be_read_holds_beside_what_cannot():
    """Without code, a host that is none leaves the trust in what comes in as it was said."""
    program = """
import json
from otelier.baggage import propagated_to, trusts_inbound
print(json.dumps([propagated_to(), trusts_inbound()]))
"""
    given = {"OTELIER_PROPAGATE_TO": "https://a.example", "OTELIER_TRUST_INBOUND": "true", **NOWHERE}
    assert run(program, instrumented=True, OTEL_TRACES_EXPORTER="none", **given).answer == [[], True]


@pytest.mark.parametrize("variable", sorted(RAISED_BY_INIT))
def test_init_shows_no_password(variable, monkeypatch):
    """`init` raises what names the variable, says what to do, and shows no text that may be a password."""
    monkeypatch.setenv(variable, WRONG[variable].replace("\x01", "\n!"))
    with pytest.raises(SettingError, match=variable) as caught:
        otelier.init()
    assert CANARY not in str(caught.value)
    assert "characters, not shown" in str(caught.value)


def test_a_list_of_tenants_stops_no_program(monkeypatch, caplog):
    """Tenants come and go: `init` warns once about a list that cannot be read, shows nothing of it, and goes on."""
    monkeypatch.setenv("OTELIER_METRIC_TENANTS", WRONG["OTELIER_METRIC_TENANTS"].replace("\x01", "\n!"))
    otelier.init()
    otelier.init()
    assert metric_tenants() == frozenset()
    (warning,) = [line for line in caplog.messages if "OTELIER_METRIC_TENANTS" in line]
    assert "printable" in warning
    assert "as if nothing were set" in warning
    assert CANARY not in warning


@pytest.mark.parametrize(
    "given",
    [
        {"propagate_to": [f"https://tok:{CANARY}@x/"]},
        {"propagate_to": f"https://tok:{CANARY}@x/"},
        {"redact": [f"({CANARY}-{CANARY}"]},
    ],
    ids=str,
)
def test_arguments_show_none_either(given):
    """Neither do the errors about arguments of `init`."""
    with pytest.raises(SettingError) as caught:
        otelier.init(**given)
    assert CANARY not in str(caught.value)


@pytest.mark.usefixtures("quiet_faults")
def test_a_fault_that_is_a_settings_error_says_what_it_says(caplog):
    """Wherever such an error ends up as a fault of ours, its line has the message, which is ours; others have none."""
    report_fault("tests", SettingError("Cannot read OTELIER_X: it must be `true`.", setting="OTELIER_X"))
    report_fault("tests", ValueError(CANARY))
    first, second = (record.getMessage() for record in caplog.records if record.levelno == logging.ERROR)
    assert "SettingError: Cannot read OTELIER_X: it must be `true`." in first
    assert CANARY not in second
