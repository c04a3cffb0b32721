"""Streamed answers of a body: one step, whose record is the list of the chunks that the body has read.

The step reads, and the body takes what has come. Only the body's own code runs between two chunks, and nothing of the
context, so a replay that yields the same chunks takes the same way.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from typing_extensions import Self

from otelier import llm, names
from otelier.codec import error_to_json, to_plain
from otelier.errors import AnswerError, CodecError, ReplayError, UnfinishedAnswerError, WorkflowUseError
from otelier.workflows._body import CURRENT_STEP, Body, StepScope
from otelier.workflows._calls import Call, Plan
from otelier.workflows._payloads import max_bytes, to_payload
from otelier.workflows.engines.protocol import Json, Op, Outcome

_BYTES_AROUND: Final = 24
"""Bytes of a chunk's record besides its text."""
_WHOLE: Final = "whole"
_LEFT: Final = "left"
"""The body left its loop early."""
_LATE: Final = "late"
"""A `timeout_s` of the handler was over."""


class _Reading:
    """One stream: what has come, how much of it the body has taken, and how it ended.

    The step and the body know it, and not the `RunStream`: so dropping that one leaves the stream at once.
    """

    def __init__(self, body: Body, what: str, ask: Callable[[], llm.AnswerStream[Any]]) -> None:
        self.body = body
        self.what = what
        self.ask = ask
        self.op: Op | None = None
        self.arrived: deque[llm.Chunk] = deque()
        """Chunks that the body has not taken."""
        self.taken = 0
        self.record: dict[str, Json] | None = None
        """What is recorded of it; `None` while it goes on."""
        self.error: Exception | None = None
        """What ends the loop."""
        self.is_left = False
        """Whether this life has left it."""
        self.end = _LEFT
        """Why it was left."""
        self.left = asyncio.Event()
        """Set when the step is to read no more."""
        self._is_open = False
        self._loop = asyncio.get_running_loop()
        self._watch: asyncio.Future[Op] | None = None
        self._news: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Begin the step, or take what is recorded of it; a second time does nothing."""
        if self._is_open:
            return
        assert self.op is not None
        self._is_open = True
        body = self.body
        await body.settle()
        body.stream = self
        if body.run.known(self.op):  # either way the body gets the same chunks
            await self._take_record()
            return
        self.op.start()
        body.spans.waiting((self.op,))
        self._watch = asyncio.ensure_future(body.next((*body.limits, self.op)))
        self._watch.add_done_callback(self._woken)

    def arrive(self, chunk: llm.Chunk) -> None:
        """Take a chunk from the step."""
        self.arrived.append(chunk)
        self._wake()

    def _woken(self, watch: asyncio.Future[Op]) -> None:
        if not watch.cancelled():
            watch.exception()  # the body gets it, unless it has left
        self._wake()

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def next(self) -> llm.Chunk | None:
        """Return the next chunk; `None` where the stream has ended."""
        while not self.arrived:
            if self.is_left:
                return None
            if self.record is not None:
                return self._over()
            await self._wait()
        self.taken += 1
        return self.arrived.popleft()

    def _over(self) -> None:
        self.body.stream = None
        error, self.error = self.error, None
        if error is not None:
            raise error
        if self.record is not None and self.record["end"] == _LEFT:
            raise ReplayError(
                f"{self.what} was left after {self.taken} chunks, and its loop goes on in a replay: no more of it was "
                f"recorded. Let nothing but the chunks decide when the loop ends."
            )

    async def _wait(self) -> None:
        """Wait until there is a chunk, or an end.

        Raises:
            ReplayError: if somebody else than the engine cancels the wait.
        """
        assert self.op is not None
        assert self._watch is not None
        if not self._watch.done():
            self._news = self._loop.create_future()
            try:
                await self._news
            except asyncio.CancelledError:
                self.op.start()  # raises what has stopped this life
                self.leave()
                raise ReplayError(
                    f"The loop over {self.what} was cancelled from outside, as `asyncio.timeout`, `wait_for` or a task "
                    f"group do: a replay would decide otherwise. Use `timeout_s=` of the handler, which is recorded."
                ) from None
        if not self._watch.done():
            return
        if self._watch.result() is not self.op:
            self.end = _LATE
            self.left.set()
        await self._take_record()

    async def _take_record(self) -> None:
        """Wait for the record, which time limits do not cut: it says itself whether one was over."""
        assert self.op is not None
        body = self.body
        await body.next((self.op,))
        body.spans.advanced(self.op)
        succeeded, value = self.op.value
        self.record = value if succeeded else {"end": _WHOLE, **value}
        if self._watch is None:  # a replay: nothing has come
            self.arrived.extend(map(_chunk_of, value.get("chunks", ())))
        elif self.record is not None and self.record["end"] != _WHOLE:
            self.arrived.clear()  # came after the step was left
        if not succeeded:
            self.error = body.error_of(value)
        elif value["end"] == _LATE:
            self.error = body.limits[await body.next(tuple(body.limits))]()

    def leave(self) -> None:
        """Read no more; a second time does nothing."""
        if self.is_left:
            return
        self.is_left = True
        self.arrived.clear()
        if self.body.stream is self:
            self.body.stream = None
        if self._watch is not None and self.record is None and self.op is not None:
            self._watch.cancel()
            self.left.set()
            self.body.unsettled.append(self.op)

    def drop(self) -> None:
        """Leave it because nobody holds the stream any more, in whatever thread that is noticed."""
        if self._loop.is_closed():
            return
        try:
            is_here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_here = False
        if is_here:
            self.leave()
        else:
            self._loop.call_soon_threadsafe(self.leave)


class RunStream:
    """A streamed answer in a body: iterate over its chunks, or wait for the whole answer with `collect`.

    A loop that is left early ends the stream as soon as nothing refers to it any more; `async with` and `aclose` end
    it where they stand.
    """

    def __init__(self, reading: _Reading, schema: Any) -> None:
        self._reading = reading
        self._schema = schema

    def __del__(self) -> None:
        self._reading.drop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> llm.Chunk:
        await self._ready()
        chunk = await self._reading.next()
        if chunk is None:
            raise StopAsyncIteration
        return chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Read no more of it; a second time does nothing."""
        self._reading.leave()

    async def collect(self) -> llm.Answer[Any]:
        """Read what has not been read yet, and return the whole answer, as `generate` would.

        Raises:
            UnfinishedAnswerError: if the stream was left.
            AnswerError: as `generate` does, or a `StepError` of that type.
        """
        await self._ready()
        reading = self._reading
        while await reading.next() is not None:
            pass
        record = reading.record or {}
        if record.get("problem") is not None:
            raise reading.body.error_of(record["problem"])
        if record.get("answer") is None:
            raise UnfinishedAnswerError(
                f"{reading.what} was left before the answer ended: there is no whole answer. Read all of it, or use "
                f"`ctx.llm.generate`."
            )
        return llm.Answer.from_json(record["answer"], schema=self._schema)

    async def _ready(self) -> None:
        if not self._reading.body.is_here():
            raise WorkflowUseError(
                f"{self._reading.what} is read in another task than the body's, or in a step: in a replay its turn "
                f"would come at another time. Read it in the body, or open it inside the step."
            )
        await self._reading.open()


class StreamCall(Call[RunStream]):
    """What `ctx.llm.stream` returns: `async for` over it, or `await` it for the stream."""

    __slots__ = ("_reading", "_schema")

    def __init__(self, reading: _Reading, schema: Any) -> None:
        super().__init__(reading.body, reading.what, _refused(reading.what))
        self._reading = reading
        self._schema = schema

    async def _result(self) -> RunStream:
        self.taken()
        await self._reading.open()
        return RunStream(self._reading, self._schema)

    def __aiter__(self) -> RunStream:
        self.taken()
        return RunStream(self._reading, self._schema)


def _refused(what: str) -> Plan[RunStream]:
    """Return the plan of a stream among other calls: nothing goes on beside a stream."""
    raise WorkflowUseError(
        f"{what} stands in `ctx.parallel` or `ctx.gather`: nothing is done beside a stream. Read it by itself, or ask "
        f"by `ctx.llm.generate`."
    )
    yield ()


def open_stream(body: Body, name: str, ask: Callable[[], llm.AnswerStream[Any]], schema: Any) -> StreamCall:
    """Make the op of a streamed answer, and return the call that opens it."""
    step_id = body.numbered(name)
    reading = _Reading(body, f"ctx.{step_id}", ask)
    reading.op = body.run.step(step_id, functools.partial(_read, reading, step_id))
    return StreamCall(reading, schema)


# --- the step ---------------------------------------------------------------------------------------------------
async def _read(reading: _Reading, step_id: str) -> Outcome:
    """Read the stream to its end, or until it is left, and return its outcome; this is what the engine calls."""
    body, op = reading.body, reading.op
    assert op is not None
    CURRENT_STEP.set(StepScope(body, step_id, 1))
    operation = body.spans.step(step_id, op, None)
    chunks: list[llm.Chunk] = []
    with operation:
        reader = asyncio.ensure_future(_read_all(reading, chunks))
        left = asyncio.ensure_future(reading.left.wait())
        try:
            await asyncio.wait((reader, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            left.cancel()
            reader.cancel()
            await asyncio.wait((reader,))
        error: BaseException | None = None
        outcome: dict[str, Json] = {}
        if reading.left.is_set():
            operation.attributes[names.CANCELLED] = True
            del chunks[reading.taken :]
            outcome = {"end": reading.end}
            if not reader.cancelled():
                reader.exception()
        elif reader.cancelled():
            error = asyncio.CancelledError()  # of something that it waits for
        else:
            found = reader.exception()
            if found is None:
                outcome = {"end": _WHOLE, **reader.result()}
            elif isinstance(found, Exception):
                error = found
            else:
                raise found
        try:
            plain = [_plain_chunk(chunk) for chunk in chunks]
            if error is not None:
                outcome = error_to_json(error)
            what = f"the chunks of {reading.what}"
            stored = to_payload({**outcome, "chunks": plain}, what=what)
        except CodecError as exc:
            error, stored = exc, error_to_json(exc)
        operation.failure = error
        return [error is None, stored]


async def _read_all(reading: _Reading, chunks: list[llm.Chunk]) -> dict[str, Json]:
    """Hand each chunk over as it comes; return the whole answer, or why it is none."""
    size = 0
    async with reading.ask() as stream:
        async for chunk in stream:
            size += len(chunk.text.encode(errors="replace")) * 3 + _BYTES_AROUND  # in the answer, twice, as well
            if size > max_bytes():
                # Before the body sees it: what it saw is recorded with the error.
                raise CodecError(
                    f"Cannot store the chunks of {reading.what}: with the whole answer they have more than "
                    f"{max_bytes():,} bytes, the limit of a step. Ask for less, or read the stream inside a step.",
                    problem="too large",
                )
            chunks.append(chunk)
            reading.arrive(chunk)
        try:
            return {"answer": (await stream.collect()).to_json()}
        except AnswerError as exc:
            return {"problem": error_to_json(exc)}


def _plain_chunk(chunk: llm.Chunk) -> Json:
    plain: dict[str, Json] = {"text": chunk.text}
    if chunk.finish_reason is not None:
        plain["finish_reason"] = chunk.finish_reason
    if chunk.usage is not None:
        plain["usage"] = to_plain(chunk.usage)
    return plain


def _chunk_of(plain: dict[str, Json]) -> llm.Chunk:
    usage = plain.get("usage")
    return llm.Chunk(
        text=plain["text"],
        finish_reason=plain.get("finish_reason"),
        usage=None if usage is None else llm.Usage(**usage),
    )
