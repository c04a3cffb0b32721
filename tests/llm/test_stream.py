"""`stream`: chunks as they come, one span whatever the ending, and nothing left open."""

from __future__ import annotations

import asyncio

import openai
import pytest
from opentelemetry.trace import StatusCode

import otelier
from otelier import llm
from otelier.errors import OtelierError, UnfinishedAnswerError

TEXT = "One two three four five six"
SPAN = "chat gpt-4.1"


@pytest.fixture
def words(model):
    """A model that answers in six words."""
    model.server.reply(TEXT, usage={"input_tokens": 9, "output_tokens": 6}, times=None)
    return model


@pytest.mark.parametrize("awaited", [True, False])
def test_chunks(words, awaited):
    """Awaited first or not, the stream gives the words as they come, and in its last chunks the end and the tokens."""

    async def use(client):
        opened = llm.stream("Count.", "gpt-4.1", client=client)
        return [chunk async for chunk in (await opened if awaited else opened)]

    chunks = words.run(use)
    assert [chunk.text for chunk in chunks if chunk.text] == ["One", " two", " three", " four", " five", " six"]
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    assert chunks[-1].usage == llm.Usage(input_tokens=9, output_tokens=6)
    assert words.spans.find(SPAN).attributes["gen_ai.usage.output_tokens"] == 6


def test_one_span_per_stream(words):
    """A stream is one span, the instrumentor's, born where the call was made, however often the client tries."""
    words.server.clear()
    words.server.fail(503)
    words.server.reply(TEXT)

    async def use(client):
        with otelier.context(user_id="alice"):
            stream = await llm.stream("Count.", "gpt-4.1", client=client)
        return [chunk async for chunk in stream]

    words.run(use)
    assert len(words.server.requests) == 2
    assert words.spans.tree("user.id") == "chat gpt-4.1 CLIENT user.id='alice'"


def test_nothing_is_sent_before_it_is_asked_for(words):
    """A stream that nobody awaits or reads makes no call."""
    words.run(lambda client: asyncio.sleep(0, llm.stream("Count.", "gpt-4.1", client=client)))
    assert words.server.requests == ()
    assert words.spans.spans == ()


def test_awaiting_makes_the_call_once(words):
    """However often a stream is awaited, its call is made once."""

    async def use(client):
        stream = llm.stream("Count.", "gpt-4.1", client=client)
        assert await stream is await stream
        return await (await stream).collect()

    assert words.run(use).text == TEXT
    assert len(words.server.requests) == 1


def test_collect_after_some_chunks(words):
    """`collect` reads the rest, and returns the whole; asked again it returns the same."""

    async def use(client):
        stream = llm.stream("Count.", "gpt-4.1", client=client)
        while not (await anext(stream)).text:
            pass
        return await stream.collect(), await stream.collect()

    first, second = words.run(use)
    assert first == second
    assert (first.text, first.usage.output_tokens) == (TEXT, 6)


def test_options_of_streams(words):
    """Tokens are asked for, unless the caller says what to ask for."""
    words.collect()
    assert words.sent["stream_options"] == {"include_usage": True}
    assert words.collect(stream_options={"include_usage": False}).usage is None


async def leave(client, ending):
    """Open a stream, and leave it by *ending*."""
    opened = llm.stream("Count.", "gpt-4.1", client=client)
    if ending == "with":
        async with opened as stream:
            await anext(stream)
    elif ending == "unread":
        async with opened:
            pass
    elif ending == "aclose":
        await anext(opened)
        await opened.aclose()
        await opened.aclose()
        assert [chunk async for chunk in opened] == []
    else:
        async for _ in opened:
            if ending == "break":
                break
            if ending == "exception":
                raise LookupError
            asyncio.current_task().cancel()


@pytest.mark.parametrize("ending", ["break", "aclose", "with", "unread", "exception", "cancelled"])
def test_a_stream_left_early(words, ending):
    """Whatever ends it, there is one span, it has ended, and the connection is free again."""
    if ending != "cancelled":  # httpcore 1 itself loses a connection when a cancellation meets it while it closes one
        words.connections = 1

    async def use(client):
        try:
            await asyncio.create_task(leave(client, ending))
        except (LookupError, asyncio.CancelledError):
            pass
        # Who breaks off leaves closing to the loop, which does it as soon as it can.
        for _ in range(1000):
            if not words.spans.open_spans:
                break
            await asyncio.sleep(0.005)
        return await llm.generate("Again.", "gpt-4.1", client=client)

    assert words.run(use).text == TEXT
    # A cancellation that meets the client while it reads is an error of the span; between two chunks it is none.
    assert [span.name for span in words.spans.spans] == [SPAN, SPAN]


def test_closed_before_it_began(words):
    """A stream that was closed first makes no call any more."""

    async def use(client):
        stream = llm.stream("Count.", "gpt-4.1", client=client)
        await stream.aclose()
        return [chunk async for chunk in await stream]

    assert words.run(use) == []
    assert words.server.requests == ()


@pytest.mark.parametrize("awaited", [True, False])
def test_a_call_that_fails(model, awaited):
    """What the client raises passes unchanged, at the await or at the first chunk."""
    model.server.fail(400)

    async def use(client):
        opened = llm.stream("Count.", "gpt-4.1", client=client)
        if awaited:
            opened = await opened
        return await anext(opened)

    with pytest.raises(openai.BadRequestError):
        model.run(use)
    assert model.spans.find(SPAN).status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("fault", ["error", "invalid_json", "drop"])
def test_a_stream_that_breaks(model, fault):
    """The provider's failure reaches the reader; what came before it is an answer that is not whole."""
    model.server.break_stream(fault, after=3, text=TEXT)

    async def use(client):
        stream = llm.stream("Count.", "gpt-4.1", client=client)
        try:
            async for _ in stream:
                pass
        except OtelierError:
            raise
        except Exception:  # the client's own, httpx's or json's
            await stream.collect()

    with pytest.raises(UnfinishedAnswerError, match="stream ended before the answer did") as caught:
        model.run(use)
    assert caught.value.answer.text == "One two"
    assert model.spans.tree() == "chat gpt-4.1 CLIENT ERROR"


@pytest.mark.parametrize("events", [[], ["[DONE]"], [{"choices": []}, "[DONE]"], [{"choices": None}]])
def test_a_stream_without_an_answer(model, events):
    """A stream in which nothing comes gives no chunk with text, and no answer."""
    model.server.reply(events=events)
    with pytest.raises(UnfinishedAnswerError):
        model.collect()


def test_a_stream_that_just_ends(model):
    """Where the provider stops without saying why, the words are there, and `collect` says that they may not be all."""
    chunk = {"id": "c-1", "model": "m", "choices": [{"index": 0, "delta": {"content": "One"}}]}
    model.server.reply(events=[chunk])
    with pytest.raises(UnfinishedAnswerError) as caught:
        model.collect()
    assert caught.value.answer.text == "One"
    assert caught.value.answer.finish_reason is None


@pytest.mark.parametrize(
    "pieces",
    [
        ["One ", [{"type": "text", "text": "two"}], " three."],
        [[{"type": "thinking", "thinking": []}], "One ", "two", [{"type": "text", "text": " three."}]],
        ["", [{"type": "text", "text": "One two"}], "", " three."],
    ],
)
def test_text_that_changes_to_parts(model, pieces):
    """Where a provider sends texts and parts by turns, the answer has the words of all of them."""
    chunks = [{"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    end = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    model.server.reply(events=[*chunks, end, "[DONE]"])
    answer = model.collect()
    assert answer.text == "One two three."
    assert [part["type"] for part in answer.message["content"]][-1] == "text"


CALLS = [
    [{"index": 0, "id": "a", "function": {"name": "search", "arguments": '{"q": '}}],
    [{"index": 1, "id": "b", "function": {"name": "stop", "arguments": ""}}],
    [{"index": 0, "function": {"arguments": "1}"}}],
]
WHOLE_CALLS = [
    [{"index": 0, "id": "a", "function": {"name": "search", "arguments": '{"q": 1}'}, "extra_content": {"sig": "x"}}],
    [{"index": 0, "id": "b", "function": {"name": "stop", "arguments": "{}"}}],
]
WITHOUT_INDEX = [
    [{"id": "a", "function": {"name": "search", "arguments": '{"q": 1}'}}, {"id": "b", "function": {"name": "stop"}}]
]


@pytest.mark.parametrize("pieces", [CALLS, WHOLE_CALLS, WITHOUT_INDEX])
def test_tool_calls_in_pieces(model, pieces):
    """Calls are put together as providers send them: in pieces, interleaved, or whole under one index or none."""
    chunks = [{"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"tool_calls": piece}}]} for piece in pieces]
    end = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    model.server.reply(events=[*chunks, end, "[DONE]"])
    answer = model.collect()
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [
        ("a", "search", {"q": 1}),
        ("b", "stop", {}),
    ]
    assert ("extra_content" in answer.message["tool_calls"][0]) is (pieces is WHOLE_CALLS)
    assert "index" not in answer.message["tool_calls"][0]


WITHOUT_IDS = [
    ("search", '{"a": 1}'),
    ("look_up", '{"b": '),
    (None, "2}"),
    ("look_up", '{"c": "}'),
    ("look_up", '\\\\\\"'),
    ("look_up", '{"}'),
    ("look_up", "{}"),
]


@pytest.mark.parametrize("index", [{"index": 0}, {"index": None}, {"index": ["odd"]}, {}])
@pytest.mark.parametrize("in_one", [False, True])
def test_tool_calls_without_ids(model, index, in_one):
    """Without ids a call ends where another name comes, or its name once more when its arguments are whole."""
    pieces = [{**index, "function": {"name": name, "arguments": arguments}} for name, arguments in WITHOUT_IDS]
    deltas = [{"tool_calls": piece} for piece in ([pieces] if in_one else [[piece] for piece in pieces])]
    chunks = [{"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    end = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    model.server.reply(events=[*chunks, end, "[DONE]"])
    calls = model.collect().tool_calls
    assert [(call.name, call.arguments) for call in calls] == [
        ("search", {"a": 1}),
        ("look_up", {"b": 2}),
        ("look_up", {"c": '}\\"{'}),
        ("look_up", {}),
    ]
    assert len({call.id for call in calls if call.id}) == len(calls)
