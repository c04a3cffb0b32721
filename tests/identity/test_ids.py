"""Ids derived from names: the same in every process of one application, from the namespace that was known first."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import uuid

import pytest

import otelier
from otelier.identity import agent_id_for, name_process
from otelier.testing import reset

PROGRAM = """
import json, sys
import otelier
from otelier.identity import name_process

answers = []
for step in json.loads(sys.argv[1]):
    if "app" in step:
        name_process(app=step["app"])
    elif "agent" in step:
        with otelier.context(agent=step["agent"]):
            answers.append(otelier.get_agent().id)
print(json.dumps(answers))
"""


def afresh(*steps, **environment):
    """Return the ids that a process just started gives to agents; a step is `app=` or `agent=`."""
    reset()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        answers = []
        for step in steps:
            if "app" in step:
                name_process(app=step["app"])
            else:
                with otelier.context(agent=step["agent"]):
                    answers.append(otelier.get_agent().id)
    reset()
    return answers


def in_process(*steps, **environment):
    """The same in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL", "PYTHONHASHSEED"))}
    run = [sys.executable, "-c", PROGRAM, json.dumps(steps)]
    done = subprocess.run(run, env={**clean, **environment}, capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout)


def test_an_id_is_a_uuid_of_version_5():
    """A derived id is a UUIDv5 in its usual text form."""
    made = agent_id_for("triage")
    assert str(uuid.UUID(made)) == made
    assert uuid.UUID(made).version == 5


def test_every_process_gets_the_same_id():
    """Processes of one application derive one id for one name, and different ids for different names."""
    steps = [{"agent": "triage"}, {"agent": "billing"}, {"agent": "triage"}]
    first = in_process(*steps, OTELIER_APP="shop")
    assert first == in_process(*steps, OTELIER_APP="shop", PYTHONHASHSEED="7")
    assert first == afresh(*steps, OTELIER_APP="shop")
    assert first[0] == first[2] != first[1]


def test_ids_stay_what_they_were(monkeypatch):
    """An id that was ever sent must not change with a release: these are written down."""
    monkeypatch.setenv("OTELIER_APP", "shop")
    assert agent_id_for("triage") == PINNED_TRIAGE
    assert agent_id_for("名前") == PINNED_OTHER


PINNED_TRIAGE = "4da48a23-66e9-52b0-a64d-e39ca87626fe"
PINNED_OTHER = "eb3255f9-d9d5-5b6e-b70e-3dbf723569c2"


def test_the_namespace_separates_applications():
    """The same name in two applications is two agents."""
    triage = {"agent": "triage"}
    ids = [
        afresh(triage),
        afresh(triage, OTELIER_APP="shop"),
        afresh(triage, OTEL_SERVICE_NAME="bank"),
    ]
    assert len({made for (made,) in ids}) == 3


def test_the_environment_stands_before_init():
    """`OTELIER_APP` is the namespace, whatever `init(app=)` and the service say, and whichever comes first."""
    expected = afresh({"agent": "triage"}, OTELIER_APP="shop")
    environment = {"OTELIER_APP": "shop", "OTEL_SERVICE_NAME": "service"}
    assert afresh({"app": "other"}, {"agent": "triage"}, **environment) == expected
    assert afresh({"agent": "triage"}, {"app": "other"}, {"agent": "triage"}, **environment) == expected * 2


def test_the_app_of_init_is_the_namespace_when_it_comes_first():
    """`init(app=)` before the first resolution names the namespace, before the service's name."""
    expected = afresh({"agent": "triage"}, OTELIER_APP="shop")
    assert afresh({"app": "shop"}, {"agent": "triage"}, OTEL_SERVICE_NAME="service") == expected


def test_the_service_is_the_namespace_when_nothing_else_is_known():
    """Without an app the service's name is the namespace, and without one `unknown_service`."""
    for environment, same in (
        ({"OTEL_SERVICE_NAME": "shop"}, {"OTELIER_APP": "shop"}),
        ({"OTEL_RESOURCE_ATTRIBUTES": "a=b,service.name=shop"}, {"OTELIER_APP": "shop"}),
        ({}, {"OTELIER_APP": "unknown_service"}),
    ):
        assert afresh({"agent": "triage"}, **environment) == afresh({"agent": "triage"}, **same)


def test_a_later_app_leaves_the_ids_as_they_are():
    """Once an id was derived the namespace is fixed: a later `init(app=)` changes no id."""
    steps = [{"agent": "triage"}, {"app": "late"}, {"agent": "triage"}, {"agent": "billing"}]
    first, second, billing = afresh(*steps, OTEL_SERVICE_NAME="shop")
    assert first == second
    assert [billing] == afresh({"agent": "billing"}, OTELIER_APP="shop")


def test_a_later_app_serves_the_last_tier_and_warns_once(caplog, monkeypatch):
    """A different app that comes late names the process's own agent, and one warning says what did not change."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    billing = agent_id_for("billing")
    for app in ("late", "later"):
        name_process(app=app)
        assert (otelier.get_agent().name, otelier.get_agent().source) == (app, "app")
    assert otelier.get_agent().id == agent_id_for("later")
    assert agent_id_for("billing") == billing
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "OTELIER_APP" in warning.getMessage()


@pytest.mark.parametrize("given", [{}, {"app": "shop"}, {"env": "test"}], ids=str)
def test_naming_the_process_again_alike_warns_of_nothing(caplog, monkeypatch, given):
    """The same app again, or only an environment, is no late app."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    agent_id_for("billing")
    name_process(**given)
    name_process(**given)
    assert caplog.records == []


def test_reading_the_own_agent_before_init_fixes_nothing():
    """Asking who is there, while nobody is, is no resolution: `init(app=)` afterwards still names the namespace."""
    otelier.get_agent()
    with otelier.context(user_id="u-1"):
        otelier.get_agent()
    name_process(app="shop")
    made = agent_id_for("triage")
    assert [made] == afresh({"agent": "triage"}, OTELIER_APP="shop")


def test_an_explicit_id_fixes_nothing():
    """An id that was given needs no namespace."""
    with otelier.context(agent="triage", agent_id="a-1"):
        otelier.get_agent()
    name_process(app="shop")
    made = agent_id_for("triage")
    assert [made] == afresh({"agent": "triage"}, OTELIER_APP="shop")
