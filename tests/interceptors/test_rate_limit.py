"""`RateLimit`: who may start when, with a clock of the test's own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import otelier
from otelier.interceptors import Interceptor, Phase, RateLimit, _rate_limit

REFUSED = "Too many requests. Try again later."


@dataclass
class Customer(otelier.RunContext):
    user_id: str
    tenant_id: str = ""


class Clock:
    """Goes on only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    async def sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(_rate_limit, "_clock", lambda: clock.now)
    monkeypatch.setattr(_rate_limit, "_sleep", clock.sleep)
    return clock


def outputs(agent: otelier.Agent, *users: str) -> list[bool]:
    """Run the agent for each of *users*; whether it was let in."""
    return [agent.run("Hello", context=Customer(user)).output != REFUSED for user in users]


def test_each_user_has_as_many_runs_in_any_period(model, clock, otelier_spans):
    """The next one starts a period after the one that is as many before it; refused runs ask nothing of the model."""
    agent = model.agent(interceptors=[RateLimit(2, per_s=10)])
    assert outputs(agent, "alice", "alice", "alice", "bob") == [True, True, False, True]
    assert len(model.server.requests) == 3
    clock.now += 9.99
    assert outputs(agent, "alice", "bob", "bob") == [False, True, False]
    clock.now += 0.01
    assert outputs(agent, "alice", "alice", "alice", "bob") == [True, True, False, True]
    refused = [one for one in otelier_spans.records if "otelier.agent.stop.reason" in one.attributes]
    assert {(one.attributes["otelier.agent.stop.reason"], one.status) for one in refused} == {("rate_limit", "UNSET")}


def test_the_user_may_come_from_the_context_of_the_call(model, clock):
    """`otelier.context` names it as well as the run's context; runs without one share one count."""
    agent = model.agent(interceptors=[RateLimit(1)])
    with otelier.context(user_id="alice"):
        assert agent.run("Hello").output != REFUSED
    assert outputs(agent, "alice", "bob") == [False, True]
    assert [agent.run("Hello").output != REFUSED for _ in range(2)] == [True, False]


def test_another_key(model, clock):
    """Tenants, for instance."""
    agent = model.agent(interceptors=[RateLimit(1, key=lambda one: one.run_context.tenant_id)])
    acme = [agent.run("Hello", context=Customer(user, "acme")).output for user in ("alice", "bob")]
    assert [output == REFUSED for output in acme] == [False, True]
    assert agent.run("Hello", context=Customer("alice", "other")).output != REFUSED


def test_questions_to_the_model_may_be_counted(model, clock, finish):
    """A run that asks too often is stopped before the question."""
    model.says([("nothing", {})], [("nothing", {})], "Done.")
    result = finish(model.agent(interceptors=[RateLimit(2, phase=Phase.PRE_THINK)]), "Go")
    assert (result.output, len(model.server.requests)) == (REFUSED, 2)


def test_waiting_runs_start_in_their_order(model, clock):
    """Each waits for its turn, as long as that comes within `max_wait_s`; the others are refused at once."""
    agent = model.agent(interceptors=[RateLimit(2, per_s=10, max_wait_s=20)])

    async def main():
        return await asyncio.gather(*(agent.run("Hello", context=Customer("alice")) for _ in range(8)))

    results = asyncio.run(main())
    assert clock.slept == [10, 10, 20, 20]
    assert [result.output == REFUSED for result in results] == [False] * 6 + [True] * 2
    clock.now += 30
    assert outputs(agent, "alice", "alice") == [True, True]
    assert clock.slept[4:] == []


def test_a_run_that_waits_can_be_cancelled(model, otelier_spans):
    """It ends, its span too, and others go on."""
    waits = asyncio.Event()

    class Tells(Interceptor):
        async def intercept(self, phase, context):
            if phase is Phase.PRE_RUN:
                waits.set()

    agent = model.agent(interceptors=[Tells(), RateLimit(1, per_s=3600, max_wait_s=7200)])

    async def main():
        await agent.run("Hello", context=Customer("alice"))
        waits.clear()
        waiting = asyncio.ensure_future(agent.run("Hello", context=Customer("alice")))
        await waits.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert otelier_spans.open_spans == ()
        return await agent.run("Hello", context=Customer("bob"))

    assert asyncio.run(main()).output != REFUSED


def test_users_are_forgotten(clock, monkeypatch):
    """Those whose turns no longer count, and beyond 10,000 those that had theirs longest ago."""
    limit = RateLimit(1, per_s=10)
    for number in range(_rate_limit.MAX_KEYS + 5):
        assert limit._take_turn(f"u-{number}") == 0
    assert len(limit._turns) == _rate_limit.MAX_KEYS
    assert limit._take_turn(f"u-{_rate_limit.MAX_KEYS}") is None
    assert limit._take_turn("u-0") == 0
    clock.now += 11
    limit._take_turn("new")
    assert list(limit._turns) == ["new"]


def test_a_user_with_a_turn_that_still_counts_is_not_forgotten(clock):
    """The last turn decides: whoever had the first long ago gets no further ones because another user comes."""
    limit = RateLimit(2, per_s=10)
    limit._take_turn("alice")
    clock.now += 9
    limit._take_turn("alice")
    clock.now += 2
    assert limit._take_turn("bob") == 0
    assert limit._take_turn("alice") == 0
    assert limit._take_turn("alice") is None


def test_threads_share_a_limit():
    """Eight threads at once get as many turns as there are, and not one more."""
    limit = RateLimit(100, per_s=3600)
    start, got = threading.Barrier(8), []

    def work() -> None:
        start.wait(300)
        got.extend(limit._take_turn("alice") == 0 for _ in range(50))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), sum(got)) == (400, 100)


@pytest.mark.parametrize(
    "wrong",
    [
        {"calls": 0},
        {"calls": 1.5},
        {"per_s": 0},
        {"per_s": float("nan")},
        {"max_wait_s": -1},
        {"max_wait_s": float("nan")},
        {"phase": Phase.POST_RUN},
    ],
)
def test_bad_arguments(wrong):
    """A clear error when it is made."""
    with pytest.raises(ValueError, match="Cannot limit to"):
        RateLimit(**{"calls": 1, **wrong})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_a_turn_is_taken():
    """A process that forks while another thread takes a turn does not leave its child waiting for that thread."""
    limit, held, goes_on = RateLimit(1, per_s=3600), threading.Event(), threading.Event()

    def hold() -> None:
        with _rate_limit._lock:
            held.set()
            goes_on.wait(300)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(300)
    child = os.fork()
    if child == 0:
        os._exit(0 if limit._take_turn("alice") == 0 else 1)
    goes_on.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
