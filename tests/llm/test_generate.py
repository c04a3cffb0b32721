"""`generate` and `collect`: what is sent, what comes back, and the one span of a call."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion

import otelier
from otelier import llm
from otelier.errors import AnswerError


def test_text(model, ask):
    """A question becomes a user's message, and the answer has the words, the tokens and why it ended."""
    model.server.reply("On its way.", usage={"input_tokens": 9, "output_tokens": 4, "cached_tokens": 3})
    answer = ask("Where is it?")
    assert model.sent["messages"] == [{"role": "user", "content": "Where is it?"}]
    assert answer.text == "On its way."
    assert answer.usage == llm.Usage(input_tokens=9, output_tokens=4, cached_tokens=3)
    assert answer.usage.total_tokens == 13
    assert (answer.finish_reason, answer.model) == ("stop", "gpt-4.1")
    assert (answer.object, answer.tool_calls, answer.refusal) == (None, (), None)
    assert answer.id.startswith("chatcmpl-")


def test_messages_and_options_are_sent_as_they_are(model, ask):
    """Messages go out word for word, and so does whatever else the client's method takes."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    ask(iter(messages), temperature=0.5, extra_body={"top_k": 7})
    assert model.sent["messages"] == messages
    assert (model.sent["temperature"], model.sent["top_k"]) == (0.5, 7)
    assert "tools" not in model.sent
    assert "response_format" not in model.sent


def test_messages_by_their_name(model):
    """Messages may be given as `messages`, the name that chat completions have for them."""
    messages = [{"role": "user", "content": "Hello"}]
    model.run(lambda client: llm.generate(messages=messages, model="gpt-4.1", client=client))
    assert model.sent["messages"] == messages
    model.run(lambda client: llm.stream(messages=iter(messages), model="gpt-4.1", client=client).collect())
    assert model.sent["messages"] == messages
    with pytest.raises(TypeError, match="give a text, or a list of messages"):
        model.run(lambda client: llm.generate(messages=[], model="gpt-4.1", client=client))


def test_one_span_per_call(model, ask):
    """However often the client tries, a call is one span, the instrumentor's, with the fields of its context."""
    model.server.fail(500, times=2)
    with otelier.context(user_id="alice", agent="triage"):
        ask()
    assert len(model.server.requests) == 3
    assert model.spans.tree("user.id", "gen_ai.agent.name") == (
        "chat gpt-4.1 CLIENT user.id='alice' gen_ai.agent.name='triage'"
    )
    assert model.spans.find("chat gpt-4.1").instrumentation_scope.name == "otelier.openai"


def test_the_answer_goes_behind_the_messages(model, ask):
    """`message` is what the next call takes, with what this provider adds to its messages."""
    model.server.reply("One.")
    answer = ask()
    ask([{"role": "user", "content": "Count."}, answer.message, {"role": "user", "content": "On."}])
    assert model.sent["messages"][1] == {"role": "assistant", "content": "One."}


def test_what_a_provider_adds_is_kept(model):
    """Fields that some providers want to see again stay in `message`, of streams too."""
    said = {"role": "assistant", "content": "One.", "reasoning_content": "Let me count.", "refusal": None}
    model.server.reply(body={"id": "c-1", "model": "m", "choices": [{"index": 0, "message": said}]})
    assert model.generate().message == {"role": "assistant", "content": "One.", "reasoning_content": "Let me count."}
    deltas = [{"reasoning_content": "Let me "}, {"reasoning_content": "count."}, {"content": "One."}]
    chunks = [{"id": "c-1", "model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    end = {"id": "c-1", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    model.server.reply(events=[*chunks, end, "[DONE]"])
    assert model.collect().message == {"role": "assistant", "content": "One.", "reasoning_content": "Let me count."}


def test_text_in_parts(model):
    """Where a provider answers in parts, the words are those of the parts that are text."""
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "One"}, {"type": "text", "text": "."}]
    model.server.reply(body={"choices": [{"message": {"role": "assistant", "content": parts}}]})
    answer = model.generate()
    assert answer.text == "One."
    assert (answer.usage, answer.finish_reason, answer.model, answer.id) == (None, None, "", "")


def test_a_cut_text_is_returned(model, ask):
    """A text that hit a limit is what was asked for: `finish_reason` says that it is not whole."""
    model.server.reply("On its", finish_reason="length")
    answer = ask()
    assert (answer.text, answer.finish_reason) == ("On its", "length")


@pytest.mark.parametrize("body", [{}, {"choices": None}, {"choices": []}, {"error": {"message": "secret"}}, "<html>"])
def test_no_answer_in_the_answer(model, body):
    """What holds no choice, such as a page of a proxy, is an error that says what to look at."""
    model.server.reply(body=body)
    with pytest.raises(AnswerError, match="there is no choice in it") as caught:
        model.generate()
    assert "base_url" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.answer is None


def test_an_answer_that_nests_without_end(model):
    """Of a message that cannot be sent again, text and calls are kept; a client of the caller's own may give one."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    call = {"id": "c-1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    message = {"role": "assistant", "content": "Hi", "extra": deep, "tool_calls": [call]}
    answer = ChatCompletion.construct(
        id="c", model="gpt-4.1", choices=[{"index": 0, "finish_reason": "stop", "message": message}]
    )

    async def use(client):
        async def create(**_: Any) -> ChatCompletion:
            return answer

        client.chat.completions.create = create
        return await llm.generate("Hello", "gpt-4.1", client=client)

    found = model.run(use)
    assert found.message == {"role": "assistant", "content": "Hi", "tool_calls": [call]}


def test_errors_of_the_provider_pass_unchanged(model, ask):
    """A failed call raises the client's own exception."""
    model.server.fail(401)
    with pytest.raises(openai.AuthenticationError):
        ask()
    assert len(model.server.requests) == 1


@pytest.mark.parametrize("prompt", [b"Hello", 7, None, [], ["Hello"], {"role": "user", "content": "Hello"}])
def test_a_prompt_of_the_wrong_type(model, ask, prompt):
    """What is neither a text nor messages is refused before a call is made."""
    with pytest.raises(TypeError, match="give a text, or a list of messages"):
        ask(prompt)
    assert model.server.requests == ()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"messages": [{"role": "user", "content": "Hello"}]}, "both a prompt and messages"),
        ({"model": None}, "give its name"),
        ({"model": 7}, "give its name"),
        ({"stream": True}, "otelier.llm.stream"),
        ({"schema": int}, "pydantic model class"),
        ({"schema": "a parcel"}, "pydantic model class"),
        ({"response_format": llm.Usage}, "a class as `schema`"),
        ({"tools": ["search"]}, "Tools.register"),
    ],
)
def test_arguments_of_the_wrong_type(model, ask, arguments, told):
    """Each says what to give instead, before a call is made."""
    with pytest.raises(TypeError, match=told):
        ask(**arguments)
    assert model.server.requests == ()


def test_answers_are_json(model, ask):
    """An answer goes through JSON and comes back the same."""
    model.server.reply(tool_calls=[("search", {"query": "parcel"})])
    answer = ask(tools=[{"type": "function", "function": {"name": "search", "parameters": {"type": "object"}}}])
    assert llm.Answer.from_json(json.loads(json.dumps(answer.to_json()))) == answer
    assert llm.Answer.from_json(json.loads(json.dumps(llm.Answer(object=None).to_json()))).usage is None


def test_text_that_is_no_unicode(model, ask):
    """Half a character, as some models write it, is passed on as it came."""
    model.server.reply("One \ud83d.")
    answer = ask()
    assert answer.text == "One \ud83d."
    assert llm.Answer.from_json(json.loads(json.dumps(answer.to_json()))) == answer


def test_usage_adds_up():
    """The tokens of several calls are one sum."""
    one = llm.Usage(input_tokens=5, output_tokens=1, cached_tokens=2, reasoning_tokens=1)
    assert sum([one, one], llm.Usage()) == llm.Usage(
        input_tokens=10, output_tokens=2, cached_tokens=4, reasoning_tokens=2
    )


def test_a_hundred_calls_at_once(model):
    """Calls of different users through one client do not mix."""

    async def one(client, number):
        with otelier.context(user_id=f"u-{number}"):
            return await llm.generate(f"I am number {number}.", "gpt-4.1", client=client)

    async def everyone(client):
        return await asyncio.gather(*(one(client, number) for number in range(100)))

    answers = model.run(everyone)
    assert all(f"number {number}." in answer.text for number, answer in enumerate(answers))
    assert {span.attributes["user.id"] for span in model.spans.spans} == {f"u-{number}" for number in range(100)}


@pytest.mark.parametrize(
    ("said", "text", "refusal"),
    [
        ({"content": None, "refusal": "I will not."}, "", "I will not."),
        ({"content": ""}, "", None),
        ({"content": None}, "", None),
        ({}, "", None),
        ({"content": "One.", "tool_calls": None, "usage": None}, "One.", None),
    ],
)
def test_refused_and_empty_answers(model, ask, said, text, refusal):
    """Where text was asked for they are answers like others; usage that is `None` is none."""
    facts = {"id": "c-1", "model": "m", "usage": None}
    choice = {"index": 0, "finish_reason": "stop"}
    if ask.__name__ == "generate":
        model.server.reply(body={**facts, "choices": [{**choice, "message": {"role": "assistant", **said}}]})
    else:
        model.server.reply(
            events=[{**facts, "choices": [{**choice, "delta": {"role": "assistant", **said}}]}, "[DONE]"]
        )
    answer = ask()
    assert (answer.text, answer.refusal, answer.usage, answer.tool_calls) == (text, refusal, None, ())
    assert answer.message["content"] == (None if refusal else text)  # providers refuse `null` that stands for nothing


def test_messages_are_read():
    """A message that was stored says what it said; with a schema it is data again."""
    call = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    answer = llm.read_message({"role": "assistant", "content": None, "tool_calls": [call]})
    assert (answer.text, answer.tool_calls[0].name, answer.message["tool_calls"]) == ("", "search", [call])
    assert llm.read_message({"role": "assistant", "content": "[1]"}, schema={"type": "array"}).object == [1]
    with pytest.raises(AnswerError, match="does not fit the schema"):
        llm.read_message({"role": "assistant", "content": "{}"}, schema={"type": "array"})
