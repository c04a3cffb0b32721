"""What a chat product asks of agents: settings, conversations that go on, parts, errors that keep what there was."""

from __future__ import annotations

import asyncio
import inspect

import openai
import pytest

import otelier
from otelier import llm, tool
from otelier.agents import RunFinished
from otelier.errors import AgentError, AgentLimitError, ToolError
from otelier.interceptors import Interceptor, InterceptResult, Phase, StopExecution
from tests.scripted import scripted


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


CALL = [("add", {"a": 1, "b": 2})]
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/parcel.png"}}


def last(model):
    """The body of the last request."""
    return model.server.requests[-1].body


def streamed(agent, query, **options):
    """The result of a streamed run."""

    async def main():
        async with agent.stream(query, **options) as events:
            return [event async for event in events if isinstance(event, RunFinished)][-1].result

    return asyncio.run(main())


def whole(agent, query, **options):
    """The result of a run."""
    return agent.run(query, **options).wait()


WAYS = pytest.mark.parametrize("way", [whole, streamed], ids=["run", "stream"])


# --- settings --------------------------------------------------------------------------------------------------
@WAYS
def test_settings_go_to_each_question_and_the_runs_beat_the_agents(model, way):
    """Also those that the client has beside the body, such as `extra_body`."""
    agent = model.agent(add, settings={"temperature": 0, "max_tokens": 7, "extra_body": {"seed": 3}})
    model.says(CALL, "Done.")
    way(agent, "Go", settings={"temperature": 1, "reasoning_effort": "low", "timeout": 20})
    for request in model.server.requests:
        asked = {name: request.body.get(name) for name in ("temperature", "max_tokens", "seed", "reasoning_effort")}
        assert asked == {"temperature": 1, "max_tokens": 7, "seed": 3, "reasoning_effort": "low"}
    model.says("Done.")
    way(agent, "Again")
    assert (last(model)["temperature"], "reasoning_effort" in last(model)) == (0, False)


def test_a_subagent_has_its_own_settings(model):
    """Those of the run are for the agent that was asked."""
    below = model.agent(name="below", settings={"temperature": 0.5})
    model.says([("below", {"task": "look"})], "Looked.", "Done.")
    model.agent(subagents=[below]).run("Go", settings={"temperature": 1}).wait()
    assert [request.body["temperature"] for request in model.server.requests] == [1, 0.5, 1]


@WAYS
def test_an_unknown_setting_is_the_clients_own_error(model, way):
    """As it would be without an agent."""
    with pytest.raises(TypeError, match="tmperature"):
        way(model.agent(), "Go", settings={"tmperature": 1})


@WAYS
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "add"}}], ids=str)
def test_a_forced_call_is_forced_once(model, way, choice):
    """A model that had to call a tool in each answer would never come to an end."""
    model.says(CALL, "Done.")
    way(model.agent(add, settings={"tool_choice": choice, "parallel_tool_calls": False}), "Go")
    assert [request.body.get("tool_choice") for request in model.server.requests] == [choice, None]
    assert [request.body.get("parallel_tool_calls") for request in model.server.requests] == [False, False]


def allowed(mode, *names, flat=False):
    """A choice of type `allowed_tools`; *flat* as the Responses API has it."""
    tools = [{"type": "function", "name": name} if flat else tool_called(name) for name in names]
    held = {"mode": mode, "tools": tools}
    return {"type": "allowed_tools", **(held if flat else {"allowed_tools": held})}


def tool_called(name):
    return {"type": "function", "function": {"name": name}}


CHOICES = {
    "another vendor's word": ("any", None),
    "another vendor's object": ({"type": "any"}, None),
    "by name": (tool_called("add"), None),
    "by name as in Responses": ({"type": "function", "name": "add"}, None),
    "a custom tool": ({"type": "custom", "custom": {"name": "add"}}, None),
    "a list": (allowed("required", "add"), allowed("auto", "add")),
    "a list as in Responses": (allowed("required", "add", flat=True), allowed("auto", "add", flat=True)),
    "a free list": (allowed("auto", "add"), allowed("auto", "add")),
    "free": ("auto", "auto"),
}


@WAYS
@pytest.mark.parametrize(("choice", "then"), CHOICES.values(), ids=CHOICES)
def test_each_form_of_a_choice_holds_until_a_tool_was_called(otelier_spans, way, choice, then):
    """What forces a call does so once; a list of allowed tools still holds."""
    with scripted(refuses=False) as model:  # OpenAI knows some of them only
        model.says(CALL, "Done.")
        assert way(model.agent(add, settings={"tool_choice": choice}), "Go").output == "Done."
        assert [request.body.get("tool_choice") for request in model.server.requests] == [choice, then]


ABSENT = {
    "by name": (tool_called("gone"), None),
    "a custom tool": ({"type": "custom", "custom": {"name": "gone"}}, None),
    "a list": (allowed("auto", "gone"), None),
    "a list of several": (allowed("required", "gone", "add"), allowed("required", "add")),
    "a list of nothing": ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": 7}}, None),
    "no choice": (None, None),
    "malformed": ({"type": "allowed_tools", "allowed_tools": {"tools": ["add", {"function": 7, "name": []}]}}, None),
}


@pytest.mark.parametrize(("choice", "sent"), ABSENT.values(), ids=ABSENT)
def test_a_choice_names_only_tools_that_are_offered(choice, sent):
    """A provider refuses one that names others."""
    with scripted(refuses=False) as model:  # openai 1 knows no lists
        model.says("Done.")
        model.agent(add, settings={"tool_choice": choice}).run("Go").wait()
        assert last(model).get("tool_choice") == sent


@pytest.mark.parametrize("function", [llm.generate, llm.stream])
def test_what_a_run_says_itself_is_no_setting(function):
    """Each argument that a run gives is refused where the agent is written, with what to do instead."""
    for name in {*inspect.signature(function).parameters, "stream"} - {"response_format", "options"}:
        with pytest.raises(TypeError, match=f"Cannot take {name!r} as a setting: a run gives that itself. Rather "):
            otelier.Agent("a", "gpt-4.1", settings={name: 1})


@WAYS
def test_what_a_provider_would_refuse_is_left_out(model, way):
    """Settings about tools where none are offered, and those about streams where there is none."""
    settings = {"tool_choice": "auto", "parallel_tool_calls": False, "stream_options": {"include_usage": True}}
    assert way(model.agent(settings=settings), "Hello").output
    assert not {"tool_choice", "parallel_tool_calls"} & last(model).keys()
    assert ("stream_options" in last(model)) is (way is streamed)


def test_a_server_without_stream_options_is_asked_without(model):
    """Once it has refused, every further stream is asked without at once; one's own are one's own affair."""
    knows_none = {"message": "Unrecognized request argument supplied: stream_options", "status": 400, "times": None}
    model.server.fail(**knows_none, when=lambda request: "stream_options" in request.body)
    model.server.reply("Hello", times=None)
    agent = model.agent()
    assert [streamed(agent, "Hello").output for _ in range(2)] == ["Hello", "Hello"]
    assert ["stream_options" in request.body for request in model.server.requests] == [True, False, False]
    assert streamed(agent, "Hello", settings={"stream_options": None}).output == "Hello"
    with pytest.raises(openai.BadRequestError):
        streamed(agent, "Hello", settings={"stream_options": {"include_usage": False}})


# --- a conversation that goes on -------------------------------------------------------------------------------
@WAYS
def test_a_chat_goes_on(model, way):
    """`messages` of an earlier result come before the new turn; the instructions stand there once."""
    agent = model.agent(add, instructions="Be kind.")
    model.says(CALL, "Three.", "Six.")
    first = way(agent, "1+2?")
    second = way(agent, "Twice that?", messages=first.messages)
    assert last(model)["messages"] == [*first.messages, {"role": "user", "content": "Twice that?"}]
    assert second.messages[:-1] == last(model)["messages"]
    assert [one["role"] for one in second.messages].count("system") == 1
    assert (second.context.query, len(second.tool_calls)) == ("Twice that?", 0)
    assert first.messages == second.messages[: len(first.messages)]


def test_another_agent_takes_a_chat_over(model):
    """Its own instructions take the place of the former ones; without any, those that are there stay."""
    model.says("Hello.", "Hm.", "Hm.")
    first = model.agent(instructions="Be kind.").run("Hello").wait()
    model.agent(name="b", instructions="Be short.").run("And?", messages=first.messages).wait()
    assert last(model)["messages"][0] == {"role": "system", "content": "Be short."}
    assert len(last(model)["messages"]) == 4
    model.agent(name="c").run("And?", messages=first.messages).wait()
    assert last(model)["messages"][0] == {"role": "system", "content": "Be kind."}


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_chat_has_one_prompt_in_either_role(model, otelier_spans, capture_content, role):
    """Instructions and interceptors replace what the conversation begins with, by whichever name."""

    class Prompts(Interceptor):
        async def intercept(self, phase, context):
            return InterceptResult.modify_prompt("New.") if phase is Phase.PRE_THINK else None

    capture_content("span_only")
    earlier = [{"role": role, "content": "Old."}, {"role": "user", "content": "Hello"}]
    model.says("Hm.", "Hm.")
    result = model.agent(interceptors=[Prompts()]).run("And?", messages=earlier).wait()
    assert [(one["role"], one["content"]) for one in result.messages[:2]] == [(role, "New."), ("user", "Hello")]
    assert "New." in otelier_spans.find("invoke_agent triage").attributes["gen_ai.system_instructions"]
    result = model.agent(name="b", instructions="Mine.").run("And?", messages=earlier).wait()
    assert [one["content"] for one in result.messages[:2]] == ["Mine.", "Hello"]


def test_a_chat_goes_on_after_an_error(model):
    """What the error carries is a conversation that a provider takes, also where calls were left unanswered."""

    @tool
    def stops() -> str:
        raise StopExecution("Closed.")

    model.says([("add", {"a": 1, "b": 2}), ("stops", {})])
    agent = model.agent(add, stops)
    stopped = agent.run("Go").wait()
    model.says("Hello.")
    went_on = agent.run("And?", messages=stopped.messages).wait()
    assert went_on.output == "Hello."
    told = {one["tool_call_id"]: one["content"] for one in last(model)["messages"] if one["role"] == "tool"}
    assert "The call was not made." in told.values()
    assert len(told) == 2


def test_the_earlier_messages_are_never_changed(model):
    """Neither by the run nor by its interceptors."""

    class Spoils(Interceptor):
        async def intercept(self, phase, context):
            return InterceptResult.modify_messages([{**one, "content": "x"} for one in context.messages])

    earlier = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}, {"role": "assistant", "content": "Hi"}]
    before = repr(earlier)
    model.says("Done.")
    model.agent(interceptors=[Spoils()]).run("Go", messages=earlier).wait()
    assert repr(earlier) == before


@WAYS
def test_a_turn_in_parts(model, way, otelier_spans, capture_content):
    """A text beside an image goes to the model as it is; its words are the task, and the query of the context."""
    capture_content("SPAN_ONLY")
    parts = [{"type": "text", "text": "What is this?"}, IMAGE]
    seen = []

    class Sees(Interceptor):
        async def intercept(self, phase, context):
            seen.append(context.task)

    model.says("A parcel.")
    result = way(model.agent(interceptors=[Sees()]), parts)
    assert last(model)["messages"] == [{"role": "user", "content": parts}]
    assert (result.context.query, set(seen)) == ("What is this?", {"What is this?"})
    assert "What is this?" in otelier_spans.find("invoke_agent triage").attributes["gen_ai.input.messages"]


# --- mistakes --------------------------------------------------------------------------------------------------
QUERIES = {
    "messages": ([{"role": "user", "content": "Hello"}], "a list of messages.*messages=earlier.messages"),
    "a number": (5, "with a int: a query is the user's next turn"),
    "nothing": (None, "with a NoneType"),
    "bytes": (b"Hello", "with a bytes"),
    "an empty list": ([], "with an empty list"),
    "texts": (["Hello"], "with a list"),
    "parts without a type": ([{"text": "Hello"}], "parts that each have a `type`"),
}


@pytest.mark.parametrize("way", ["run", "stream"])
@pytest.mark.parametrize(("query", "said"), QUERIES.values(), ids=QUERIES)
def test_queries_that_are_none(model, query, said, way):
    """An error where it is written, which says what to write instead."""
    with pytest.raises(TypeError, match=said):
        getattr(model.agent(), way)(query)


HISTORIES = {"a text": "Hello", "a message": {"role": "user"}, "texts": ["Hello"], "without a role": [{"content": "x"}]}


@pytest.mark.parametrize("messages", HISTORIES.values(), ids=HISTORIES)
def test_conversations_that_are_none(model, messages):
    """So it is with `messages`, a result itself among them."""
    for given in (messages, 7, model.agent()):
        with pytest.raises(TypeError, match=r"messages=earlier\.messages"):
            model.agent().run("Hello", messages=given)


SETTINGS = {
    "a list": (["temperature"], "a dict by name, not a list"),
    "a number as name": ({1: 2}, "a dict by name"),
    "model": ({"model": "m"}, "'model' as a setting.*`Agent"),
    "messages": ({"messages": []}, "'messages' as a setting.*messages=..."),
    "tools": ({"tools": []}, "'tools' as a setting"),
    "stream": ({"stream": True}, r"agent\.stream"),
}


@pytest.mark.parametrize(("settings", "said"), SETTINGS.values(), ids=SETTINGS)
def test_settings_that_are_none(model, settings, said):
    """What a run says itself is no setting, of the run or of the agent."""
    with pytest.raises(TypeError, match=said):
        model.agent().run("Hello", settings=settings)
    with pytest.raises(TypeError, match=said):
        model.agent(settings=settings)


ARGUMENTS = {
    "a client as model": ({"model": openai.OpenAI}, "a .* as a model.*client="),
    "no model": ({"model": ""}, "an empty name as a model"),
    "a class as client": ({"client": openai.AsyncOpenAI}, r"the class AsyncOpenAI: .* `client=AsyncOpenAI\(\)`"),
    "an http client": ({"client": object()}, "a object: give an instance of a client"),
    "a function as tools": ({"tools": add.__wrapped__}, r"`tools` is a function: .* `tools=\[...\]`"),
    "a tool as tools": ({"tools": add}, "`tools` is a Tool"),
    "a text as tools": ({"tools": "add"}, "`tools` is a str"),
    "one interceptor": ({"interceptors": Interceptor()}, "`interceptors` is a Interceptor"),
    "one subagent": ({"subagents": otelier.Agent("b", "m")}, "`subagents` is a Agent"),
    "no text": ({"instructions": ["Be kind."]}, "`instructions` of an agent is a list"),
    "half a step": ({"max_steps": 1.5}, "by `max_steps=1.5`"),
    "no number": ({"max_model_calls": "many"}, "by `max_model_calls='many'`"),
    "a number as name": ({"name": 5}, "name an agent by a int"),
}


@pytest.mark.parametrize(("given", "said"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_agents_that_are_none(given, said):
    """A mistake is told where it is written."""
    with pytest.raises(TypeError, match=said):
        otelier.Agent(**{"name": "a", "model": "m", **given})
    with openai.OpenAI(api_key="sk-none") as client, pytest.raises(TypeError, match="a OpenAI as a model"):
        otelier.Agent("a", client)


def test_a_tool_of_nothing_is_told_by_its_own_error():
    """A member that is no function is an error of the tool, as before."""
    with pytest.raises(ToolError):
        otelier.Agent("a", "m", tools=[5])
    with pytest.raises(AgentError):
        otelier.Agent("a", "m", max_calls_per_answer=0)


# --- errors ----------------------------------------------------------------------------------------------------
@WAYS
def test_the_errors_that_end_a_run_carry_what_there_was(model, way):
    """The client's own, an interceptor's and ours: the conversation, what was used, the calls."""

    class Fails(Interceptor):
        async def intercept(self, phase, context):
            if phase is Phase.PRE_THINK and context.model_calls:
                raise ValueError("no")

    model.says(CALL)
    model.server.fail(401)
    for agent, kind in (
        (model.agent(add), openai.AuthenticationError),
        (model.agent(add, interceptors=[Fails()]), ValueError),
        (model.agent(add, max_steps=1), AgentLimitError),
    ):
        if kind is not openai.AuthenticationError:
            model.says(CALL)
        with pytest.raises(kind) as caught:
            way(agent, "1+2?")
        error = caught.value
        assert [one["role"] for one in error.messages] == ["user", "assistant", "tool"]
        assert (error.usage.model_calls, error.usage.input_tokens) == (1, 10)
        assert [call.result for call in error.tool_calls] == ["3"]


def test_an_error_that_ends_several_runs_tells_of_the_outermost(model):
    """That is the one which was asked for."""
    below = model.agent(add, name="below", max_steps=1)
    model.says([("below", {"task": "look"})], CALL)
    with pytest.raises(AgentLimitError) as caught:
        model.agent(subagents=[below]).run("Go").wait()
    assert caught.value.messages[0]["content"] == "Go"
    assert caught.value.usage.model_calls == 2


def test_an_error_with_such_facts_of_its_own_keeps_them(model):
    """Some errors have `messages` already, or cannot say whether they have; they get what they lack, of each run."""

    class MisfitError(Exception):
        messages = ("own",)

        @property
        def tool_calls(self):
            raise ValueError

    class Fails(Interceptor):
        def __init__(self, steps):
            self.steps = steps

        async def intercept(self, phase, context):
            if phase is Phase.PRE_THINK and context.model_calls == self.steps - 1:
                raise error

    error = MisfitError()
    for steps in (1, 2):
        model.says(*[CALL] * (steps - 1))
        with pytest.raises(MisfitError):
            model.agent(add, interceptors=[Fails(steps)]).run("Go").wait()
        assert (error.messages, error.usage.model_calls) == (("own",), steps - 1)
        assert "tool_calls" not in vars(error)
