"""Approvals: a run asks people, and the first decision holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

import otelier
from otelier.errors import ApprovalError, CodecError, RunEndedError, UnknownRunError, WorkflowUseError
from otelier.workflows import Client, Context, Handler, Worker, entity, workflow
from otelier.workflows.engines.local import LocalEngine, Options
from otelier.workflows.engines.protocol import APPROVALS
from tests.workflows.engines.serving import on_a_loop, opened, raises_sentence, until


@pytest.fixture(params=["memory", "file"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """Where the engine keeps its runs; `None` is in memory."""
    return None if request.param == "memory" else str(tmp_path / "runs.db")


@workflow
async def deploy(ctx: Context, version: str, minutes: float = 30) -> Any:
    answer = await ctx.human.approval(
        "prod",
        payload={"version": version},
        timeout=timedelta(minutes=minutes),
        required_roles=["admin", "devops"],
    )
    return [answer.decision, answer.approver, answer.comment, answer.at.isoformat()]


@workflow
async def ask(ctx: Context, seconds: float | None = None) -> Any:
    answer = await ctx.human.approval("prod", timeout=None if seconds is None else timedelta(seconds=seconds))
    return [answer.decision, answer.approver]


@workflow
async def ask_twice(ctx: Context) -> Any:
    first = await ctx.human.approval("prod", payload=1)
    second = await ctx.human.approval("prod", payload=2)
    return [first.decision, second.decision]


@workflow
async def ask_side_by_side(ctx: Context) -> Any:
    first, second, done = await ctx.parallel(
        ctx.human.approval("prod"), ctx.human.approval("other"), ctx.step("build", lambda: "built")
    )
    return [first.decision, second.decision, done]


@workflow
async def ask_briefly(ctx: Context) -> Any:
    try:
        await ctx.parallel(ctx.human.approval("prod"), timeout_s=0.5)
    except TimeoutError:
        return await ctx.signal("go on")


@workflow
async def misuse(ctx: Context, what: str) -> Any:
    wrong: dict[str, dict[str, Any]] = {
        "seconds": {"timeout": 30},
        "negative": {"timeout": timedelta(seconds=-1)},
        "ages": {"timeout": timedelta.max},
        "set": {"payload": {1, 2}},
        "large": {"payload": "x" * 1_000_001},
        "role": {"required_roles": "admin"},
        "roles": {"required_roles": ["admin"] * 101},
        "number": {"required_roles": [1]},
    }
    await ctx.human.approval("prod", **wrong[what])


@workflow
async def ask_in_a_step(ctx: Context) -> Any:
    async def inside() -> None:
        await ctx.human.approval("prod")

    await ctx.step("inside", inside)


@asynccontextmanager
async def working(engine: LocalEngine, *handlers: Handler, service: str = "ops") -> AsyncIterator[Worker]:
    async with Worker(service, modules=handlers or (deploy, ask), engine=engine) as worker:
        yield worker


async def asked(client: Client, workflow_id: str, name: str = "prod") -> Any:
    """Wait until a run asks for something, and return that."""

    async def there() -> Any:
        return [one for one in await client.approvals() if (one.workflow_id, one.name) == (workflow_id, name)]

    return (await until(there))[0]


@on_a_loop
async def test_a_decision_brings_who_when_and_what_they_said(place: str | None):
    """The answer has the decision, its approver, its time and the comment; the list shows what was asked for."""
    async with opened(place) as engine, working(engine) as worker:
        client = Client(engine)
        handle = await worker.start(deploy, "1.2", workflow_id="r")
        found = await asked(client, "r")
        assert (found.service, found.handler, found.payload) == ("ops", "deploy", {"version": "1.2"})
        assert list(found.required_roles) == ["admin", "devops"]
        assert found.deadline - found.asked_at == timedelta(minutes=30)
        before = datetime.now(timezone.utc)
        answer = await client.approve("r", "prod", approver="ada", roles=["devops"], comment="go")
        assert (answer.decision, answer.approver, answer.comment) == ("approved", "ada", "go")
        assert before <= answer.at <= datetime.now(timezone.utc)
        assert await handle.result(60) == ["approved", "ada", "go", answer.at.isoformat()]
        assert await client.approvals() == []


@on_a_loop
async def test_a_rejection_is_an_answer(place: str | None):
    """A run that was refused goes on with that; it did not fail."""
    async with opened(place) as engine, working(engine) as worker:
        handle = await worker.start(deploy, "1", workflow_id="r")
        client = Client(engine)
        await asked(client, "r")
        await client.reject("r", "prod", approver="bob", roles=["admin"])
        assert (await handle.result(60))[:3] == ["rejected", "bob", None]


@workflow
async def ask_and_stay(ctx: Context) -> Any:
    answer = await ctx.human.approval("prod")
    await ctx.signal("go on")
    return answer.approver


@on_a_loop
async def test_the_first_decision_holds(place: str | None):
    """Of many at once one is taken, and all others get that one in their error."""
    async with opened(place) as engine, working(engine, ask_and_stay):
        client = Client(engine)
        handle = await client.start("ops", "ask_and_stay", workflow_id="r")
        await asked(client, "r")
        tries = [(client.approve if n % 2 else client.reject)("r", "prod", approver=f"p{n}") for n in range(10)]
        outcomes = await asyncio.gather(*tries, return_exceptions=True)
        (taken,) = [one for one in outcomes if not isinstance(one, BaseException)]
        refused = [one for one in outcomes if isinstance(one, ApprovalError)]
        assert len(refused) == 9
        for error in refused:
            assert (error.decision, error.approver, error.at) == (taken.decision, taken.approver, taken.at)
        await client.signal("r", "go on")
        assert await handle.result(60) == taken.approver


@on_a_loop
async def test_a_second_decision_gets_the_standing_one(place: str | None):
    """Whoever comes late is told what was decided, by whom and when, as text and as facts."""
    async with opened(place) as engine, working(engine, ask_and_stay):
        client = Client(engine)
        await client.start("ops", "ask_and_stay", workflow_id="r")
        await asked(client, "r")
        first = await client.reject("r", "prod", approver="ada", comment="no")
        with raises_sentence(
            ApprovalError, "'prod'", "'r'", "rejected by 'ada'", first.at.isoformat(timespec="seconds")
        ):
            await client.approve("r", "prod", approver="bob")
        with pytest.raises(ApprovalError) as raised:
            await client.approve("r", "prod", approver="bob")
        error = raised.value
        assert (error.workflow_id, error.name) == ("r", "prod")
        assert (error.decision, error.approver, error.at, error.comment) == ("rejected", "ada", first.at, "no")


@on_a_loop
async def test_nobody_decides_in_time(place: str | None):
    """After the time limit the answer is `expired`, at the deadline, and a later decision is refused with that."""

    @workflow
    async def wait(ctx: Context) -> Any:
        answer = await ctx.human.approval("prod", timeout=timedelta(milliseconds=30))
        await ctx.signal("go on")
        return [answer.decision, answer.approver, answer.comment]

    async with opened(place) as engine, working(engine, wait):
        client = Client(engine)
        handle = await client.start("ops", "wait", workflow_id="r")

        async def is_over() -> bool:
            return (await client.run("r")).waiting_for == "signal go on"

        await until(is_over)
        with pytest.raises(ApprovalError) as raised:
            await client.approve("r", "prod")
        assert raised.value.decision == "expired"
        await client.signal("r", "go on")
        assert await handle.result(60) == ["expired", None, None]


@on_a_loop
async def test_decision_and_time_limit_agree(place: str | None):
    """Where both come at one moment, who decided and the run are told the same."""
    count = 40
    async with opened(place) as engine, working(engine, ask):
        client = Client(engine)
        handles = [await client.start("ops", "ask", 0.3, workflow_id=f"r{n}") for n in range(count)]

        async def all_asked() -> Any:
            states = dict(await engine.states(APPROVALS))  # also those that have expired meanwhile
            return states if len(states) == count else None

        states = await until(all_asked)

        async def decide(n: int) -> str:
            deadline_s = states[f"r{n}"]["prod"]["deadline_ns"] / 1e9
            await asyncio.sleep(max(deadline_s - (n - count // 2) / 1000 - time.time(), 0))
            try:
                return (await client.approve(f"r{n}", "prod")).decision
            except ApprovalError as exc:
                return exc.decision or "none"
            except RunEndedError:
                return "expired"

        told = await asyncio.gather(*(decide(n) for n in range(count)))
        got = [(await handle.result(60))[0] for handle in handles]
        assert told == got


@on_a_loop
async def test_a_decision_before_the_deadline_wins_although_no_worker_was_there(tmp_path: Path):
    """Made in time it holds, even if the run learns of it when its time is over; made after it, it is refused."""
    path = str(tmp_path / "runs.db")
    async with opened(path) as engine:
        client = Client(engine)
        async with working(engine, ask) as worker:
            early = await worker.start(ask, 2.0, workflow_id="early")
            late = await worker.start(ask, 0.5, workflow_id="late")
            await asked(client, "early")
            deadline = (await asked(client, "late")).deadline
        in_time = asyncio.create_task(client.approve("early", "prod", approver="ada"))
        await until(lambda: datetime.now(timezone.utc) > deadline)
        too_late = asyncio.create_task(client.approve("late", "prod", approver="ada"))
        await until(lambda: datetime.now(timezone.utc) > deadline + timedelta(seconds=2))
        async with working(engine, ask):
            assert (await in_time).decision == "approved"
            with pytest.raises((ApprovalError, RunEndedError)) as raised:
                await too_late
            assert getattr(raised.value, "decision", "expired") == "expired"
            assert await early.result(60) == ["approved", "ada"]
            assert await late.result(60) == ["expired", None]


@on_a_loop
async def test_required_roles(place: str | None):
    """Without one of the roles a decision is refused, naming them, and the run still waits."""
    async with opened(place) as engine, working(engine) as worker:
        client = Client(engine)
        handle = await worker.start(deploy, "1", workflow_id="r")
        await asked(client, "r")
        for roles in ([], ["viewer"]):
            with raises_sentence(ApprovalError, "'admin', 'devops'", "none" if not roles else "'viewer'"):
                await client.approve("r", "prod", approver="eve", roles=roles)
        assert [one.name for one in await client.approvals()] == ["prod"]
        await client.approve("r", "prod", approver="ada", roles=["viewer", "admin"])
        assert (await handle.result(60))[0] == "approved"


@on_a_loop
async def test_the_waiter_checks_the_roles_itself(place: str | None):
    """A decision that went round the check of who may make it fails the run instead of being obeyed."""
    async with opened(place) as engine, working(engine) as worker:
        client = Client(engine)
        handle = await worker.start(deploy, "1", workflow_id="r")
        await asked(client, "r")
        forged = {"decision": "approved", "approver": "eve", "roles": [], "comment": None, "at_ns": 0, "trace": {}}
        with raises_sentence(ValueError, "otelier.approval/0/prod"):
            await client.signal("r", "otelier.approval/0/prod", forged)
        await engine.signal("r", "otelier.approval/0/prod", forged)
        with raises_sentence(otelier.errors.ApprovalError, "'eve'"):
            await handle.result(60)


@on_a_loop
async def test_approver_and_roles_are_those_of_the_call_context(place: str | None):
    """A service that keeps its user in the context need not say again who decides."""
    async with opened(place) as engine, working(engine) as worker:
        client = Client(engine)
        handle = await worker.start(deploy, "1", workflow_id="r")
        await asked(client, "r")
        with otelier.context(user_id="u-7", user_role=["viewer", "devops"]):
            await client.approve("r", "prod")
        assert (await handle.result(60))[:2] == ["approved", "u-7"]


@on_a_loop
async def test_what_nobody_asks_for_cannot_be_decided(place: str | None):
    """Before it was asked, of another name, on an ended or an unknown run: each is an error that says so.

    On an ended run that was decided it is the standing decision.
    """

    @workflow
    async def later(ctx: Context) -> Any:
        await ctx.signal("go on")
        return (await ctx.human.approval("prod")).decision

    async with opened(place) as engine, working(engine, later):
        client = Client(engine)
        handle = await client.start("ops", "later", workflow_id="r")
        with raises_sentence(ApprovalError, "'prod'", "does not wait for that decision", "none now"):
            await client.approve("r", "prod")
        await client.signal("r", "go on")
        await asked(client, "r")
        with raises_sentence(ApprovalError, "'beta'", "does not wait"):
            await client.reject("r", "beta")
        await client.approve("r", "prod")
        assert await handle.result(60) == "approved"
        with raises_sentence(ApprovalError, "'prod'", "'r'", "it was approved at"):
            await client.reject("r", "prod")
        with raises_sentence(RunEndedError, "'beta'", "'r'", "completed"):
            await client.approve("r", "beta")
        with raises_sentence(UnknownRunError, "'nope'"):
            await client.approve("nope", "prod")


@on_a_loop
async def test_a_name_may_be_asked_for_again(place: str | None):
    """The second question is one of its own: the first decision does not answer it."""
    async with opened(place) as engine, working(engine, ask_twice):
        client = Client(engine)
        handle = await client.start("ops", "ask_twice", workflow_id="r")
        assert (await asked(client, "r")).payload == 1
        await client.approve("r", "prod")
        await until(lambda: _asks(client, "r", 2))
        await client.reject("r", "prod")
        assert await handle.result(60) == ["approved", "rejected"]


async def _asks(client: Client, workflow_id: str, payload: Any) -> bool:
    return [one.payload for one in await client.approvals() if one.workflow_id == workflow_id] == [payload]


@on_a_loop
async def test_several_people_are_asked_at_once(place: str | None):
    """Approvals stand in `parallel` as other calls do, and are decided in any order."""
    async with opened(place) as engine, working(engine, ask_side_by_side):
        client = Client(engine)
        handle = await client.start("ops", "ask_side_by_side", workflow_id="r")
        await asked(client, "r", "other")
        await client.reject("r", "other")
        await client.approve("r", "prod")
        assert await handle.result(60) == ["approved", "rejected", "built"]


@on_a_loop
async def test_what_was_given_up_is_asked_for_no_more(place: str | None):
    """A time limit around it ends the question: it is not listed, and cannot be decided."""
    async with opened(place) as engine, working(engine, ask_briefly):
        client = Client(engine)
        await client.start("ops", "ask_briefly", workflow_id="r")

        async def given_up() -> bool:
            return (await client.run("r")).waiting_for == "signal go on"

        await until(given_up)
        assert await client.approvals() == []
        with raises_sentence(ApprovalError, "does not wait for that decision"):
            await client.approve("r", "prod")


@on_a_loop
async def test_a_cancelled_run_asks_nobody(place: str | None):
    """`approvals` lists those of open runs only."""
    async with opened(place) as engine, working(engine, ask):
        client = Client(engine)
        await client.start("ops", "ask", workflow_id="r")
        await asked(client, "r")
        await client.cancel("r")

        async def is_over() -> bool:
            return (await client.run("r")).status == "cancelled"

        await until(is_over)
        assert await client.approvals() == []
        with raises_sentence(RunEndedError, "cancelled"):
            await client.approve("r", "prod")


@on_a_loop
async def test_an_answer_survives_the_worker(tmp_path: Path, otelier_spans: Any):
    """A question asked in one life of a worker is answered in the next; it is asked once, and one span tells of it."""
    path = str(tmp_path / "runs.db")
    async with opened(path, stop_s=0) as engine:
        client = Client(engine)
        async with working(engine) as worker:
            handle = await worker.start(deploy, "1", workflow_id="r")
            await asked(client, "r")
        asking = (await client.approvals())[0].asked_at
        async with working(engine):
            assert (await client.approvals())[0].asked_at == asking
            await client.approve("r", "prod", approver="ada", roles=["admin"])
            assert (await handle.result(60))[:2] == ["approved", "ada"]
            (wait,) = [one for one in (await client.run("r")).steps if one.kind == "approval"]
    assert wait.begin_ns / 1e9 == pytest.approx(asking.timestamp(), abs=60)
    assert len([one for one in otelier_spans.spans if one.name == "wait_approval prod"]) == 1


@on_a_loop
async def test_health_tells_that_a_person_is_waited_for(place: str | None):
    """A list of runs says `waiting approval`, one run says for which and until when, and what is ours is not listed."""
    async with opened(place) as engine, working(engine) as worker:
        client = Client(engine)
        await worker.start(deploy, "1", workflow_id="r")

        async def waits() -> bool:
            return (await client.runs())[0].health == "waiting approval"

        await until(waits)
        info = await client.run("r")
        assert [(one.workflow_id, one.service) for one in await client.runs()] == [("r", "ops")]
        assert (info.status, info.health) == ("waiting", "waiting approval")
        assert info.waiting_for is not None
        assert info.waiting_for.startswith("approval prod until 20")
        assert [(one.kind, one.name, one.end_ns) for one in info.steps] == [("approval", "prod", None)]
        assert all(one.service == APPROVALS for one in await engine.runs(service=APPROVALS))


@on_a_loop
async def test_workers_in_memory_share_the_approvals():
    """Several workers of one process ask people at the same time, and one that leaves hands them on."""
    async with opened(None) as engine:
        client = Client(engine)
        async with working(engine, ask, service="b") as second:
            async with working(engine, deploy, service="a") as first:
                await first.start(deploy, "1", workflow_id="one")
                handle = await second.start(ask, workflow_id="two")
                await asked(client, "one")
                await asked(client, "two")
                await client.approve("one", "prod", approver="ada", roles=["admin"])
            await client.approve("two", "prod", approver="bob")
            assert await handle.result(60) == ["approved", "bob"]
        async with working(engine, deploy, service="a") as first, working(engine, ask, service="b") as second:
            handle = await second.start(ask, workflow_id="three")
            await asked(client, "three")
            await first.__aexit__(None, None, None)
            await client.approve("three", "prod", approver="eve")
            assert await handle.result(60) == ["approved", "eve"]


@on_a_loop
async def test_the_span_of_the_wait_is_linked_to_who_decided(place: str | None, otelier_spans: Any):
    """A trace shows the wait as a consumer, linked to the span of the decision, and nothing of how it is kept."""
    async with opened(place) as engine, working(engine) as worker:
        client = Client(engine)
        handle = await worker.start(deploy, "1", workflow_id="r")
        await asked(client, "r")
        tracer = otelier_spans.tracer_provider.get_tracer("test")
        with tracer.start_as_current_span("POST /approvals") as deciding:
            await client.approve("r", "prod", approver="ada", roles=["admin"])
        await handle.result(60)
    span = otelier_spans.find("wait_approval prod")
    assert span.kind is SpanKind.CONSUMER
    assert [link.context.span_id for link in span.links] == [deciding.get_span_context().span_id]
    assert {one.name for one in otelier_spans.spans} == {
        *("POST /approvals", "wait_approval prod", "invoke_workflow deploy")
    }


@pytest.mark.parametrize(
    ("what", "error", "parts"),
    [
        ("seconds", "TypeError", ["int", "timedelta"]),
        ("negative", "ValueError", ["-1", "timeout"]),
        ("ages", "ValueError", ["100 years"]),
        ("set", "CodecError", ["the payload of approval 'prod'"]),
        ("large", "CodecError", ["the payload of approval 'prod'", "1,000,000"]),
        ("role", "TypeError", ["str", "required_roles"]),
        ("roles", "ValueError", ["101", "100"]),
        ("number", "TypeError", ["int", "a role"]),
    ],
)
@on_a_loop
async def test_bad_questions_are_refused(what: str, error: str, parts: list[str]):
    """A question that could not be kept or shown fails where it is written."""
    async with opened(None) as engine, working(engine, misuse) as worker:
        handle = await worker.start(misuse, what, workflow_id="r")
        outcome = await engine.result("r", 60)
        assert (outcome[0], outcome[1]["type"]) == (False, error)
        assert [part for part in parts if part not in outcome[1]["message"]] == []
        assert handle.workflow_id == "r"


@on_a_loop
async def test_a_question_stands_beside_steps():
    """Inside a step it would not be asked again in a replay, and is refused."""
    async with opened(None) as engine, working(engine, ask_in_a_step) as worker:
        with raises_sentence(WorkflowUseError, "ctx.human.approval('prod')", "inside a step"):
            await (await worker.start(ask_in_a_step)).result(60)


@pytest.mark.parametrize(
    ("arguments", "error", "parts"),
    [
        ({"approver": 7}, TypeError, ["int", "approver"]),
        ({"approver": "a\x1b"}, ValueError, ["printable"]),
        ({"roles": "admin"}, TypeError, ["str", "roles"]),
        ({"roles": ["x" * 257]}, ValueError, ["a role"]),
        ({"comment": 7}, TypeError, ["int", "comment"]),
        ({"comment": "x" * 10_001}, ValueError, ["10,001", "10,000"]),
    ],
)
@on_a_loop
async def test_bad_decisions_are_refused(arguments: dict[str, Any], error: type[Exception], parts: list[str]):
    """What could not be kept or shown of a decision is an error before anything is stored."""
    async with opened(None) as engine:
        with raises_sentence(error, *parts):
            await Client(engine).approve("r", "prod", **arguments)


def test_the_service_of_approvals_is_ours():
    """Nobody else may name a service so: its state would be mixed with that of the approvals."""
    with raises_sentence(ValueError, APPROVALS):
        Worker(APPROVALS, modules=[ask])
    with raises_sentence(ValueError, APPROVALS):
        entity("Mine", service=APPROVALS).write(deploy.function)


@on_a_loop
async def test_deleted_runs_take_their_approvals_with_them(path: str | None):
    """What was decided is kept as long as the run that asked for it, and no longer."""
    async with opened(path) as engine:
        client = Client(engine)
        async with working(engine, ask) as worker:
            handle = await worker.start(ask, workflow_id="r")
            await asked(client, "r")
            await client.approve("r", "prod")
            await handle.result(60)
            assert [key for key, _ in await engine.states(APPROVALS)] == ["r"]
        engine._options = Options(retention_s=-60)  # type: ignore[attr-defined]
        async with working(engine, ask):

            async def is_gone() -> bool:
                return await engine.states(APPROVALS) == []

            await until(is_gone)


@on_a_loop
async def test_payloads_are_what_json_holds(place: str | None):
    """A payload is shown as it was given; what has no form in JSON has been refused before."""
    async with opened(place) as engine, working(engine) as worker:
        client = Client(engine)
        with pytest.raises(CodecError):
            await client.start("ops", "deploy", {"version": {1}})
        await worker.start(deploy, "ü\n", workflow_id="r")
        assert (await asked(client, "r")).payload == {"version": "ü\n"}
