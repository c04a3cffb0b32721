"""Every code block of cogent's `RunContext` page, with only imports changed, against a local model.

What a block uses and does not define is given to it by name, as a program around it would. Where blocks contradict
each other, the names do: `testing` awaits `get_user_orders.__wrapped__`, which is a plain function in `accessing
context`, and builds a `MyContext` of other fields than `basic context` has, so it is given an async tool and a class
with its own fields.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import inspect
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import openai
import pytest

import otelier
from otelier.interceptors import Phase
from otelier.testing import OpenAIServer

PAGE = (Path(__file__).parent / "run_context.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^## (.+?)\n\n```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
MODEL = "gpt-4.1"


@pytest.fixture
def server(otelier_spans, monkeypatch):
    """The model that agents without a client ask."""
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
        yield server


@pytest.fixture
def block(server):
    """Run a block and what a test adds to it, in one module and on one event loop; gives its names."""
    ran: list[str] = []

    def run(title: str, *, then: str = "", **given: Any) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "page", "dataclass": dataclass, "field": field, "model": MODEL}
        names.update(
            {name: getattr(otelier, name) for name in ("Agent", "RunContext", "tool", "generate_id", "now_utc")}
        )
        names.update(given)
        ran.append(title)
        code = compile(BLOCKS[title] + "\n" + then, title, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(code, names)
        if inspect.iscoroutine(result):
            asyncio.run(result)
        return names

    return run


def calls(server: OpenAIServer, *turns: tuple[str, dict[str, Any]] | str) -> None:
    """Say what the model answers, turn by turn: a call of a tool, or a text."""
    for turn in turns:
        if isinstance(turn, str):
            server.reply(turn)
        else:
            server.reply(tool_calls=[turn])


def sent(request: Any) -> Any:
    """The result of a tool that a request sends to the model."""
    assert request.answers_tool
    return request.messages[-1]["content"]


def agent_with(*tools: Any, name: str = "assistant", **options: Any) -> otelier.Agent:
    return otelier.Agent(name=name, model=MODEL, tools=tools, **options)


def test_every_block_of_the_page_has_its_test():
    """Twenty blocks, and each is run below under its own name."""
    here = Path(__file__).read_text(encoding="utf-8")
    assert len(BLOCKS) == 20
    assert [title for title in BLOCKS if not re.search(rf'block\(\s*"{title}"', here)] == []


def test_overview(block, server, otelier_spans, capsys):
    """A tool gets the subclass with its required fields; the query is filled in; nothing of it but the user is told."""
    calls(server, ("get_user_data", {}), "You are Ada.")
    db = SimpleNamespace(get_user=lambda user_id: SimpleNamespace(name=f"Ada {user_id}"))
    names = block("overview", Database=SimpleNamespace, db=db, key="sk-canary-000000000000")
    assert capsys.readouterr().out == "Original query: Get my profile data\n"
    assert names["result"].output == "You are Ada."
    assert sent(server.requests[1]) == "User: Ada 123"
    assert otelier_spans.tree("user.id", "gen_ai.agent.name") == (
        "invoke_agent assistant INTERNAL user.id='123' gen_ai.agent.name='assistant'\n"
        "  chat gpt-4.1 CLIENT user.id='123' gen_ai.agent.name='assistant'\n"
        "  execute_tool get_user_data INTERNAL user.id='123' gen_ai.agent.name='assistant'\n"
        "  chat gpt-4.1 CLIENT user.id='123' gen_ai.agent.name='assistant'"
    )
    assert "canary" not in repr([span.attributes for span in otelier_spans.records])


def test_query_is_kept_by_subagents(block, server, otelier_spans):
    """The delegated agent receives its own task, and still finds the original query."""
    seen: list[tuple[str, str]] = []

    @otelier.tool
    def check(ctx: otelier.RunContext) -> str:
        seen.append((ctx.query, ctx.agent.name))
        return "No."

    specialist = agent_with(check, name="specialist")
    orchestrator = agent_with(name="orchestrator", subagents=[specialist])
    calls(server, ("specialist", {"task": "check user permissions"}), ("check", {}), "He may not.", "No, sorry.")
    ctx = otelier.RunContext()
    names = block("query", orchestrator=orchestrator, ctx=ctx)
    assert names["result"].output == "No, sorry."
    assert seen == [("Can I delete files?", "specialist")]
    assert server.requests[1].prompt == "check user permissions"
    assert ctx == otelier.RunContext()


def test_basic_context(block):
    """Required fields, a default and a method on a subclass."""
    context = block("basic context")["MyContext"](user_id="u", session_id="s", permissions=["read"])
    assert (context.has_permission("read"), context.has_permission("write"), context.query) == (True, False, "")


def test_context_with_services(block):
    """Async methods on a context reach the services that it holds."""
    user = SimpleNamespace(to_json=lambda: "{}")
    stored: dict[str, Any] = {}

    class Cache:
        async def get(self, key: str) -> Any:
            return stored.get(key)

        async def set(self, key: str, value: Any) -> None:
            stored[key] = value

    class Database:
        async def get_user(self, user_id: str) -> Any:
            return user

    named = {"Database": Database, "Redis": Cache, "APIClient": object, "Logger": logging.Logger, "User": Mock()}
    kind = block("with services", **named)["ServiceContext"]
    context = kind(db=Database(), cache=Cache(), api_client=object(), logger=logging.getLogger("page"))
    assert asyncio.run(context.get_user("7")) is user
    assert stored == {"user:7": "{}"}


def test_accessing_the_context(block, server):
    """Tools read the context's fields and methods, and the model is not asked for it."""
    names = block("accessing context")

    @dataclass
    class Shop(otelier.RunContext):
        user_id: str
        db: Any

        def has_permission(self, permission: str) -> bool:
            return permission == "admin"

    assert list(names["admin_action"].parameters["properties"]) == ["action"]
    server.reply(tool_calls=[("get_user_orders", {}), ("admin_action", {"action": "restart"})])
    server.reply("Done.")
    db = SimpleNamespace(get_orders=lambda user_id: [user_id, user_id])
    result = (
        agent_with(names["get_user_orders"], names["admin_action"]).run("Go", context=Shop(user_id="u", db=db)).wait()
    )
    assert [call.result for call in result.tool_calls] == ["Found 2 orders", "Performed: restart"]


def test_an_optional_context(block, server):
    """Without a context the tool gets `None`; with one it gets it, beside its other arguments."""
    found = block(
        "context with other parameters",
        personalized_search=lambda query, user, limit: f"{query} for {user}, {limit}",
        generic_search=lambda query, limit: f"{query}, {limit}",
    )["search_with_context"]
    assert found.parameters["required"] == ["query"]

    @dataclass
    class User(otelier.RunContext):
        user_id: str

    for context in (None, User(user_id="u")):
        calls(server, ("search_with_context", {"query": "shoes"}), "Found.")
        agent_with(found).run("Find shoes", context=context).wait()
    assert [sent(server.requests[at]) for at in (1, 3)] == ["shoes, 10", "shoes for u, 10"]


def test_an_interceptor_reads_the_context(block, server, otelier_spans):
    """A user without the permission gets the answer of the interceptor, and no model is asked."""
    names = block("interceptor", Phase=Phase)

    @dataclass
    class User(otelier.RunContext):
        permissions: tuple[str, ...] = ()

        def has_permission(self, permission: str) -> bool:
            return permission in self.permissions

    agent = agent_with(interceptors=[names["PermissionInterceptor"]()])
    assert agent.run("Hello", context=User()).output == "Permission denied"
    assert server.requests == ()
    assert otelier_spans.find("invoke_agent assistant").attributes["otelier.agent.stop.phase"] == "pre_run"
    assert agent.run("Hello", context=User(permissions=("use_agent",))).output == "Hello! How can I help you today?"


def test_metadata(block):
    """Read by key, and extended in a new context."""
    names = block("metadata", datetime=datetime)
    assert names["request_id"] == "req-123"
    assert (names["new_ctx"].get("version"), names["ctx"].get("version")) == ("1.0", None)


def test_subagents_get_the_context(block, server, otelier_spans, capsys):
    """The chain of delegation: the query is kept, lineage stands on the spans, the caller's object is unchanged."""
    calls(server, ("permission_checker", {"task": "check permissions"}), ("check_permissions", {}), "Denied.", "No.")
    names = block("subagents", RunContext=otelier.RunContext)
    assert names["result"].output == "No."
    assert capsys.readouterr().out == "Original query: Can I delete files?\n"
    shown = ("gen_ai.agent.name", "otelier.agent.depth", "otelier.agent.parent.name", "user.id")
    top = "gen_ai.agent.name='orchestrator' otelier.agent.depth=0 user.id='123'"
    below = (
        "gen_ai.agent.name='permission_checker' otelier.agent.depth=1 "
        "otelier.agent.parent.name='orchestrator' user.id='123'"
    )
    assert otelier_spans.tree(*shown) == (
        f"invoke_agent orchestrator INTERNAL {top}\n"
        f"  chat gpt-4.1 CLIENT {top}\n"
        f"  execute_tool permission_checker INTERNAL {top}\n"
        f"    invoke_agent permission_checker INTERNAL {below}\n"
        f"      chat gpt-4.1 CLIENT {below}\n"
        f"      execute_tool check_permissions INTERNAL {below}\n"
        f"      chat gpt-4.1 CLIENT {below}\n"
        f"  chat gpt-4.1 CLIENT {top}"
    )


def test_passing_a_context(block, server):
    """The context of this one run."""
    kind = block("basic context")["MyContext"]
    names = block("passing context", MyContext=kind)
    assert type(names["result"].context) is kind
    assert names["result"].context.query == "Perform action"


def test_immutability(block):
    """A frozen context under the same base, "modified" by a new instance."""
    names = block("basic context", then="class Both(MyContext): pass")

    @dataclass(frozen=True)
    class Frozen(otelier.RunContext):
        user_id: str

    context = Frozen(user_id="u", metadata={"a": 1})
    names = block("immutability", ctx=context)
    immutable = names["ImmutableContext"](user_id="u", tenant_id="t")
    with pytest.raises(dataclasses.FrozenInstanceError):
        immutable.user_id = "v"
    assert names["new_ctx"] == Frozen(user_id="u", metadata={"a": 1, "extra": "value"})
    assert context.metadata == {"a": 1}


def test_request_scoped(block, server, otelier_spans):
    """FastAPI builds the context of each request, and the run's spans are that user's."""
    from fastapi import Request

    class AsyncSession:
        pass

    async def get_db() -> AsyncSession:
        return AsyncSession()

    names = block(
        "request-scoped", Request=Request, AsyncSession=AsyncSession, get_db=get_db, get_agent=agent_with
    )  # fmt: skip

    @names["app"].middleware("http")
    async def authenticate(request: Request, call_next: Callable[..., Any]) -> Any:
        request.state.user_id, request.state.tenant_id = "u-1", "acme"
        return await call_next(request)

    async def post() -> Any:
        import httpx

        over = httpx.ASGITransport(app=names["app"])
        async with httpx.AsyncClient(transport=over, base_url="http://localhost") as client:
            return (await client.post("/chat", params={"message": "Hello"}, headers={"X-Trace-ID": "t-1"})).json()

    assert asyncio.run(post()) == {"response": "Hello! How can I help you today?"}
    run = otelier_spans.find("invoke_agent assistant")
    assert (run.attributes["user.id"], run.attributes["otelier.tenant.id"]) == ("u-1", "acme")


def test_multi_tenant(block, server, otelier_spans):
    """The tenant stands on the run's spans; its configuration does not."""
    names = block("multi-tenant", agent=agent_with())
    assert names["result"].context.can_use_tool("search")
    attributes = otelier_spans.find("invoke_agent assistant").attributes
    assert attributes["otelier.tenant.id"] == "acme-corp"
    assert "max_tokens" not in repr(dict(attributes))


def test_testing_with_a_context(block):
    """The plain function behind a tool is called with a context that a test makes."""

    @dataclass
    class MyContext(otelier.RunContext):
        user_id: str
        db: Any
        cache: Any

    @otelier.tool
    async def get_user_orders(ctx: otelier.RunContext) -> str:
        return f"no orders of {ctx.user_id}"

    names = block("testing", MyContext=MyContext, get_user_orders=get_user_orders)
    made = MyContext(user_id="test-user", db=Mock(), cache=Mock())
    asyncio.run(names["test_tool_with_context"](made))


def test_delegation_depth(block, server, otelier_spans):
    """A plain tool delegates with a context of its own and reads `.output`, from its thread."""
    names = block("delegation depth")
    orchestrator = agent_with(names["delegate_task"], name="orchestrator")
    calls(server, ("delegate_task", {"task": "sort"}), ("process_task", {}), "Sorted.", "Done.")
    context = names["DelegationContext"]()
    assert orchestrator.run("Sort it", context=context).output == "Done."
    assert sent(server.requests[2]) == "Sub-task processing at depth 1"
    assert sent(server.requests[3]) == "Sorted."
    assert "\n    invoke_agent specialist INTERNAL otelier.agent.depth=1" in otelier_spans.tree("otelier.agent.depth")
    assert context.depth == 0


def test_retry(block, server):
    """A second attempt knows that it is one."""
    given = {"failed": True, "retry_count": 1, "max_retries": 3, "ctx": otelier.RunContext(query="first")}
    names = block("retry", agent=agent_with(), task="again", **given, then="assert result.output")
    retried = names["result"].context
    assert (retried.query, retried.is_retry, retried.retry_count) == ("first", True, 2)
    server.clear()
    calls(server, ("fetch_data", {"url": "http://localhost/"}), "Fetched.")
    agent_with(names["fetch_data"]).run("Fetch", context=retried).wait()
    assert sent(server.requests[1]) == "Data from http://localhost/"


def test_lineage(block, server):
    """A child context built by hand keeps the query, and the run below it keeps the child's fields."""
    names = block("lineage")
    specialist = agent_with(names["analyze_lineage"], name="specialist")
    names["specialist"] = specialist
    calls(server, ("analyze_lineage", {}), "Two deep.")
    root = names["TaskContext"](query="start")
    assert names["delegate_with_lineage"]("look", root) == "Two deep."
    assert sent(server.requests[1]).startswith(f"Task chain (1 deep): {root.task_id} → ")


def test_timing(block, server):
    """A deadline on the context is read by the tool."""
    names = block("timing", agent=agent_with(), then="assert result.output")
    calls(server, ("long_running_task", {}), "Ran.")
    agent = agent_with(names["long_running_task"])
    agent.run("Go", context=names["TimedContext"](deadline=otelier.now_utc())).wait()
    assert sent(server.requests[-1]) == "Task deadline exceeded - aborting"


def test_combining(block, server):
    """The combined context and its own child."""
    names = block("combining", datetime=datetime)
    context = names["ExecutionContext"](query="q")
    child = context.create_child_context()
    assert (child.query, child.depth, child.parent_task_id) == ("q", 1, context.task_id)
    calls(server, ("smart_task", {}), "Ran.")
    agent_with(names["smart_task"]).run("Go", context=child).wait()
    assert sent(server.requests[1]).startswith(f"Task {child.task_id} at depth 1 (elapsed: 0.")


def test_api_reference(block):
    """The class that the page describes: ours has its fields, in its way, and its methods."""
    described = block("api reference", Any=Any)["RunContext"]

    def told(kind: type) -> dict[str, tuple[Any, bool]]:
        return {one.name: (one.default, one.repr) for one in dataclasses.fields(kind)}

    assert told(otelier.RunContext) == told(described)
    for name in ("get", "with_metadata"):
        ours = inspect.signature(getattr(otelier.RunContext, name)).parameters.values()
        theirs = inspect.signature(getattr(described, name)).parameters.values()
        assert [(one.kind, one.default) for one in ours] == [(one.kind, one.default) for one in theirs]


def test_a_given_client_serves_a_block_as_well(server):
    """The same with a client of one's own, sync or not."""
    with openai.OpenAI(base_url=server.base_url, api_key="sk-none") as client:
        assert agent_with(client=client).run("Hello").output == "Hello! How can I help you today?"
