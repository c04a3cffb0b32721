"""Every code block of AGNT5's page about the Context API, on each engine, against a local model.

What a block uses and does not define is given to it by name, as a program around it would; `agnt5.py` lists these
names.
"""

from __future__ import annotations

import ast
import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from openfeature import api
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from otelier import workflows
from otelier.errors import ApprovalError
from otelier.testing import OpenAIServer
from otelier.workflows import RequestHeaders, Worker, entity, function, workflow
from tests.seeds.agnt5 import BLOCKS, DIGEST, EARLIER, SUPPLIED, UNREACHED, digest, filled
from tests.workflows.restating import at_restate

DEADLINE_S = 60
Meanwhile = Callable[[Worker, Any], Awaitable[Any]]


class Page:
    """Runs blocks of the page on one engine."""

    def __init__(self, engine: str, node: Any) -> None:
        self.engine = engine
        self._node = node

    def block(self, title: str, **given: Any) -> dict[str, Any]:
        """Run the module that is a block, and return its names."""
        names = self._names(title, given)
        exec(compile(filled(BLOCKS[title]), title, "exec", dont_inherit=True), names)
        return names

    def body(self, title: str, **given: Any) -> tuple[Any, dict[str, Any]]:
        """Return a workflow whose body is a block, and the names that it will have."""
        names = self._names(title, given)
        code = compile(BLOCKS[title], title, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)

        @workflow
        async def body(ctx: Any) -> None:
            names["ctx"] = ctx
            await eval(code, names)

        return body, names

    def _names(self, title: str, given: dict[str, Any]) -> dict[str, Any]:
        assert sorted(given) == sorted(SUPPLIED.get(title, ()))
        self._node.user_properties.append(("block", title))  # for the report
        known = {"workflow": workflow, "function": function, "entity": entity}
        return {name: known[name] for name in EARLIER} | given | {"__name__": "page"}

    def run(
        self, handler: Any, *args: Any, others: Any = (), meanwhile: Meanwhile | None = None, **options: Any
    ) -> Any:
        """Run a handler in a worker, do something *meanwhile*, and return its result."""

        async def main() -> Any:
            async with Worker("page", modules=[handler, *others], engine=self.engine) as worker:
                handle = await worker.start(handler, *args, **options)
                if meanwhile is not None:
                    await meanwhile(worker, handle)
                return await handle.result(timeout_s=DEADLINE_S)

        return asyncio.run(main())


@pytest.fixture
def server(otelier_spans, monkeypatch):
    """The model that the blocks ask."""
    with OpenAIServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
        yield server


@pytest.fixture(params=["memory", "file", pytest.param("restate", marks=pytest.mark.restate)])
def page(server, request, tmp_path, monkeypatch):
    """The page, on each engine."""
    if request.param == "restate":
        with at_restate(request.getfixturevalue("restate"), monkeypatch) as address:
            yield Page(address, request.node)
    else:
        yield Page("memory:" if request.param == "memory" else f"file:{tmp_path / 'runs.db'}", request.node)


class Clock:
    """A wall clock that a test moves on. That of a Restate server goes on, so that waits are made short there."""

    def __init__(self, page: Page, patched: pytest.MonkeyPatch) -> None:
        self._ahead_ns = 0
        self._is_servers = page.engine.startswith("restate:")
        self._patched = patched
        if not self._is_servers:
            real = time.time_ns
            patched.setattr(time, "time_ns", lambda: real() + self._ahead_ns)

    def shorten(self) -> None:
        """Let the waits that begin from now on end soon, if the clock is another's."""
        if self._is_servers:
            from otelier.workflows.engines.restate._pump import Pump  # an extra

            asked = Pump.sleep
            self._patched.setattr(
                Pump, "sleep", lambda pump, milliseconds, name="": asked(pump, min(milliseconds, 100), name)
            )

    async def move(self, seconds: float, worker: Worker, handle: Any, number: int = 1) -> None:
        """Move it on when the run is in its wait of a number."""
        if not self._is_servers:
            await waits_for(worker, handle, number)
            self._ahead_ns += int(seconds * 1e9)


@pytest.fixture
def clock(page, monkeypatch):
    """The wall clock."""
    return Clock(page, monkeypatch)


async def waits_for(worker: Worker, handle: Any, number: int = 1) -> Any:
    """Wait until the run is in its wait of a number, and return what is known of it."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        info = await worker.engine.run(handle.workflow_id)
        waits = [step for step in info.steps if step.kind in ("sleep", "signal")]
        if len(waits) == number and waits[-1].end_ns is None:
            return info
        await asyncio.sleep(0.005)
    raise AssertionError(f"the run never came to its wait {number}")


def task(service: str, name: str, result: Any = None) -> Any:
    """Return a function of a service that gives *result*, or what that is of its input."""

    @function(service=service, name=name)
    async def run(ctx: Any, **given: Any) -> Any:
        return result(given) if callable(result) else result

    return run


def test_every_block_of_the_page_has_its_test():
    """Twenty-six blocks, and each is run below under its own name."""
    here = Path(__file__).read_text(encoding="utf-8")
    assert len(BLOCKS) == 26
    assert [title for title in BLOCKS if not re.search(rf'page\.(block|body)\(\s*"{title}"', here)] == []


def test_no_block_was_edited():
    """The blocks are the page's own, letter by letter."""
    assert digest() == DIGEST
    assert SUPPLIED.keys() | UNREACHED.keys() <= BLOCKS.keys()


# --- orchestration -----------------------------------------------------------------------------------------------
def test_task(page, otelier_spans):
    """A workflow waits for a function of another service, which gets the members of its input by name."""
    names = page.block("task")
    others = [task("analytics", "process_data", lambda given: f"{given['dataset']} processed")]
    assert page.run(names["process_workflow"], others=others) == "users processed"
    assert otelier_spans.tree() == (
        "invoke_workflow process_workflow INTERNAL\n"
        "  call analytics/process_data PRODUCER\n"
        "    run_function process_data INTERNAL"
    )


def test_parallel(page, otelier_spans):
    """Results come in the order of the arguments."""
    body, names = page.body("parallel")
    page.run(body, others=[task(f"service{n}", f"handler{n}", n) for n in (1, 2, 3)])
    assert (names["results"], names["result1"], names["result2"]) == ([1, 2, 3], 1, 2)
    assert otelier_spans.tree() == "invoke_workflow body INTERNAL\n" + "\n".join(
        f"  call service{n}/handler{n} PRODUCER\n    run_function handler{n} INTERNAL" for n in (1, 2, 3)
    )


def test_gather(page, otelier_spans):
    """Results come by name."""
    body, names = page.body("gather")
    page.run(body, others=[task("analytics", f"analyze_{of}", of) for of in ("db", "api", "cache")])
    assert names["results"] == {"db": "db", "api": "api", "cache": "cache"}
    assert (names["db_result"], names["api_result"]) == ("db", "api")
    assert otelier_spans.tree() == "invoke_workflow body INTERNAL\n" + "\n".join(
        f"  call analytics/{name} PRODUCER\n    run_function {name} INTERNAL"
        for name in ("analyze_db", "analyze_api", "analyze_cache")
    )


def test_spawn(page, otelier_spans):
    """Children are started without waiting, under ids made of their keys, and their results are awaited later."""

    @function
    async def process_item(ctx: Any, item: dict[str, Any]) -> str:
        return f"{ctx.run_id.partition('.')[2]} done"

    names = page.block("spawn", process_item=process_item)
    items = [{"id": 1}, {"id": 2}, {"id": 3}]
    ids: list[str] = []

    async def look(worker: Worker, handle: Any) -> None:
        await handle.result(timeout_s=DEADLINE_S)
        runs = await worker.engine.runs(status="completed", service="page", limit=100)
        ids.extend(run.workflow_id for run in runs if run.parent_id == handle.workflow_id)

    assert page.run(names["batch_processor"], items, others=[process_item], meanwhile=look) == {"processed": 3}
    assert sorted(one.rpartition(".")[2] for one in ids) == ["item-1", "item-2", "item-3"]
    assert otelier_spans.tree() == "run_function batch_processor INTERNAL\n" + "\n".join(
        ["  call page/process_item PRODUCER\n    run_function process_item INTERNAL"] * 3
    )


def test_step(page, otelier_spans):
    """Each step gets what the one before it gave, and has a span; functions that are not async run in a thread."""

    async def analyze(data: list[int]) -> dict[str, int]:
        return {"sum": sum(data)}

    names = page.block(
        "step", extract_data=lambda data_id: [3, None, 4], clean_data=lambda raw: [one for one in raw if one],
        analyze=analyze,
    )  # fmt: skip
    assert page.run(names["process_pipeline"], "d-1") == {"sum": 7}
    assert otelier_spans.tree() == (
        "run_function process_pipeline INTERNAL\n"
        "  run_step extract INTERNAL\n"
        "  run_step clean INTERNAL\n"
        "  run_step analyze INTERNAL"
    )


# --- state -------------------------------------------------------------------------------------------------------
def test_state(page, otelier_spans):
    """A lone method of an entity gets, sets and deletes state by key, which the next call sees."""
    names = page.block("state", datetime=datetime)
    update = names["update_profile"]

    @entity.write(type="page")
    async def begin(ctx: Any) -> None:
        ctx.set("temp_cache", "to go")

    @entity.read(type="page")
    async def state(ctx: Any) -> dict[str, Any]:
        return {key: await ctx.get(key) for key in ("profile", "last_updated", "temp_cache")}

    @workflow
    async def caller(ctx: Any) -> list[Any]:
        ada = ctx.entity("page", "ada")
        await ada.begin()
        return [await ada.update_profile("Ada", 36), await ada.update_profile(name="Ada", age=37), await ada.state()]

    *done, found = page.run(caller, others=[update, begin, state])
    assert done == [{"status": "updated"}] * 2
    assert datetime.fromisoformat(found.pop("last_updated"))
    assert found == {"profile": {"name": "Ada", "age": 37}, "temp_cache": None}
    assert otelier_spans.tree() == "invoke_workflow caller INTERNAL\n" + "\n".join(
        f"  call page/page.{method} PRODUCER\n    run_entity page.{method} INTERNAL"
        for method in ("begin", "update_profile", "update_profile", "state")
    )


def test_entity(page, otelier_spans):
    """A function calls a method of an entity by type and key."""
    agent = entity("ChatAgent")

    @agent.write
    async def send_message(ctx: Any, message: str) -> str:
        said = [*await ctx.get("said", []), message]
        ctx.set("said", said)
        return f"{ctx.object_id}: {len(said)}"

    names = page.block("entity")
    assert page.run(names["chat"], "c-1", "Hello", others=[send_message]) == "c-1: 1"
    assert otelier_spans.tree() == (
        "run_function chat INTERNAL\n"
        "  call page/ChatAgent.send_message PRODUCER\n"
        "    run_entity ChatAgent.send_message INTERNAL"
    )


# --- coordination ------------------------------------------------------------------------------------------------
def docs() -> list[Any]:
    return [task("docs", "submit_review"), task("docs", "publish")]


def test_signal_and_emit(page, otelier_spans):
    """One run waits for a signal, a function of another one sends it: the document is published, the spans linked."""
    approval = page.block("signal")["approval_workflow"]
    approve = page.block("emit")["approve_document"]

    async def emit(worker: Worker, handle: Any) -> None:
        await waits_for(worker, handle)
        sent = await worker.start(approve, handle.workflow_id)
        assert await sent.result(timeout_s=DEADLINE_S) == {"status": "signal_sent"}

    others = [*docs(), approve]
    assert page.run(approval, "d-1", others=others, meanwhile=emit) == {"status": "published"}
    # Two traces, of which each has its times in its own order.
    assert sorted(re.split(r"\n(?! )", otelier_spans.tree())) == [
        (
            "invoke_workflow approval_workflow INTERNAL\n"
            "  call docs/submit_review PRODUCER\n"
            "    run_function submit_review INTERNAL\n"
            "  wait_signal manager_approved CONSUMER\n"
            "  call docs/publish PRODUCER\n"
            "    run_function publish INTERNAL"
        ),
        "run_function approve_document INTERNAL\n  emit_signal manager_approved PRODUCER",
    ]
    (link,) = otelier_spans.find("wait_signal manager_approved").links
    assert link.context.span_id == otelier_spans.find("emit_signal manager_approved").context.span_id


def test_a_signal_that_does_not_come(page, clock):
    """After 24 hours the default holds, and the document is rejected."""
    approval = page.block("signal")["approval_workflow"]

    async def tomorrow(worker: Worker, handle: Any) -> None:
        await clock.move(86_400, worker, handle)

    clock.shorten()

    assert page.run(approval, "d-1", others=docs(), meanwhile=tomorrow) == {"status": "rejected"}


def test_timers(page, clock, otelier_spans):
    """A delay, a sleep and a cron line are waited for one after the other; long ones end the span of the run."""
    job = page.block("timers")["scheduled_job"]
    ends: list[int] = []

    async def wait(worker: Worker, handle: Any) -> None:
        for number, seconds in enumerate((5, 30, 86_400), 1):
            await clock.move(seconds, worker, handle, number)
        await handle.result(timeout_s=DEADLINE_S)
        info = await worker.engine.run(handle.workflow_id)
        ends.extend(step.end_ns - step.begin_ns for step in info.steps if step.kind == "sleep")

    clock.shorten()
    assert page.run(job, meanwhile=wait) == {"status": "completed"}
    assert len(ends) == 3
    if not page.engine.startswith("restate:"):
        assert ends[0] >= 5e9
        assert ends[1] >= 30e9
    names = [span.name for span in otelier_spans.records]
    assert names.count("wait_timer") == 3
    assert names.count("resume_workflow scheduled_job") == 2
    assert names.count("invoke_workflow scheduled_job") == 1


@pytest.mark.parametrize("decision", ["approved", "rejected", "expired"])
def test_approval(page, clock, otelier_spans, decision):
    """Somebody with one of the roles decides within 30 minutes, and only what is approved is deployed."""
    deployment = page.block("approval", timedelta=timedelta)["deployment_workflow"]
    others = [task("ci", "run_tests", {"passed": True}), task("deploy", "to_production")]

    async def decide(worker: Worker, handle: Any) -> None:
        client = workflows.Client(worker.engine)
        if decision == "expired":
            await clock.move(30 * 60, worker, handle)
            return
        await waits_for(worker, handle)
        with pytest.raises(ApprovalError, match="role"):
            await client.approve(handle.workflow_id, "deploy_production", approver="eve", roles=["guest"])
        make = client.approve if decision == "approved" else client.reject
        await make(handle.workflow_id, "deploy_production", approver="ada", roles=["devops"])

    if decision == "expired":
        clock.shorten()
    status = "deployed" if decision == "approved" else "cancelled"
    assert page.run(deployment, "1.2", others=others, meanwhile=decide) == {"status": status}
    names = [span.name for span in otelier_spans.records]
    assert names.count("wait_approval deploy_production") == 1
    assert names.count("run_function to_production") == (decision == "approved")


def test_no_approval_is_asked_for_what_fails_its_tests(page, otelier_spans):
    """Where the tests failed nobody is asked."""
    deployment = page.block("approval", timedelta=timedelta)["deployment_workflow"]
    others = [task("ci", "run_tests", {"passed": False}), task("deploy", "to_production")]
    assert page.run(deployment, "1.2", others=others) == {"status": "cancelled"}
    assert "wait_approval deploy_production" not in [span.name for span in otelier_spans.records]


# --- models ------------------------------------------------------------------------------------------------------
def asked(model: str, *steps: str, function: str) -> str:
    lines = [f"run_function {function} INTERNAL"]
    for step in steps:
        lines.append(f"  run_step {step} INTERNAL")
        if step.startswith("llm."):
            lines.append(f"    chat {model} CLIENT")
    return "\n".join(lines)


def test_generate(page, server, otelier_spans):
    """An answer is one step, and the call of the model one span below it."""
    server.reply("A short one.")
    summarize = page.block("generate")["summarize"]
    assert page.run(summarize, "a long text") == {"summary": "A short one."}
    assert server.requests[0].prompt == "Summarize this text: a long text"
    assert otelier_spans.tree() == asked("gpt-4o-mini", "llm.generate", function="summarize")


def test_generate_from_messages(page, server, otelier_spans):
    """A prompt may be messages."""
    server.reply("Fine.")
    chat = page.block("generate from messages")["chat_response"]
    assert page.run(chat, [{"role": "user", "content": "How are you?"}]) == {"response": "Fine."}
    assert [message["role"] for message in server.requests[0].messages] == ["system", "user"]
    assert otelier_spans.tree() == asked("gpt-4", "llm.generate", function="chat_response")


def test_generate_an_object(page, server, otelier_spans):
    """With a schema the answer has the object, checked."""
    server.reply('{"name": "Ada", "age": 36}')
    extract = page.block("generate an object")["extract_info"]
    assert page.run(extract, "Ada is 36.") == {"name": "Ada", "age": 36}
    assert server.requests[0].body["response_format"]["type"] == "json_schema"
    assert otelier_spans.tree() == asked("gpt-4o-mini", "llm.generate", function="extract_info")


def test_stream(page, server, otelier_spans):
    """What the model streams reaches the client piece by piece, and the result is the list of the pieces."""
    server.reply("Once upon a time", chunk_delay_s=0.01)
    story = page.block("stream")["stream_story"]
    pieces: list[str] = []

    async def read(worker: Worker, handle: Any) -> None:
        pieces.extend([piece async for piece in handle.stream()])

    result = page.run(story, "owls", meanwhile=read)
    assert result == pieces
    assert len(pieces) > 1
    assert "".join(pieces) == "Once upon a time"
    assert otelier_spans.tree() == asked("gpt-4o", "llm.stream", function="stream_story")


def test_tools(page, server, otelier_spans):
    """A registered tool is offered to the model, and its answer is the function's result, as JSON holds it."""

    async def perform_search(query: str, max_results: int = 3) -> list[str]:
        return [query] * max_results

    server.reply(tool_calls=[("web_search", {"query": "owls"})])
    agent = page.block("tools", perform_search=perform_search)["agent_with_tools"]
    response = page.run(agent, "Find owls")
    assert [call["name"] for call in response["tool_calls"]] == ["web_search"]
    (offered,) = server.requests[0].body["tools"]
    assert offered["function"]["description"] == "Search the web for information"
    assert otelier_spans.tree() == asked("gpt-4o", "llm.generate", function="agent_with_tools")


def test_call_tools(page, server, otelier_spans):
    """Each call that the model asks for is one step, named after the tool."""
    done: list[Any] = []

    async def search_web(query: str) -> str:
        """Search the web."""
        done.append(query)
        return f"pages about {query}"

    def calculate(expression: str) -> int:
        """Calculate."""
        done.append(expression)
        return 4

    server.reply(tool_calls=[("search", {"query": "owls"}), ("calculator", {"expression": "2 + 2"})])
    agent = page.block("call tools", search_web=search_web, calculate=calculate)["agent_handler"]
    response = page.run(agent, "Find owls, and count")
    assert [call["name"] for call in response["tool_calls"]] == ["search", "calculator"]
    assert done == ["owls", "2 + 2"]
    assert otelier_spans.tree() == asked("gpt-4o", "llm.generate", "search", "calculator", function="agent_handler")


# --- observability -----------------------------------------------------------------------------------------------
def test_log(page, otelier_spans, caplog):
    """Records carry the run, what `extra=` says and, of a failure, the exception; they stand in the run's span."""
    caplog.set_level(logging.INFO, logger="page")
    tracked = page.block("log", process=lambda data: {**data, "done": True} if data else 1 / 0)["tracked_operation"]
    assert page.run(tracked, {"a": 1}, workflow_id="run-1" + page.engine) == {"a": 1, "done": True}
    with pytest.raises(ZeroDivisionError):
        page.run(tracked, {})
    own = [entry for entry in otelier_spans.logs if str(entry.body).startswith("Processing ")]
    assert [(entry.body, entry.severity) for entry in own] == [
        ("Processing started", "INFO"), ("Processing completed", "INFO"), ("Processing started", "INFO"),
        ("Processing failed", "ERROR"),
    ]  # fmt: skip
    assert own[0].attributes["data_size"] == 1
    assert own[1].attributes["result_size"] == 2
    assert own[0].attributes["otelier.run.id"] == "run-1" + page.engine
    assert own[3].attributes["exception.type"] == "ZeroDivisionError"
    roots = {span.span_id for span in otelier_spans.records if span.name == "run_function tracked_operation"}
    assert {entry.span_id for entry in own} == roots


def test_metrics(page, otelier_spans):
    """A counter and a histogram, with their attributes."""

    async def process_request(request: dict[str, Any]) -> str:
        return "done"

    monitored = page.block("metrics", time=time, process_request=process_request)["monitored_function"]
    assert page.run(monitored, {"id": 1}) == "done"
    metrics = otelier_spans.metrics()
    assert metrics["requests.count"] == [{"attributes": {"service": "api"}, "value": 1}]
    (point,) = metrics["latency.ms"]
    assert (point["attributes"], point["count"]) == ({"endpoint": "/api/process"}, 1)


def test_spans(page, otelier_spans):
    """Spans of the body stand below the run, with their attributes."""
    saved: list[Any] = []

    async def call_payment_api(data: dict[str, Any]) -> str:
        return "paid"

    async def save_to_db(result: str) -> None:
        saved.append(result)

    traced = page.block("spans", call_payment_api=call_payment_api, save_to_db=save_to_db)["traced_operation"]
    assert page.run(traced, {"amount": 3}) == "paid"
    assert saved == ["paid"]
    assert otelier_spans.tree("service") == (
        "run_function traced_operation INTERNAL\n"
        "  external_api_call INTERNAL service='payments'\n"
        "  database_query INTERNAL service='postgres'"
    )


# --- configuration -----------------------------------------------------------------------------------------------
def test_secrets(page, otelier_spans, monkeypatch, tmp_path):
    """A secret comes from the environment or from a file, and stands in no signal from then on."""
    monkeypatch.setenv("OPENAI_API_KEY", "canary-of-the-environment")
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "database_password").write_text("canary of the file\n", encoding="utf-8")
    monkeypatch.setenv("OTELIER_SECRETS_DIR", str(folder))
    got: list[str] = []

    async def make_request(endpoint: str, *, api_key: str) -> str:
        got.append(api_key)
        logging.getLogger("page").warning("called with %s and canary of the file", api_key)
        return endpoint

    call = page.block("secrets", make_request=make_request)["api_call"]
    assert page.run(call, "/v1") == "/v1"
    assert got == ["canary-of-the-environment"]
    assert any("[REDACTED:secret] and [REDACTED:secret]" in str(entry.body) for entry in otelier_spans.logs)
    assert "canary" not in repr([(entry.body, dict(entry.attributes)) for entry in otelier_spans.logs])
    assert "canary" not in repr([span.attributes for span in otelier_spans.records])


@pytest.mark.parametrize(("flags", "expected"), [({"new_feature_enabled": True}, "new"), ({}, "legacy")])
def test_config(page, flags, expected):
    """A flag of OpenFeature's provider decides, else the default."""

    async def new_implementation(data: Any) -> str:
        return "new"

    async def legacy_implementation(data: Any) -> str:
        return "legacy"

    async def experimental_flow(data: Any) -> str:
        raise AssertionError

    handler = page.block(
        "config", new_implementation=new_implementation, legacy_implementation=legacy_implementation,
        experimental_flow=experimental_flow,
    )["feature_gated_handler"]  # fmt: skip
    provider = InMemoryProvider({key: InMemoryFlag("on", {"on": value}) for key, value in flags.items()})
    api.set_provider(provider)
    try:
        assert page.run(handler, {}) == expected
    finally:
        api.clear_providers()


def test_headers(page, otelier_spans, caplog):
    """The headers of a request reach the run that it starts, and what authorises does not."""
    caplog.set_level(logging.INFO, logger="page")
    aware = page.block("headers")["header_aware"]
    seen: list[Any] = []

    @function
    async def look(ctx: Any, data: dict[str, Any]) -> None:
        seen.append(dict(ctx.headers()))

    async def main() -> Any:
        async with Worker("page", modules=[aware, look], engine=page.engine) as worker:

            async def app(scope: Any, receive: Any, send: Any) -> None:
                for handler in (aware, look):
                    result = await (await worker.start(handler, {})).result(timeout_s=DEADLINE_S)
                    assert result in ({"processed": True}, None)
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body"})

            over = httpx.ASGITransport(app=RequestHeaders(app))
            async with httpx.AsyncClient(transport=over, base_url="http://localhost") as client:
                headers = {"User-Agent": "owl/1", "X-Correlation-ID": "c-1", "Authorization": "Bearer canary"}
                return (await client.get("/", headers=headers)).status_code

    assert asyncio.run(main()) == 204
    (entry,) = [entry for entry in otelier_spans.logs if entry.body == "Request from owl/1"]
    assert entry.attributes["correlation_id"] == "c-1"
    assert (seen[0]["user-agent"], "authorization" in seen[0]) == ("owl/1", False)


def test_properties(page):
    """The facts of a run: those of an entity are empty in a function."""
    introspective = page.block("properties")["introspective"]
    run_id = f"run-2{page.engine}"
    assert page.run(introspective, {"a": 1}, workflow_id=run_id) == {
        "run_id": run_id, "step_id": None, "attempt": 1, "component_type": "function", "object_id": None,
        "method_name": None, "processed": {"a": 1},
    }  # fmt: skip


# --- patterns ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("second", ["b", None])
def test_both_results(page, second):
    """The results of both tasks decide."""
    robust = page.block("both results")["robust_workflow"]
    result = page.run(robust, others=[task("svc", "task1", "a"), task("svc", "task2", second)])
    if second is None:
        assert result == {"status": "partial_failure"}
    else:
        assert result == {"status": "success", "results": {"task1": "a", "task2": "b"}}


@pytest.mark.parametrize("approved", [True, False, None])
def test_signal_if_needed(page, clock, approved):
    """Whether a signal is waited for is the code's to decide; one that does not come in time is a `TimeoutError`."""
    conditional = page.block("signal if needed")["conditional_approval"]
    others = [task("service", "operation", "done")]

    async def meanwhile(worker: Worker, handle: Any) -> None:
        if approved is None:
            await clock.move(60, worker, handle)
        else:
            await waits_for(worker, handle)
            await worker.engine.signal(handle.workflow_id, "approval_signal", {"payload": {"approved": approved}})

    assert page.run(conditional, False, others=others) == {"status": "completed", "result": "done"}
    if approved is None:
        clock.shorten()
        with pytest.raises(TimeoutError, match="approval_signal"):
            page.run(conditional, True, others=others, meanwhile=meanwhile)
    else:
        expected = {"status": "completed", "result": "done"} if approved else {"status": "rejected"}
        assert page.run(conditional, True, others=others, meanwhile=meanwhile) == expected
