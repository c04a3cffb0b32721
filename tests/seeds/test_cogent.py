"""Every code block of cogent's `RunContext` page, with only imports changed, against a local model.

What a block uses and does not define is given to it by name, as a program around it would; `cogent.py` lists these
names, and says which blocks contradict others and why.
"""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import inspect
import logging
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import fakeredis
import httpx
import openai
import pytest
from fastapi import Request

import otelier
from otelier.interceptors import Phase
from otelier.testing import OpenAIServer
from tests.seeds.cogent import BLOCKS, CONTRADICTIONS, DIGEST, EARLIER, SUPPLIED, digest
from tests.seeds.services import AsyncDatabase, Database, User, opened

MODEL = "gpt-4.1"


@pytest.fixture
def server(otelier_spans, monkeypatch):
    """The model that agents without a client ask."""
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
        yield server


@pytest.fixture
def block(server, request):
    """Run a block and what a test adds to it, in one module and on one event loop; gives its names."""

    def run(title: str, *, then: str = "", **given: Any) -> dict[str, Any]:
        assert sorted(given) == sorted(SUPPLIED.get(title, ()))
        request.node.user_properties.append(("block", title))  # for the report
        known = {"dataclass": dataclass, "field": field, "model": MODEL}
        names: dict[str, Any] = {name: known.get(name) or getattr(otelier, name) for name in EARLIER}
        names.update(given, __name__="page")
        source = BLOCKS[title].replace("tools=[...]", "tools=[]")  # what the page leaves out
        code = compile(source + "\n" + then, title, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(code, names)
        if inspect.iscoroutine(result):
            asyncio.run(result)
        return names

    return run


@pytest.fixture
def db():
    """Users and orders in SQLite."""
    with opened() as database:
        yield database


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


def test_no_block_was_edited():
    """With the page's imports put back, the blocks are the page's own, letter by letter."""
    assert digest() == DIGEST
    assert SUPPLIED.keys() | CONTRADICTIONS.keys() <= BLOCKS.keys()


def test_overview(block, server, db, otelier_spans, capsys):
    """A tool gets the subclass with its required fields; the query is filled in; nothing of it but the user is told."""
    calls(server, ("get_user_data", {}), "You are Ada.")
    names = block("overview", Database=Database, db=db, key="sk-canary-000000000000")
    assert capsys.readouterr().out == "Original query: Get my profile data\n"
    assert names["result"].output == "You are Ada."
    assert sent(server.requests[1]) == "User: Ada"
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
    """Async methods on a context reach the services that it holds: Redis first, then the database, which fills it."""
    kind = block(
        "with services", Database=AsyncDatabase, Redis=fakeredis.FakeAsyncRedis, APIClient=object,
        Logger=logging.Logger, User=User,
    )["ServiceContext"]  # fmt: skip

    @otelier.tool
    async def greet(ctx: kind) -> str:
        return f"Hello, {(await ctx.get_user('123')).name}"

    async def twice(db: Any) -> tuple[list[Any], str]:
        async with fakeredis.FakeAsyncRedis() as cache:
            context = kind(db=db, cache=cache, api_client=object(), logger=logging.getLogger("page"))
            users = [await context.get_user("123"), await context.get_user("123")]
            result = await agent_with(greet).run("Greet", context=context)
            return [*users, await cache.get("user:123")], result.tool_calls[0].result

    with opened(AsyncDatabase) as db:
        (first, second, cached), greeted = asyncio.run(twice(db))
        assert db.asked == 1
    assert first == second == User("123", "Ada") == User.from_json(cached)
    assert greeted == "Hello, Ada"


def test_accessing_the_context(block, server, db):
    """Tools read the context's fields and methods, and the model is not asked for it."""
    names = block("accessing context")

    @dataclass
    class Shop(otelier.RunContext):
        user_id: str
        db: Any
        permissions: tuple[str, ...] = ()

        def has_permission(self, permission: str) -> bool:
            return permission in self.permissions

    assert list(names["admin_action"].parameters["properties"]) == ["action"]
    assert names["get_user_orders"].parameters["properties"] == {}
    agent = agent_with(names["get_user_orders"], names["admin_action"])
    for permissions, said in (((), "Permission denied"), (("admin",), "Performed: restart")):
        server.reply(tool_calls=[("get_user_orders", {}), ("admin_action", {"action": "restart"})])
        server.reply("Done.")
        result = agent.run("Go", context=Shop("123", db, permissions)).wait()
        assert [call.result for call in result.tool_calls] == ["Found 2 orders", said]


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
    context, extended = names["ctx"], names["new_ctx"]
    assert names["request_id"] == "req-123" == context.get("request_id") == context.metadata["request_id"]
    assert context.get("nothing", "else") == "else"
    assert extended.metadata == {**context.metadata, "timestamp": extended.get("timestamp"), "version": "1.0"}
    assert isinstance(extended.get("timestamp"), datetime)
    assert context.get("version") is None


def test_subagents_get_the_context(block, server, otelier_spans, capsys):
    """The chain of delegation: the query is kept, lineage stands on the spans, the caller's object is unchanged."""
    calls(server, ("permission_checker", {"task": "check permissions"}), ("check_permissions", {}), "Denied.", "No.")
    names = block("subagents")
    assert names["result"].output == "No."
    assert capsys.readouterr().out == "Original query: Can I delete files?\n"
    assert server.requests[1].prompt == "check permissions"
    assert sent(server.requests[2]) == "Permission denied"
    allowed = names["UserContext"](user_id="1", permissions={"admin"})
    assert names["check_permissions"].__wrapped__(allowed) == "Permission granted"
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


def test_passing_a_context(block, server, otelier_spans):
    """The context of this one run."""
    kind = block("basic context")["MyContext"]
    context = block("passing context", MyContext=kind)["result"].context
    assert type(context) is kind
    assert (context.query, context.user_id, context.session_id) == ("Perform action", "user-123", "sess-456")
    assert context.has_permission("write")
    attributes = otelier_spans.find("invoke_agent assistant").attributes
    assert (attributes["user.id"], attributes["session.id"]) == ("user-123", "sess-456")


def test_immutability(block):
    """A frozen context under the same base, "modified" by a new instance."""

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
    extended = immutable.with_metadata(extra="value")
    assert (type(extended), extended.get("extra"), immutable.get("extra")) == (type(immutable), "value", None)


def test_request_scoped(block, server, otelier_spans):
    """FastAPI builds the context of each request, and the run's spans and data are that user's."""
    open_sessions = []

    class AsyncSession(AsyncDatabase):
        pass

    async def get_db():
        with opened(AsyncSession) as session:
            open_sessions.append(session)
            yield session
            open_sessions.remove(session)

    @otelier.tool
    async def who(ctx: otelier.RunContext) -> str:
        """Look the user up."""
        return f"{(await ctx.db.get_user(ctx.user_id)).name} {ctx.trace_id} {len(open_sessions)}"

    server.reply(tool_calls=[("who", {})], when=lambda request: not request.answers_tool, times=None)
    names = block(
        "request-scoped", Request=Request, AsyncSession=AsyncSession, get_db=get_db,
        get_agent=lambda: agent_with(who),
    )  # fmt: skip

    @names["app"].middleware("http")
    async def authenticate(request: Request, call_next: Any) -> Any:
        user = request.headers["X-User"]
        request.state.user_id, request.state.tenant_id = user, f"tenant of {user}"
        return await call_next(request)

    async def post() -> list[Any]:
        over = httpx.ASGITransport(app=names["app"])
        async with httpx.AsyncClient(transport=over, base_url="http://localhost") as client:

            async def one(user: str) -> Any:
                headers = {"X-Trace-ID": f"t-{user}", "X-User": user}
                return (await client.post("/chat", params={"message": "Who am I?"}, headers=headers)).json()

            return [await one("u-1"), await one("u-2")]

    assert asyncio.run(post()) == [
        {"response": "According to the tool: Grace t-u-1 1"}, {"response": "According to the tool: Edsger t-u-2 1"}
    ]  # fmt: skip
    assert open_sessions == []
    runs = [span.attributes for span in otelier_spans.records if span.name == "invoke_agent assistant"]
    assert [(run["user.id"], run["otelier.tenant.id"]) for run in runs] == [
        ("u-1", "tenant of u-1"), ("u-2", "tenant of u-2")
    ]  # fmt: skip


def test_multi_tenant(block, server, otelier_spans):
    """The tenant stands on the run's spans; its configuration does not."""
    names = block("multi-tenant", agent=agent_with())
    context = names["result"].context
    assert [context.can_use_tool(name) for name in ("search", "calculate", "delete")] == [True, True, False]
    assert (context.query, context.rate_limit, context.tenant_config) == ("Query", 100, {"max_tokens": 4000})
    attributes = otelier_spans.find("invoke_agent assistant").attributes
    assert attributes["otelier.tenant.id"] == "acme-corp"
    assert "max_tokens" not in repr(dict(attributes))


def test_testing_with_a_context(block, monkeypatch):
    """The plain function behind a tool is called with a context that a test makes."""

    @dataclass
    class MyContext(otelier.RunContext):
        user_id: str
        db: Any
        cache: Any

    @otelier.tool
    async def get_user_orders(ctx: otelier.RunContext) -> str:
        return f"no orders of {ctx.user_id}"

    monkeypatch.setattr(pytest, "fixture", lambda function: function)  # what it marks is called by hand here
    names = block("testing", MyContext=MyContext, get_user_orders=get_user_orders)
    context = names["test_context"]()
    assert (context.user_id, isinstance(context.db, Mock)) == ("test-user", True)
    asyncio.run(names["test_tool_with_context"](context))


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
    told = [
        names["process_task"].__wrapped__(names["DelegationContext"](depth=depth, max_depth=2)) for depth in range(3)
    ]
    assert told == [
        "Top-level processing", "Sub-task processing at depth 1",
        "Maximum delegation depth reached - handling directly",
    ]  # fmt: skip


def test_retry(block, server, capsys):
    """A second attempt knows that it is one, and has more time."""
    given = {"failed": True, "retry_count": 1, "max_retries": 3, "ctx": otelier.RunContext(query="first")}
    names = block("retry", agent=agent_with(), task="again", **given, then="assert result.output")
    retried = names["result"].context
    assert (retried.query, retried.is_retry, retried.retry_count) == ("first", True, 2)
    server.clear()
    calls(server, ("fetch_data", {"url": "http://localhost/"}), "Fetched.")
    agent_with(names["fetch_data"]).run("Fetch", context=retried).wait()
    assert sent(server.requests[1]) == "Data from http://localhost/"
    assert capsys.readouterr().out == "Retry #2 with timeout=20s\n"
    assert names["fetch_data"].__wrapped__("here", names["RetryContext"]()) == "Data from here"
    assert capsys.readouterr().out == ""


def test_lineage(block, server):
    """A child context built by hand keeps the query, and the run below it keeps the child's fields."""
    names = block("lineage")
    specialist = agent_with(names["analyze_lineage"], name="specialist")
    names["specialist"] = specialist
    calls(server, ("analyze_lineage", {}), "Two deep.")
    root = names["TaskContext"](query="start")
    assert names["delegate_with_lineage"]("look", root) == "Two deep."
    found = re.fullmatch(rf"Task chain \(1 deep\): {root.task_id} → (\w+)", sent(server.requests[1]))
    assert found
    assert found[1] != root.task_id
    assert (root.is_root_task, root.depth) == (True, 0)
    assert names["analyze_lineage"].__wrapped__(root) == f"Root task: {root.task_id}"


def test_timing(block, server):
    """A deadline on the context is read by the tool."""
    names = block("timing", agent=agent_with(), then="assert result.output")
    calls(server, ("long_running_task", {}), "Ran.")
    agent = agent_with(names["long_running_task"])
    kind, tool = names["TimedContext"], names["long_running_task"].__wrapped__
    agent.run("Go", context=kind(deadline=otelier.now_utc())).wait()
    assert sent(server.requests[-1]) == "Task deadline exceeded - aborting"
    assert (
        tool(kind(deadline=otelier.now_utc() + timedelta(seconds=4))) == "Running in fast mode - deadline approaching"
    )
    assert tool(kind()).startswith("Normal execution (elapsed: ")
    assert tool(names["ctx"]).startswith("Normal execution (elapsed: ")
    assert (kind().remaining_seconds, kind().is_overdue) == (None, False)
    assert names["ctx"].remaining_seconds + names["ctx"].elapsed_seconds <= 30


def test_combining(block, server):
    """The combined context and its own child."""
    names = block("combining", datetime=datetime)
    context = names["ExecutionContext"](query="q")
    child = context.create_child_context()
    assert (child.query, child.depth, child.parent_task_id) == ("q", 1, context.task_id)
    calls(server, ("smart_task", {}), "Ran.")
    agent_with(names["smart_task"]).run("Go", context=child).wait()
    assert sent(server.requests[1]).startswith(f"Task {child.task_id} at depth 1 (elapsed: ")
    kind, tool = names["ExecutionContext"], names["smart_task"].__wrapped__
    assert tool(kind(depth=5)) == "Max delegation depth reached"
    assert tool(kind(is_retry=True, retry_count=2)) == "Retry attempt #2"
    deadline = otelier.now_utc()
    assert kind(deadline=deadline).create_child_context().deadline is deadline
    assert (kind().can_delegate, kind(depth=5).can_delegate) == (True, False)


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
