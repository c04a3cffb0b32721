"""Under `opentelemetry-instrument`: everything is active with no line of set-up, and nothing is there twice."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from importlib.metadata import distribution
from pathlib import Path

import pytest

from otelier.testing import OpenAIServer
from tests.programs import exporting_to, run

PROGRAM = """
import json, logging
import openai
from opentelemetry import trace
import otelier

with openai.OpenAI() as client, trace.get_tracer("app").start_as_current_span("request", kind=trace.SpanKind.SERVER):
    otelier.set_context(user_id="u-1", session_id="s-1", agent="triage")
    logging.getLogger("app").warning("asking")
    answer = client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": "Hello"}])
logging.getLogger("app").warning("answered")
print(json.dumps([answer.choices[0].message.content, otelier.get_agent().source]))
"""
LOGS = {"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true"}


@pytest.fixture
def model():
    with OpenAIServer() as server:
        yield server


def talking_to(model, receiver):
    return {
        **exporting_to(receiver.url),
        **LOGS,
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_API_KEY": "sk-none",
        "OTEL_SERVICE_NAME": "shop",
    }


def test_all_signals_carry_the_fields(receiver, model):
    """With no line of set-up spans, logs and metrics carry who a call was for, and each arrives once."""
    ran = run(PROGRAM, instrumented=True, **talking_to(model, receiver))
    answer, source = ran.answer
    assert isinstance(answer, str)
    assert source == "app"
    assert len(model.requests) == 1
    spans = {span.name: span.attributes for span in receiver.spans}
    assert Counter(span.name for span in receiver.spans) == {"request": 1, "chat gpt-4.1": 1, "POST": 1}
    for attributes in spans.values():
        assert attributes["user.id"] == "u-1"
        assert attributes["session.id"] == "s-1"
        assert attributes["gen_ai.agent.name"] == "triage"
        assert attributes["otelier.agent.source"] == "agent"
    assert spans["chat gpt-4.1"]["gen_ai.conversation.id"] == "s-1"
    logs = {entry.body: entry.attributes for entry in receiver.logs if entry.scope == "app"}
    assert logs["asking"]["user.id"] == "u-1"
    assert logs["asking"]["gen_ai.agent.name"] == "triage"
    assert "user.id" not in logs["answered"]
    points = [point for point in receiver.metrics if point.name == "gen_ai.client.operation.duration"]
    assert {point.attributes["gen_ai.agent.name"] for point in points} == {"triage"}
    assert {point.count for point in points} == {1}
    forbidden = {
        "user.id",
        "user.roles",
        "session.id",
        "otelier.workflow.id",
        "otelier.tenant.id",
        "gen_ai.conversation.id",
    }
    assert not any(forbidden & set(point.attributes) for point in receiver.metrics)


@pytest.mark.slow
def test_an_unsampled_request_still_has_its_logs(receiver, model):
    """With every span sampled away, log records carry the fields and the metrics are complete."""
    variables = {**talking_to(model, receiver), "OTEL_TRACES_SAMPLER": "always_off"}
    assert run(PROGRAM, instrumented=True, **variables).answer
    assert receiver.spans == ()
    logs = {entry.body: entry.attributes for entry in receiver.logs if entry.scope == "app"}
    assert (logs["asking"]["user.id"], logs["asking"]["gen_ai.agent.name"]) == ("u-1", "triage")
    assert {point.count for point in receiver.metrics if point.name == "gen_ai.client.operation.duration"} == {1}


@pytest.mark.slow
def test_init_beside_it_only_adds_names(receiver, model):
    """A program that also calls `init` has nothing twice, and its app and environment on its spans."""
    program = PROGRAM.replace(
        "import otelier\n", 'import otelier\notelier.init(app="orchestrator", env="production")\n'
    )
    assert run(program, instrumented=True, **talking_to(model, receiver)).answer
    names = Counter(span.name for span in receiver.spans if span.scope in ("app", "otelier.openai"))
    assert names == {"request": 1, "chat gpt-4.1": 1}
    spans = {span.name: span.attributes for span in receiver.spans}
    for name in ("request", "chat gpt-4.1"):
        assert spans[name]["gen_ai.main_agent.name"] == "orchestrator"
        assert spans[name]["deployment.environment.name"] == "production"
    assert {point.count for point in receiver.metrics if point.name == "gen_ai.client.operation.duration"} == {1}


@pytest.mark.slow
def test_the_environment_names_the_process(receiver, model):
    """`OTELIER_APP` and `OTELIER_ENV` name the process, on the resource by the detector `otelier`."""
    variables = {
        **talking_to(model, receiver),
        "OTELIER_APP": "orchestrator",
        "OTELIER_ENV": "production",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "otel,otelier",
    }
    assert run(PROGRAM, instrumented=True, **variables).answer
    for span in receiver.spans:
        assert span.resource["gen_ai.main_agent.name"] == "orchestrator"
        assert span.resource["deployment.environment.name"] == "production"
        assert "gen_ai.main_agent.name" not in span.attributes


CHILD = """
import json, logging
from opentelemetry import trace
import otelier

calls = []
def call():
    calls.append(1)
    return "mine"

with otelier.context(user_id="u-1"), trace.get_tracer("app").start_as_current_span("work") as span:
    result = call()
    attributes = dict(getattr(span, "attributes", None) or {})
print(json.dumps([result, len(calls), attributes.get("user.id"), otelier.get_agent().source]))
"""
NO_EXPORT = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}


def foreign_package(folder: Path, *, group: str, body: str) -> None:
    """Make a distribution whose entry point of *group* runs *body*."""
    folder.mkdir()
    info = folder / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nforeign = foreign:Foreign\n")
    (folder / "foreign.py").write_text(
        "class Foreign:\n"
        "    def instrumentation_dependencies(self):\n        return ()\n"
        f"    def instrument(self, **kwargs):\n        {body}\n"
        f"    def __init__(self):\n        {'pass' if group.endswith('instrumentor') else body}\n"
    )


RAISES = "raise LookupError('foreign instrumentor')"


@pytest.mark.parametrize("ours", ["first", "last"])
def test_a_foreign_instrumentor_that_raises(tmp_path, ours):
    """A foreign instrumentor that raises at start is logged by OpenTelemetry; otelier is active all the same."""
    foreign_package(tmp_path / "foreign", group="opentelemetry_instrumentor", body=RAISES)
    path = [str(tmp_path / "foreign")]
    if ours == "first":
        # A copy of what says which entry points we have, ahead of the foreign one on the path.
        installed = Path(str(distribution("otelier").locate_file(""))) / "otelier-0.1.0.dist-info"
        shutil.copytree(installed, tmp_path / "ours" / installed.name)
        path.insert(0, str(tmp_path / "ours"))
    ran = run(CHILD, instrumented=True, PYTHONPATH=os.pathsep.join(path), **NO_EXPORT)
    assert ran.lines("Failed to auto initialize")
    assert ran.answer == ["mine", 1, "u-1", "app"]


def test_a_foreign_instrumentor_that_raises_and_an_init(tmp_path):
    """A program that calls `init` itself is switched on whatever another instrumentor did."""
    foreign_package(tmp_path / "foreign", group="opentelemetry_instrumentor", body=RAISES)
    program = CHILD.replace("import otelier\n", "import otelier\notelier.init()\n")
    ran = run(program, instrumented=True, PYTHONPATH=str(tmp_path / "foreign"), **NO_EXPORT)
    assert ran.answer == ["mine", 1, "u-1", "app"]


TALKATIVE = "import logging; logging.basicConfig(level=logging.INFO, format='%(name)s: %(message)s')"


@pytest.mark.parametrize(
    "program", ["", "import otelier; otelier.init(); otelier.activate()"], ids=["alone", "and init"]
)
def test_one_line_says_what_is_active(tmp_path, program):
    """One INFO line tells what is on, although two entry points, and a program, switch it on."""
    foreign_package(tmp_path / "foreign", group="opentelemetry_pre_instrument", body=TALKATIVE)
    ran = run(program, instrumented=True, PYTHONPATH=str(tmp_path / "foreign"), **NO_EXPORT)
    assert ran.code == 0
    assert len(ran.lines("otelier: otelier is active")) == 1
