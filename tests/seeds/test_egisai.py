"""Every example of the two egisai pages, with only imports and client set-up changed, and what each span got."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

import otelier
from otelier.identity import agent_id_for
from otelier.testing import OpenAIServer
from tests.seeds import agnt5, cogent
from tests.seeds.running import ALL, BY_FILE, EXAMPLES

PROCESS = {"gen_ai.main_agent.name": "orchestrator", "deployment.environment.name": "production"}


@pytest.fixture
def run(otelier_spans, monkeypatch):
    """Run an example against a local model and return its names and its spans."""
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-none")

        def run_example(file):
            names = BY_FILE[file].run()
            assert server.requests, "the example called no model"
            return names, otelier_spans.records

        yield run_example


def ours(span):
    """The attributes of a span that otelier wrote: who it was for, who made it."""
    prefixes = ("user.", "session.", "otelier.", "gen_ai.agent.", "gen_ai.main_agent.", "gen_ai.conversation.")
    return {
        key: value
        for key, value in span.attributes.items()
        if key.startswith(prefixes) or key == "deployment.environment.name"
    }


def calls(spans):
    return [ours(span) for span in spans if span.name == "chat gpt-4.1"]


def named(agent, source="agent"):
    return {"gen_ai.agent.name": agent, "otelier.agent.id": agent_id_for(agent), "otelier.agent.source": source}


def tenant(user, session):
    return {"user.id": user, "session.id": session, "gen_ai.conversation.id": session}


def test_every_example_file_is_run():
    """No example is left out."""
    assert sorted(BY_FILE) == sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("file", ["request_context.py", "async_handler.py"])
def test_each_request_is_tagged_with_its_user_session_and_agent(run, file):
    """FastAPI, sync and async client: each model call and each request span has its own user, session and agent."""
    _, spans = run(file)
    agents = ["customer-support-bot"] * 8 if file == "request_context.py" else ["triage", "billing"] * 4
    expected = {f"u-{number}": (f"s-{number}", agent) for number, agent in enumerate(agents)}
    for call in calls(spans):
        session, agent = expected[call["user.id"]]
        assert call == {**tenant(call["user.id"], session), **named(agent), **PROCESS}
    requests = [ours(span) for span in spans if span.kind == "SERVER"]
    for request in requests:
        session, agent = expected[request["user.id"]]
        assert request == {"user.id": request["user.id"], "session.id": session, **named(agent), **PROCESS}
    for seen in (calls(spans), requests):
        assert Counter(found["user.id"] for found in seen) == Counter(list(expected))
    assert otelier.get_context() == otelier.CallContext()


def test_the_model_call_is_a_child_of_its_request(run):
    """Each call stands in the trace of the request that made it, below the request's span."""
    _, spans = run("async_handler.py")
    servers = {span.span_id: span for span in spans if span.kind == "SERVER"}
    for span in spans:
        if span.name == "chat gpt-4.1":
            assert servers[span.parent_id].attributes["user.id"] == span.attributes["user.id"]


@pytest.mark.parametrize("file", ["sub_agents_short.py", "sub_agents.py"])
def test_calls_from_each_function_show_up_as_separate_agents(run, file):
    """Several sub-agents in one process: each function's call has its own agent, with an id of its own."""
    _, spans = run(file)
    found = calls(spans)
    # Where the page gives each a system prompt, that stands on the calls as a fingerprint: another for another one.
    prompts = [call.pop("otelier.agent.fingerprint", None) for call in found]
    assert prompts == [None, None] if file == "sub_agents_short.py" else len({*prompts, None}) == 3
    assert found == [{**named("triage-agent"), **PROCESS}, {**named("billing-agent"), **PROCESS}]


def test_all_steps_share_the_workflow(run):
    """Workflow correlation: every step's call carries the one workflow id and the process's own agent."""
    names, spans = run("workflow_short.py")
    assert calls(spans) == [
        {"otelier.workflow.id": names["workflow_id"], **named("orchestrator", "app"), **PROCESS}
    ] * len(names["plan"])


def test_one_agent_per_process_needs_init_only(run):
    """The default: every call is attributed to `app`."""
    _, spans = run("one_agent.py")
    app = {**PROCESS, "gen_ai.main_agent.name": "customer-support-bot"}
    assert calls(spans) == [{**named("customer-support-bot", "app"), **app}]


def test_the_tenant_is_apart_from_the_agent(run):
    """Multi-tenant SaaS: one agent, the user and session of each request."""
    _, spans = run("multi_tenant.py")
    assert calls(spans) == [
        {**tenant(user, session), **named("customer-support-bot"), **PROCESS}
        for user, session in (("u-1", "s-1"), ("u-2", "s-2"))
    ]


def test_the_workflow_is_preserved_when_the_agent_changes(run):
    """A workflow over several calls: planner and steps are different agents of one workflow."""
    names, spans = run("workflow.py")
    assert calls(spans) == [
        {"otelier.workflow.id": names["workflow_id"], **named(agent), **PROCESS}
        for agent in ("planner", "researcher", "writer", "reviewer")
    ]


def test_tasks_and_pool_threads_inherit_and_top_level_threads_do_not(run):
    """Threading and asyncio: the page's three sentences."""
    _, spans = run("threads_and_tasks.py")
    inherited = [{"user.id": user, **named("planner"), **PROCESS} for user in ("u-task", "u-pool") for _ in range(2)]
    assert calls(spans) == [
        *inherited,
        {**named("orchestrator", "app"), **PROCESS},
        {"user.id": "u-thread", **named("worker"), **PROCESS},
    ]


def test_explicit_calls_always_win(run):
    """Resolution: the id before the name before the app, `None` leaves alone, an empty text clears."""
    _, spans = run("precedence.py")
    given = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    explicit = {"gen_ai.agent.id": given, "otelier.agent.id": given, "otelier.agent.source": "agent_id"}
    expected = [
        named("orchestrator", "app"),
        named("triage-agent"),
        explicit,
        explicit,
        named("triage-agent"),
        named("orchestrator", "app"),
    ]
    assert calls(spans) == [{**agent, **PROCESS} for agent in expected]


@pytest.mark.slow
def test_the_report_shows_every_example():
    """`python -m tests.seeds.report` runs all examples and blocks in one process and prints what came of each."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.seeds.report"], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    count = len(cogent.BLOCKS) + len(agnt5.BLOCKS)
    assert done.stdout.endswith(f"{len(ALL)} examples, {count} of {count} blocks\n")
    for example in ALL:
        assert f"{example.page}: {example.file}" in done.stdout
