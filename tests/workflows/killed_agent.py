"""A durable agent that is killed. Each line on stdin, PLACE LOG SPANS KILL_AT URL, is a life, in a process of its own.

It kills itself at the thing of the number KILL_AT that happens, 0 for never; what happened is in LOG. It answers with
the exit status of that life.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

import otelier
from otelier.interceptors import Budget, Interceptor
from otelier.workflows import Worker, workflow
from otelier.workflows.engines import Engine
from otelier.workflows.engines.local import LocalEngine
from tests.workflows.talks import Place

QUERY, SPECIALIST = "Where are my parcels?", "gpt-4.1-mini"


class Life:
    """One life: what happens in it, until it is killed."""

    def __init__(self, log: str, kill_at: int) -> None:
        self._log = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        self._kill_at = kill_at
        self._count = 0
        self._guard = threading.Lock()
        self.ctx: Any = None

    def happened(self, what: str, step: str | None = None) -> None:
        """Note it, with its step, and die if it is time."""
        step = step or (self.ctx.step_id if self.ctx is not None else None)
        with self._guard:
            self._count += 1
            os.write(self._log, (json.dumps([what, step]) + "\n").encode())
            if self._count == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


class Told:
    """An engine, or a run of it, that tells before and after each wait of a body."""

    def __init__(self, inner: Any, life: Life) -> None:
        self._inner = inner
        self._life = life

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def serve(self, registry: Any, invoke: Any, ready: Any) -> None:
        """Serve, with runs that tell."""
        await self._inner.serve(registry, lambda run, *rest: invoke(Told(run, self._life), *rest), ready)

    async def next(self, ops: Sequence[Any]) -> Any:
        """Wait."""
        self._life.happened("waits")
        op = await self._inner.next(ops)
        self._life.happened("has", op.name)
        return op


class Telling(Interceptor):
    """Tells each phase, and counts in `state`."""

    def __init__(self, life: Life) -> None:
        self.life = life

    async def intercept(self, phase, context):
        """Tell it."""
        context.state[phase.value] = context.state.get(phase.value, 0) + 1
        self.life.happened(phase.value)


class Written(SpanExporter):
    """Writes spans to a file, one a line."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write."""
        for span in spans:
            parent = None if span.parent is None else span.parent.span_id
            what = [span.name, span.context.span_id, parent, span.context.trace_id, span.start_time, span.end_time]
            os.write(self._file, (json.dumps([*what, dict(span.attributes or {})]) + "\n").encode())
        return SpanExportResult.SUCCESS


def agent_of(life: Life, client: openai.AsyncOpenAI) -> otelier.Agent[Place]:
    """The agent: tools of each kind, a subagent, interceptors, an object as its output."""

    @otelier.tool
    async def find(number: int) -> str:
        """Find a parcel."""
        life.happened("find")
        await asyncio.sleep(0)
        life.happened("found")
        return f"{number} is in Italy"

    @otelier.tool
    def weigh(number: int) -> str:
        """Weigh a parcel."""
        life.happened("weigh")
        return f"{number} kg"

    specialist = otelier.Agent("specialist", SPECIALIST, client=client, interceptors=[Telling(life)])
    return otelier.Agent(
        "triage",
        "gpt-4.1",
        client=client,
        tools=[find, weigh],
        subagents=[specialist],
        interceptors=[Budget(max_tool_calls=9), Telling(life)],
        output_type=Place,
    )


async def live(place: str, run_id: str, life: Life, url: str) -> None:
    """Run the agent to its end, and note its result."""

    async def asks(_: Any) -> None:
        life.happened("asks")

    async def answered(_: Any) -> None:
        life.happened("answered")

    hooks: Any = {"request": [asks], "response": [answered]}
    http = openai.DefaultAsyncHttpxClient(verify=False, event_hooks=hooks)
    async with openai.AsyncOpenAI(base_url=url, api_key="sk-none", max_retries=0, http_client=http) as client:
        agent = agent_of(life, client)

        @workflow
        async def talking(ctx):
            life.ctx = ctx
            result = await ctx.agent(agent, QUERY)
            calls = [[call.name, call.result, dict(call.arguments)] for call in result.tool_calls]
            usage = [result.usage.model_calls, result.usage.total_tokens]
            return {"output": result.output.model_dump(), "messages": result.messages, "usage": usage, "calls": calls}

        engine: Any = Told(engine_at(place), life)
        async with Worker("desk", modules=[talking], engine=engine) as worker:
            handle = await worker.start(talking, workflow_id=run_id)
            result = await handle.result()
        life.ctx = None
        life.happened("ended", json.dumps(result))
        await engine.close()


def engine_at(place: str) -> Engine:
    """Return the engine of a file, or of a Restate server."""
    if not place.startswith("restate:"):
        return LocalEngine(place)
    from otelier.workflows.engines.restate import Options, RestateEngine  # an extra

    return RestateEngine(place, options=Options(max_retry_s=0.2))


def run(place: str, log: str, spans: str, kill_at: str, url: str) -> None:
    """Live once."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Written(spans)))
    otelier.init(tracer_provider=provider)
    asyncio.run(live(place, f"r-{Path(log).parent.name}", Life(log, int(kill_at)), url))


def main() -> None:
    """Fork a process for each line: the package is loaded once."""
    for name in ("anyio._backends._asyncio", "openai.resources.chat.completions", "otelier.openai", "otelier.setup"):
        importlib.import_module(name)
    openai.DefaultAsyncHttpxClient(verify=False)
    with contextlib.suppress(ImportError):  # an extra
        importlib.import_module("otelier.workflows.engines.restate")
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            try:
                run(*line.split())
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
