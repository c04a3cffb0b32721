"""Runs of agents with a canary in every place of their context, their conversation and their errors."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import openai
from opentelemetry._logs import LogRecord
from pydantic import SecretStr

import otelier
from otelier import Agent, RunContext
from otelier.agents import TextDelta
from otelier.interceptors import InterceptContext, Interceptor, InterceptResult, Phase, StopExecution
from otelier.testing import OpenAIServer, SpanRecorder
from tests.security.places import FIELDS, Cage

HELD = Cage()
"""What a context holds and never leaves, whether content is captured or not."""
IN_DB, NOTE, TOKEN = HELD("the database"), HELD("an unmarked field"), HELD("a SecretStr")
NESTED = {"list": [HELD("a nested field")], "pair": (HELD("a tuple"),)}
KEY = "sk-proj-canary0123456789abcdef"
PASSWORD = "pw-canary"
METADATA = {"request": HELD("metadata"), "api_key": PASSWORD, "deep": {"list": [HELD("nested metadata")]}}
NEVER = (*HELD.all, KEY, PASSWORD)

SAID = Cage()
"""What is said in a run: content, and the gate's to decide."""
QUERY, INSTRUCTIONS, TASK = SAID("the query"), SAID("the instructions of the agent"), SAID("the task of a subagent")
ARGUMENT, RESULT, ANSWER = SAID("an argument"), SAID("a result"), SAID("an answer of the model")
RESPONSE = SAID("a response of an interceptor")


class Db:
    """A service with a secret of its own, which its `repr` tells."""

    def __repr__(self) -> str:
        return f"<Db at {IN_DB}>"


@dataclass
class Plain(RunContext):
    """A context whose every field is a canary."""

    user_id: str = FIELDS["user_id"]
    user_role: str = FIELDS["user_role"]
    session_id: str = FIELDS["session_id"]
    workflow_id: str = FIELDS["workflow_id"]
    tenant_id: str = FIELDS["tenant_id"]
    db: Any = field(default_factory=Db)
    api_key: str = PASSWORD
    note: str = NOTE
    nested: Any = field(default_factory=lambda: NESTED)
    token: Annotated[SecretStr, otelier.exported] = field(default_factory=lambda: SecretStr(TOKEN))
    other: SecretStr = field(default_factory=lambda: SecretStr(PASSWORD))
    told: Annotated[str, otelier.exported("app.note")] = f"order 7, paid with {KEY}"
    password: Annotated[str, otelier.exported("app.password")] = PASSWORD


Frozen = dataclasses.make_dataclass(
    "Frozen", [(one.name, one.type, one) for one in dataclasses.fields(Plain)], bases=(RunContext,), frozen=True,
    namespace={"__module__": __name__},
)  # fmt: skip

KINDS: dict[str, type[Any]] = {"plain": Plain, "frozen": Frozen}


def telling(context: Any) -> str:
    """The message of an error that tells all it knows, in every way that there is."""
    secrets = [context.token.get_secret_value(), context.other.get_secret_value()]
    parts = [context, context.query, context.db, context.api_key, context.metadata, context.nested, secrets]
    return f"cannot do it: {parts!r}; {context.db}; {context.note}; {json.dumps(context.metadata)}; {context.told}"


class Telling(Interceptor):
    """Raises, or stops, with everything that it knows."""

    def __init__(self, phase: Phase, *, stops: bool = False) -> None:
        self.phase = phase
        self.stops = stops

    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult | None:
        if phase is not self.phase:
            return None
        if self.stops:
            return InterceptResult.stop(RESPONSE, reason=f"quota of {KEY}")
        raise ValueError(f"{telling(context.run_context)}; {context.task}; {context.messages}; {context.tool_args}")


@dataclass
class Stage:
    """A model, agents that ask it, and what they are given."""

    server: OpenAIServer
    client: Any
    recorder: SpanRecorder
    context: Any

    def agent(self, *tools: Any, name: str = "billing", **options: Any) -> Agent:
        return Agent(
            name, "gpt-4.1", client=self.client, tools=tools, instructions=INSTRUCTIONS,
            **{"max_steps": 3, **options},
        )  # fmt: skip

    def calls(self, name: str = "work", **arguments: Any) -> None:
        self.server.reply(tool_calls=[(name, arguments)])

    def run(self, agent: Agent) -> None:
        agent.run(QUERY, context=self.context).wait()

    def log(self) -> None:
        self.recorder.logger_provider.get_logger("app").emit(LogRecord(body="at work"))


def _tools(stage: Stage, *, fails: bool) -> dict[str, Any]:
    def act(ctx: Any, note: str) -> str:
        stage.log()
        if fails:
            raise ValueError(f"{telling(ctx)}; {note}")
        return RESULT

    @otelier.tool
    def work(ctx: RunContext, note: str) -> str:
        """Work in a thread."""
        return act(ctx, note)

    @otelier.tool(name="work")
    async def work_async(ctx: RunContext, note: str) -> str:
        """Work on the loop."""
        return act(ctx, note)

    return {"thread": work, "loop": work_async}


def _with_tool(stage: Stage, tool: Any, **options: Any) -> None:
    stage.calls(note=ARGUMENT)
    stage.server.reply(ANSWER)
    stage.run(stage.agent(tool, **options))


def _delegating(stage: Stage, tool: Any, **options: Any) -> None:
    below = stage.agent(tool, name="refunds", **options)
    stage.calls("refunds", task=TASK)
    stage.calls(note=ARGUMENT)
    stage.server.reply(ANSWER, times=2)
    stage.run(stage.agent(subagents=[below]))


async def _stream(stage: Stage, agent: Agent, *, leave: bool) -> None:
    async with agent.stream(QUERY, context=stage.context) as events:
        async for event in events:
            if leave and isinstance(event, TextDelta):
                break


def works(stage: Stage) -> None:
    _with_tool(stage, _tools(stage, fails=False)["thread"])


def works_below(stage: Stage) -> None:
    _delegating(stage, _tools(stage, fails=False)["loop"])


def streams(stage: Stage) -> None:
    below = stage.agent(_tools(stage, fails=False)["thread"], name="refunds")
    stage.calls("refunds", task=TASK)
    stage.calls(note=ARGUMENT)
    stage.server.reply(ANSWER, times=2)
    asyncio.run(_stream(stage, stage.agent(subagents=[below]), leave=False))


def leaves_a_stream(stage: Stage) -> None:
    stage.server.reply(ANSWER)
    asyncio.run(_stream(stage, stage.agent(), leave=True))


def breaks_in_a_stream(stage: Stage) -> None:
    stage.server.break_stream("error", after=3, text=ANSWER)
    asyncio.run(_stream(stage, stage.agent(), leave=False))


def tool_fails_in_a_thread(stage: Stage) -> None:
    _with_tool(stage, _tools(stage, fails=True)["thread"])


def tool_fails_on_the_loop(stage: Stage) -> None:
    _with_tool(stage, _tools(stage, fails=True)["loop"])


def tool_fails_below(stage: Stage) -> None:
    _delegating(stage, _tools(stage, fails=True)["thread"])


def interceptor_fails(phase: Phase) -> Callable[[Stage], None]:
    def happens(stage: Stage) -> None:
        _with_tool(stage, _tools(stage, fails=False)["thread"], interceptors=[Telling(phase)])

    happens.__name__ = f"interceptor_fails_at_{phase.value}"
    return happens


def interceptor_fails_below(stage: Stage) -> None:
    _delegating(stage, _tools(stage, fails=False)["thread"], interceptors=[Telling(Phase.POST_ACT)])


def interceptor_fails_on_error(stage: Stage) -> None:
    stage.server.fail(400, message=f"cannot read {QUERY}")
    stage.run(stage.agent(interceptors=[Telling(Phase.ON_ERROR)]))


def interceptor_stops(stage: Stage) -> None:
    _with_tool(stage, _tools(stage, fails=False)["loop"], interceptors=[Telling(Phase.PRE_ACT, stops=True)])


def tool_stops(stage: Stage) -> None:
    @otelier.tool
    def work(ctx: RunContext, note: str) -> str:
        raise StopExecution(telling(ctx), f"quota of {KEY}")

    _with_tool(stage, work)


def arguments_do_not_fit(stage: Stage) -> None:
    stage.calls(note=[ARGUMENT], other=ARGUMENT)
    stage.server.reply(ANSWER)
    stage.run(stage.agent(_tools(stage, fails=False)["thread"]))


def arguments_are_no_json(stage: Stage) -> None:
    stage.server.reply(tool_calls=[("work", f'{{"note": "{ARGUMENT}')])
    stage.server.reply(ANSWER)
    stage.run(stage.agent(_tools(stage, fails=False)["thread"]))


def tool_is_unknown(stage: Stage) -> None:
    stage.calls(ARGUMENT)
    stage.server.reply(ANSWER)
    stage.run(stage.agent())


def model_loops(stage: Stage) -> None:
    stage.server.reply(tool_calls=[("work", {"note": ARGUMENT})], times=None)
    stage.run(stage.agent(_tools(stage, fails=False)["thread"]))


def provider_fails(stage: Stage) -> None:
    stage.server.fail(400, message=f"cannot read {QUERY} of {INSTRUCTIONS}", code=QUERY)
    stage.run(stage.agent())


def context_is_of_another_class(stage: Stage) -> None:
    @dataclass
    class Wanted(RunContext):
        shop: str

    @otelier.tool
    def work(ctx: Wanted, note: str) -> str:
        return note

    _with_tool(stage, work)


TELLING = (
    tool_fails_in_a_thread, tool_fails_on_the_loop, tool_fails_below, interceptor_fails_below,
    interceptor_fails_on_error, tool_stops, interceptor_stops, *map(interceptor_fails, Phase),
)  # fmt: skip
"""Runs in which the program itself tells what it knows, to the model or in an error."""
HAPPENINGS = (
    works, works_below, streams, leaves_a_stream, breaks_in_a_stream, arguments_do_not_fit, arguments_are_no_json,
    tool_is_unknown, model_loops, provider_fails, context_is_of_another_class, *TELLING,
)  # fmt: skip


@contextlib.contextmanager
def staged(recorder: SpanRecorder, kind: str) -> Iterator[Stage]:
    """A model, and a context of *kind* whose every field is a canary."""
    context = KINDS[kind](metadata=METADATA)
    plain = openai.DefaultHttpxClient(verify=False)
    options: Any = {"api_key": "sk-none", "max_retries": 0, "http_client": plain}
    with OpenAIServer() as server, openai.OpenAI(base_url=server.base_url, **options) as client:
        yield Stage(server, client, recorder, context)
