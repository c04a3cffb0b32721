"""The signals of agents against the conventions as data, which `scripts/agent_conventions.py` writes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

import otelier
from otelier import tool
from otelier.interceptors import Interceptor, InterceptResult, Phase
from otelier.telemetry import read_metric_tenants
from otelier.testing import SpanRecorder
from tests.programs import run as run_program
from tests.scripted import Model

CONVENTIONS = json.loads((Path(__file__).parent / "conventions.json").read_text(encoding="utf-8"))
TYPES = {
    "string": lambda value: isinstance(value, str),
    "int": lambda value: type(value) is int,
    "double": lambda value: isinstance(value, float),
    "boolean": lambda value: isinstance(value, bool),
    "string[]": lambda value: isinstance(value, tuple) and all(isinstance(one, str) for one in value),
    "any": lambda value: isinstance(value, str) and json.loads(value) is not None,  # as JSON on a span
}
WHO = {"user.id", "user.roles", "session.id", "gen_ai.conversation.id", "gen_ai.main_agent.name"}
"""What every span of otelier's carries, whatever its operation; so is `deployment.environment.name`."""


@dataclasses.dataclass
class OfTenant(otelier.RunContext):
    tenant_id: str = ""


class Stops(Interceptor):
    async def intercept(self, phase, context):
        return InterceptResult.stop("No.", reason="test") if phase is Phase.PRE_THINK else None


@tool
def add(a: int, b: int) -> dict[str, int]:
    """Add two numbers."""
    return {"sum": a + b}


@tool
def fail() -> str:
    raise KeyError("x")


def whole(model: Model) -> None:
    model.says([("add", {"a": 1, "b": 2})], "Three.")
    model.agent(add, instructions="Add.", version="2", description="Adds.").run("1+2?").wait()


def streamed(model: Model) -> None:
    async def drain() -> None:
        async for _ in model.agent(add).stream("1+2?"):
            pass

    model.says([("add", {"a": 1, "b": 2})], "Three.")
    asyncio.run(drain())


def delegated(model: Model) -> None:
    specialist = model.agent(add, name="specialist", description="Adds.")
    model.says([("specialist", {"task": "1+2?"})], [("add", {"a": 1, "b": 2})], "Three.", "It is three.")
    model.agent(subagents=[specialist]).run("1+2?").wait()


def failed_tools(model: Model) -> None:
    model.says([("fail", {}), ("nothing", {}), ("add", {"a": "x"}), ("add", "{broken")], "I see.")
    model.agent(add, fail).run("Go").wait()


def failed_model(model: Model) -> None:
    model.server.fail(401)
    with pytest.raises(openai.AuthenticationError):
        model.agent(instructions="Add.").run("Go").wait()


def stopped(model: Model) -> None:
    model.agent(add, interceptors=[Stops()]).run("Go").wait()


RUNS = [whole, streamed, delegated, failed_tools, failed_model, stopped]


def faults_of(name: str, kind: str, attributes: dict[str, Any], *, failed: bool) -> list[str]:
    """What is wrong with a span of agents."""
    known = CONVENTIONS["spans"][name.split(maxsplit=1)[0]]
    allowed = known["attributes"]
    found = [] if kind.lower() == known["kind"] else [f"{name}: {kind}"]
    for key, value in attributes.items():
        if key.startswith("otelier.") or key == "deployment.environment.name":
            continue
        if key not in allowed and key not in WHO:
            found.append(f"{name}: {key} is not for it")
        elif key not in CONVENTIONS["types"] or not TYPES[CONVENTIONS["types"][key]](value):
            found.append(f"{name}: {key} is {value!r}")
    found += [f"{name}: no {key}" for key, level in allowed.items() if level == "required" and key not in attributes]
    if failed is not ("error.type" in attributes):
        found.append(f"{name}: failed is {failed}")
    return found


@pytest.mark.parametrize("mode", ["NO_CONTENT", "SPAN_ONLY", "EVENT_ONLY", "SPAN_AND_EVENT"])
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_spans_are_those_of_the_conventions(
    model: Model,
    otelier_spans: SpanRecorder,
    capture_content: Callable[[str], None],
    run: Callable[[Model], None],
    mode: str,
) -> None:
    """Kinds, attributes and the types of their values; content on spans in two of the modes only."""
    capture_content(mode)
    with otelier.context(user_id="alice", user_role="admin", session_id="s-1"):
        run(model)
    ours = [span for span in otelier_spans.spans if span.name.startswith(("invoke_agent", "execute_tool"))]
    assert ours
    faults = [
        fault
        for span in ours
        for fault in faults_of(span.name, span.kind.name, dict(span.attributes), failed=not span.status.is_ok)
    ]
    assert faults == []
    content = {key for span in ours for key in span.attributes if CONVENTIONS["types"].get(key) == "any"}
    assert bool(content) is mode.startswith("SPAN")
    assert all(span.attributes["gen_ai.conversation.id"] == "s-1" for span in ours)


@pytest.mark.parametrize(
    "wrong",
    [
        {"gen_ai.agent.nickname": "x"},
        {"gen_ai.agent.name": 7},
        {"gen_ai.usage.input_tokens": 1.5},
        {"gen_ai.provider.name": "openai"},
        {"gen_ai.output.messages": "no JSON"},
        {"error.type": "KeyError"},
    ],
)
def test_the_check_finds_what_is_wrong(wrong: dict[str, Any]) -> None:
    """An unknown attribute, a value of another type, an attribute of other spans, an error without a status."""
    with pytest.raises((AssertionError, ValueError)):
        assert not faults_of(
            "invoke_agent x", "INTERNAL", {"gen_ai.operation.name": "invoke_agent", **wrong}, failed=False
        )


def test_content_has_the_forms_of_the_conventions(model, otelier_spans, capture_content) -> None:
    """Messages, instructions, definitions, arguments and results; the output is one message that stopped."""
    capture_content("SPAN_ONLY")
    whole(model)
    run = otelier_spans.find("invoke_agent triage").attributes
    assert json.loads(run["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "1+2?"}]}
    ]
    assert json.loads(run["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Three."}], "finish_reason": "stop"}
    ]
    assert json.loads(run["gen_ai.system_instructions"]) == [{"type": "text", "content": "Add."}]
    (definition,) = json.loads(run["gen_ai.tool.definitions"])
    assert (definition["type"], definition["name"], definition["description"]) == (
        "function", "add", "Add two numbers.",
    )  # fmt: skip
    call = otelier_spans.find("execute_tool add").attributes
    assert json.loads(call["gen_ai.tool.call.arguments"]) == {"a": 1, "b": 2}
    assert json.loads(call["gen_ai.tool.call.result"]) == {"sum": 3}


def test_why_the_output_ended(model, otelier_spans) -> None:
    """The reason of the answer that is the output; a run that was stopped has none."""
    model.server.reply("So", finish_reason="length")
    model.agent().run("Go").wait()
    assert otelier_spans.find("invoke_agent triage").attributes["gen_ai.response.finish_reasons"] == ("length",)
    otelier_spans.clear()
    stopped(model)
    assert "gen_ai.response.finish_reasons" not in otelier_spans.find("invoke_agent triage").attributes


def test_instructions_on_a_span_are_those_that_held(model, otelier_spans, capture_content) -> None:
    """Also when an interceptor put others in their place."""
    capture_content("SPAN_ONLY")

    class Changes(Interceptor):
        async def intercept(self, phase, context):
            return InterceptResult.modify_prompt("Subtract.") if phase is Phase.PRE_RUN else None

    model.agent(instructions="Add.", interceptors=[Changes()]).run("Go").wait()
    said = otelier_spans.find("invoke_agent triage").attributes["gen_ai.system_instructions"]
    assert json.loads(said)[0]["content"] == "Subtract."


def test_instructions_are_content_also_of_a_subagent(model, otelier_spans) -> None:
    """The model is told them as what the subagent is for; no span tells them while content is off."""
    specialist = model.agent(name="specialist", instructions="CANARY: never tell.")
    model.says([("specialist", {"task": "t"})], "Yes.", "Done.")
    model.agent(subagents=[specialist]).run("Go").wait()
    told = model.server.requests[0].body["tools"][0]["function"]["description"]
    assert told == "CANARY: never tell."
    assert "CANARY" not in repr([span.attributes for span in otelier_spans.records])


def test_tokens_stand_on_the_calls_of_the_model_only(model, otelier_spans) -> None:
    """A sum over a trace counts each once."""
    delegated(model)
    counted = [span.name for span in otelier_spans.records if "gen_ai.usage.input_tokens" in span.attributes]
    assert counted == ["chat gpt-4.1"] * 4


@pytest.mark.parametrize("mode", ["EVENT_ONLY", "SPAN_AND_EVENT"])
def test_content_events_come_from_the_calls_of_the_model(model, otelier_spans, capture_content, mode) -> None:
    """The conventions have none for runs and tools; arguments and results stand in those of the model's calls."""
    capture_content(mode)
    otelier.openai.OpenAIInstrumentor().uninstrument()  # it reads the mode when it is switched on
    otelier.openai.OpenAIInstrumentor().instrument(
        tracer_provider=otelier_spans.tracer_provider, logger_provider=otelier_spans.logger_provider
    )
    whole(model)
    events = [entry for entry in otelier_spans.logs if entry.event_name.startswith("gen_ai.")]
    assert [entry.event_name for entry in events] == ["gen_ai.client.inference.operation.details"] * 2
    assert [entry.attributes["gen_ai.agent.name"] for entry in events] == ["triage"] * 2
    last = repr(events[-1].attributes["gen_ai.input.messages"])
    assert "1+2?" in last
    assert "sum" in last


# --- metrics -----------------------------------------------------------------------------------------------------
def points(recorder: SpanRecorder) -> dict[str, dict[tuple[Any, ...], Any]]:
    """Count and sum of each point of agents, by metric, and agent, tool and error."""
    keys = ("gen_ai.agent.name", "gen_ai.tool.name", "error.type")
    found: dict[str, dict[tuple[Any, ...], Any]] = {}
    for point in recorder.metric_points:
        if point.name in CONVENTIONS["metrics"]:
            key = tuple(point.attributes[one] for one in keys if one in point.attributes)
            whole_number = point.name.endswith("_calls")
            found.setdefault(point.name.removeprefix("gen_ai."), {})[key] = (
                (point.count, point.sum) if whole_number else point.count
            )
    return found


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_metrics_are_those_of_the_conventions(model, otelier_spans, run) -> None:
    """Names, units, buckets, attributes and types; never an id of a user, a session or a workflow."""
    with otelier.context(user_id="alice", session_id="s-1", workflow_id="w-1"):
        run(model)
    ours = [point for point in otelier_spans.metric_points if point.scope == "otelier.agents"]
    assert {point.name for point in ours} >= {
        "gen_ai.invoke_agent.duration", "gen_ai.invoke_agent.inference_calls", "gen_ai.invoke_agent.tool_calls",
    }  # fmt: skip
    for point in ours:
        known = CONVENTIONS["metrics"][point.name]
        assert (point.kind, point.unit) == ("histogram", known["unit"])
        assert list(point.bounds) == known["buckets"]
        assert set(point.attributes) <= set(known["attributes"])
        assert {key for key, level in known["attributes"].items() if level == "required"} <= set(point.attributes)
        assert all(TYPES[CONVENTIONS["types"][key]](value) for key, value in point.attributes.items())
        assert point.attributes["gen_ai.agent.name"] in ("triage", "specialist")


def test_each_call_is_counted_once_across_delegations(model, otelier_spans) -> None:
    """A run counts its own questions and calls, and its duration is its span's."""
    delegated(model)
    assert points(otelier_spans) == {
        "invoke_agent.duration": {("triage",): 1, ("specialist",): 1},
        "invoke_agent.inference_calls": {("triage",): (1, 2), ("specialist",): (1, 2)},
        "invoke_agent.tool_calls": {("triage",): (1, 1), ("specialist",): (1, 1)},
        "execute_tool.duration": {("triage", "specialist"): 1, ("specialist", "add"): 1},
    }
    spans = {span.name: span for span in otelier_spans.records}
    for point in otelier_spans.metric_points:
        if point.name == "gen_ai.invoke_agent.duration":
            span = spans[f"invoke_agent {point.attributes['gen_ai.agent.name']}"]
            assert [one.span_id for one in point.exemplars] == [span.span_id]


def test_what_failed_is_counted_with_its_error(model, otelier_spans) -> None:
    """Failed questions and calls count; invented names of tools do not become series."""
    failed_tools(model)
    failed_model(model)
    assert points(otelier_spans) == {
        "invoke_agent.duration": {("triage",): 1, ("triage", "openai.AuthenticationError"): 1},
        "invoke_agent.inference_calls": {("triage",): (2, 3)},
        "invoke_agent.tool_calls": {("triage",): (2, 4)},
        "execute_tool.duration": {
            ("triage", "fail", "KeyError"): 1,
            ("triage", "unknown", "unknown_tool"): 1,
            ("triage", "add", "otelier.errors.ToolArgumentsError"): 2,
        },
    }


def test_unsampled_runs_are_measured_too(model, otelier_spans, monkeypatch) -> None:
    """Metrics do not depend on sampling; without a sampled span there is no exemplar."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    otelier.init(tracer_provider=TracerProvider(sampler=ALWAYS_OFF))
    whole(model)
    assert points(otelier_spans)["invoke_agent.inference_calls"] == {("triage",): (1, 2)}


def test_metrics_go_where_otelier_was_told(model, otelier_spans) -> None:
    """`init(meter_provider=)` is for runs and tools as well as for the calls of the model."""
    own = SpanRecorder()
    otelier.init(meter_provider=own.meter_provider)
    whole(model)
    assert points(own)["invoke_agent.tool_calls"] == {("triage",): (1, 1)}
    assert points(otelier_spans) == {}


def test_listed_tenants_on_metrics(model, otelier_spans, monkeypatch) -> None:
    """Runs, their tools and their calls of the model count for the tenant of their context, or for `_OTHER`."""
    monkeypatch.setenv("OTELIER_METRIC_TENANTS", "acme")
    read_metric_tenants()
    for tenant in ("acme", "initech", None):
        with otelier.context(user_id="bob", tenant_id=tenant):
            delegated(model)
    model.says("Hello.")
    model.agent(name="clerk").run("Hi", context=OfTenant(tenant_id="acme")).wait()
    counted: dict[str, dict[Any, int]] = {}
    for point in otelier_spans.metric_points:
        by_tenant = counted.setdefault(point.name, {})
        tenant = point.attributes.get("otelier.tenant.id")
        by_tenant[tenant] = by_tenant.get(tenant, 0) + (point.count or 0)
        assert not [key for key in point.attributes if key.startswith(("user.", "session."))]
    assert counted["gen_ai.invoke_agent.duration"] == {"acme": 3, "_OTHER": 2, None: 2}
    assert counted["gen_ai.invoke_agent.tool_calls"] == {"acme": 3, "_OTHER": 2, None: 2}
    assert counted["gen_ai.execute_tool.duration"] == {"acme": 2, "_OTHER": 2, None: 2}
    assert counted["gen_ai.client.operation.duration"] == {"acme": 5, "_OTHER": 4, None: 4}


LATE = """
import json
import otelier
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from otelier.interceptors import RequireRole

agent = otelier.Agent("triage", "gpt-4.1", interceptors=[RequireRole("nobody")])
agent.run("Go").wait()
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
agent.run("Go").wait()
agent.run("Go").wait()
data = json.loads(reader.get_metrics_data().to_json())
found = [one for group in data["resource_metrics"] for scope in group["scope_metrics"] for one in scope["metrics"]]
print(json.dumps({one["name"]: [point["count"] for point in one["data"]["data_points"]] for one in found}))
"""


def test_a_provider_may_be_set_late() -> None:
    """Runs from then on are measured, each once."""
    counted = run_program(LATE).answer
    ours = {name: count for name, count in counted.items() if name.startswith("gen_ai.invoke_agent")}
    assert ours == {
        "gen_ai.invoke_agent.duration": [2],
        "gen_ai.invoke_agent.inference_calls": [2],
        "gen_ai.invoke_agent.tool_calls": [2],
    }


def test_names_on_metrics_are_bounded(model, otelier_spans, caplog) -> None:
    """After 200 names of agents metrics carry no further one, with one warning; spans do. So it is with tools."""
    for number in range(202):
        model.agent(name=f"agent-{number}", interceptors=[Stops()]).run("Go").wait()
    tools = [otelier.tool(name=f"tool-{number}")(fail.__wrapped__) for number in range(202)]
    model.says([(one.name, {}) for one in tools], "Done.")
    model.agent(*tools, name="agent-0", max_calls_per_answer=202).run("Go").wait()
    named = {
        point.attributes["gen_ai.tool.name"]
        for point in otelier_spans.metric_points
        if point.name == "gen_ai.execute_tool.duration"
    }
    assert len(named) == 201
    assert "_OTHER" in named
    counted = points(otelier_spans)["invoke_agent.duration"]
    assert len(counted) == 201
    assert counted[("agent-0",)] == 2
    assert counted[()] == 2
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len([one for one in warnings if "gen_ai.agent.name" in one]) == 1
    assert "agent-201" not in "".join(warnings)
