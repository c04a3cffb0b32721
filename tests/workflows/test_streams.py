"""Streamed answers of a body: `ctx.llm.stream`."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import time
from typing import Any

import pytest

from otelier.errors import CodecError, ReplayError, StepError, UnfinishedAnswerError, WorkflowUseError
from otelier.workflows import function, workflow
from tests.workflows.asking import DEADLINE_S, address, in_two_lives, run, server

__all__ = ["address", "server"]


def test_a_replay_yields_the_same_chunks(server, address, otelier_spans):
    """Chunks are recorded as the list they were, with usage and end, and the model is asked once."""
    lives: list[Any] = []

    @workflow
    async def body(ctx):
        chunks = [chunk async for chunk in await ctx.llm.stream("Tell", model="gpt-4o")]
        lives.append(chunks)
        await ctx.signal("go")
        return "".join(chunk.text for chunk in chunks)

    server.reply("Once upon a time")
    assert in_two_lives(body, address=address) == "Once upon a time"
    assert lives[0] == lives[1]
    assert lives[0][-1].usage.output_tokens > 0
    assert "stop" in [chunk.finish_reason for chunk in lives[0]]
    assert len(server.requests) == 1
    names = [span.name for span in otelier_spans.records]
    assert (names.count("chat gpt-4o"), names.count("run_step llm.stream")) == (1, 1)


def test_the_whole_answer_is_collected(server, address):
    """`collect` gives what `generate` would: tool calls, usage and object, in each life."""
    lives: list[Any] = []

    @workflow
    async def body(ctx):
        stream = await ctx.llm.stream("Tell", model="gpt-4o")
        async for chunk in stream:
            assert chunk is not None
        lives.append(await stream.collect())
        other = await ctx.llm.stream("Tell", model="gpt-4o", schema={"type": "object"})
        lives.append(await other.collect())
        await ctx.signal("go")

    server.reply(tool_calls=[("search", {"query": "owls"})])
    server.reply('{"a": 1}')
    in_two_lives(body, address=address)
    assert lives[:2] == lives[2:]
    assert lives[0].tool_calls[0].arguments == {"query": "owls"}
    assert lives[1].object == {"a": 1}


@pytest.mark.parametrize("how", ["dropped", "held", "in a block"])
def test_a_loop_that_is_left_early(server, address, otelier_spans, how):
    """What was read before is recorded, and nothing more; the body goes on, and the step is no failure."""
    lives: list[Any] = []

    @workflow
    async def body(ctx):
        read: list[str] = []
        if how == "dropped":
            async for chunk in ctx.llm.stream("Tell", model="gpt-4o"):
                read.append(chunk.text)
                if len(read) == 3:
                    break
        elif how == "held":
            stream = await ctx.llm.stream("Tell", model="gpt-4o")
            async for chunk in stream:
                read.append(chunk.text)
                if len(read) == 3:
                    break
            await stream.aclose()
            with pytest.raises(UnfinishedAnswerError):
                await stream.collect()
        else:
            async with await ctx.llm.stream("Tell", model="gpt-4o") as stream:
                async for chunk in stream:
                    read.append(chunk.text)
                    if len(read) == 3:
                        break
        lives.append(read)
        after = await ctx.step("after", lambda: "done")
        await ctx.signal("go")
        return after

    server.reply("one two three four five six seven", chunk_delay_s=0.01)
    assert in_two_lives(body, address=address) == "done"
    assert lives[0] == lives[1]
    assert len(lives[0]) == 3
    assert len(server.requests) == 1
    (step,) = [span for span in otelier_spans.records if span.name == "run_step llm.stream"]
    assert (step.status, step.attributes["otelier.cancelled"]) == ("UNSET", True)


@pytest.mark.parametrize(
    "other",
    [
        lambda ctx: ctx.step("other", lambda: 1), lambda ctx: ctx.sleep(0), lambda ctx: ctx.signal("go"),
        lambda ctx: ctx.llm.generate("Else", model="gpt-4o"), lambda ctx: ctx.llm.stream("Else", model="gpt-4o"),
        lambda ctx: ctx.task("tests", "body"), lambda ctx: ctx.entity("Some", "k").add(1),
    ],
    ids=["step", "sleep", "signal", "generate", "stream", "task", "entity"],
)  # fmt: skip
def test_nothing_else_is_done_while_a_stream_is_read(server, other):
    """Every other op is refused between two chunks, with what to do instead."""

    @function
    async def body(ctx):
        async for _ in await ctx.llm.stream("Tell", model="gpt-4o"):
            await other(ctx)

    with pytest.raises(WorkflowUseError, match=r"stands in the loop over ctx\.llm\.stream.*aclose"):
        run(body)


def test_calls_made_before_wait_until_the_stream_has_ended(server, address):
    """A call that was made before the loop is refused in it, and good after it."""

    @function
    async def body(ctx):
        before, refused = ctx.step("before", lambda: 1), ctx.step("refused", lambda: 2)
        async for _ in await ctx.llm.stream("Tell", model="gpt-4o"):
            if refused is not None:
                with pytest.raises(RuntimeError, match="loop over"):
                    await refused
                refused = None
        return await before

    assert run(body, address=address) == 1


def test_a_stream_beside_others_is_refused(server):
    """`ctx.parallel` takes no stream."""

    @function
    async def body(ctx):
        return await ctx.parallel(ctx.llm.stream("Tell", model="gpt-4o"), ctx.step("x", lambda: 1))

    with pytest.raises(WorkflowUseError, match=r"ctx\.llm\.generate"):
        run(body)


def test_an_error_in_the_middle(server, address):
    """Chunks that came before an error come in a replay too, and then the error."""
    lives: list[Any] = []

    @workflow
    async def body(ctx):
        read: list[str] = []
        try:
            async for chunk in await ctx.llm.stream("Tell", model="gpt-4o"):
                read.append(chunk.text)  # noqa: PERF401 -- also those before an error
        except StepError as exc:
            read.append(exc.type)
        lives.append(read)
        await ctx.signal("go")

    piece = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    events = [
        {**piece, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "One"}, "finish_reason": None}]},
        {"error": {"message": "overloaded", "type": "server_error"}},
    ]
    server.reply(events=events)
    in_two_lives(body, address=address)
    assert lives == [["One", "APIError"]] * 2


def test_a_stream_that_is_too_large(server, address, monkeypatch):
    """Beyond the limit of a step the loop ends with an error, after the same chunks in each life."""
    monkeypatch.setenv("OTELIER_PAYLOAD_MAX_BYTES", "1000")
    lives: list[Any] = []

    @workflow
    async def body(ctx):
        read: list[Any] = []
        try:
            async for chunk in await ctx.llm.stream("Tell", model="gpt-4o"):
                read.append(chunk.text)  # noqa: PERF401 -- also those before an error
        except CodecError as exc:
            read += ["CodecError", "read the stream inside a step" in str(exc)]
        lives.append(read)
        await ctx.signal("go")

    server.reply(" ".join(["word"] * 150))
    in_two_lives(body, address=address)
    assert lives[0] == lives[1]
    assert len(lives[0]) > 5
    assert lives[0][-2:] == ["CodecError", True]


# The clock of a Restate server is its own machine's.
@pytest.mark.parametrize("address", ["memory", "file"], indirect=True)
def test_a_time_limit_ends_a_stream(server, address, otelier_spans, monkeypatch):
    """A handler's `timeout_s` breaks the stream off, the step records what was read, and a replay ends alike."""
    lives: list[Any] = []
    real, ahead = time.time_ns, [0]
    monkeypatch.setattr(time, "time_ns", lambda: real() + ahead[0])

    @function(timeout_s=600)
    async def inner(ctx):
        read: list[str] = []
        lives.append(read)
        async for chunk in await ctx.llm.stream("Tell", model="gpt-4o"):
            read.append(chunk.text)
            if len(read) == 3:
                ahead[0] = 600_000_000_000

    @workflow
    async def body(ctx):
        try:
            await inner(ctx)
        except TimeoutError:
            late = True
        await ctx.signal("go")
        return late

    server.reply(" ".join(["word"] * 2_000), chunk_delay_s=0.05)
    assert in_two_lives(body, address=address) is True
    assert lives[0] == lives[1]
    assert 3 <= len(lives[0]) < 2_000
    (step,) = [span for span in otelier_spans.records if span.name == "run_step llm.stream"]
    assert step.attributes["otelier.cancelled"] is True


def test_a_clock_of_the_bodys_own_is_refused(server):
    """`asyncio.wait_for` around a loop over a stream raises the sentence that names `timeout_s=`."""

    @function
    async def body(ctx):
        stream = await ctx.llm.stream("Tell", model="gpt-4o")
        asyncio.get_running_loop().call_later(0.1, asyncio.current_task().cancel)
        async for _ in stream:
            pass

    server.reply(" ".join(["word"] * 500), chunk_delay_s=0.05)
    with pytest.raises(ReplayError, match="timeout_s="):
        run(body)


CHILD = """
import asyncio, sys
from otelier.workflows import Worker, workflow

@workflow
async def story(ctx):
    first = await ctx.llm.generate("First", model="gpt-4o")
    read = []
    async for chunk in await ctx.llm.stream("Second", model="gpt-4o"):
        read.append(chunk.text)
        if chunk.text:
            print("read", flush=True)
    return [first.text, "".join(read)]

async def main():
    async with Worker("tests", modules=[story], engine=sys.argv[1]) as worker:
        handle = await worker.start(story, workflow_id="story")
        print(await handle.result(), flush=True)

asyncio.run(main())
"""


def test_killed_in_the_middle_of_a_stream(server, tmp_path):
    """After SIGKILL the answer before is not asked for again; the stream that was cut is, and is whole then."""
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(CHILD), encoding="utf-8")
    address = f"file:{tmp_path / 'runs.db'}"

    async def main() -> str:
        async def begun() -> Any:
            return await asyncio.create_subprocess_exec(
                sys.executable, str(program), address, stdout=asyncio.subprocess.PIPE
            )

        server.reply("one")
        server.reply(" ".join(["word"] * 500), chunk_delay_s=0.05)
        child = await begun()
        await asyncio.wait_for(child.stdout.readline(), DEADLINE_S)
        child.kill()
        await child.wait()
        server.reply("two words")
        child = await begun()
        said, _ = await asyncio.wait_for(child.communicate(), DEADLINE_S)
        return said.decode().splitlines()[-1]

    assert asyncio.run(main()) == "['one', 'two words']"
    assert [request.prompt for request in server.requests] == ["First", "Second", "Second"]
