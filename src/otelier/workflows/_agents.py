"""Durable agents: the steps of an agent's run as steps of a workflow."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from otelier.agents import Agent, AgentResult, RunContext, run_recorded
from otelier.workflows._body import Body
from otelier.workflows._calls import Call, Plan
from otelier.workflows._steps import make_step
from otelier.workflows.engines.protocol import Json, Op

Work = Callable[[], Awaitable[Json]]


async def run_agent(
    body: Body,
    agent: Agent[Any],
    query: str | Sequence[Mapping[str, Any]],
    *,
    context: RunContext | Mapping[str, Any] | None,
    messages: Sequence[Mapping[str, Any]] | None,
    settings: Mapping[str, Any] | None,
) -> AgentResult[Any]:
    """Run *agent* in a body: each thought and each call of a tool is a step."""
    if not isinstance(cast("Any", agent), Agent):
        raise TypeError(f"ctx.agent was given a {type(agent).__name__}: give an `Agent`.")
    what = f"ctx.agent({agent.name!r})"
    body.check(what)
    recorder = _StepRecorder(body, what)
    return await run_recorded(agent, query, recorder, context=context, messages=messages, settings=settings)


class _StepRecorder:
    """Does the steps of an agent's run as steps of a body."""

    def __init__(self, body: Body, what: str) -> None:
        self._body = body
        self._what = what
        self.span_context = body.spans.next_span(what)
        self.error_of = body.error_of
        self.is_replaying = body.run.replaying

    def now_ns(self) -> int:
        """Return the time of what the body has seen last."""
        return self._body.spans.now_ns

    async def do(self, name: str, work: Work) -> Json:
        """Do *work* as one step."""
        return await self._step(name, work)

    async def do_all(self, works: Sequence[tuple[str, Work]], seen: Callable[[int, Json], bool]) -> None:
        """Do all of *works* as steps side by side."""
        await self._body.drive(self._side_by_side([self._step(name, work) for name, work in works], seen))

    def _step(self, name: str, work: Work) -> Call[Json]:
        self._body.check(self._what)

        async def done() -> Json:
            return await work()

        return make_step(self._body, name, done, timeout_s=None, retries=0, backoff=1.0, dump=_as_it_is, load=_as_it_is)

    def _side_by_side(self, calls: Sequence[Call[Json]], seen: Callable[[int, Json], bool]) -> Plan[None]:
        waiting: dict[Op, tuple[int, Plan[Json]]] = {}
        for number, call in enumerate(calls):
            plan = call.taken()
            waiting[next(plan)[0]] = number, plan
        while waiting:
            done = yield tuple(waiting)
            number, plan = waiting.pop(done)
            if not seen(number, _end_of(plan, done)):
                break
        self._body.give_up(waiting)


def _end_of(plan: Plan[Json], done: Op) -> Json:
    try:
        plan.send(done)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a step without retries is one op")


def _as_it_is(value: Json) -> Json:
    return value
