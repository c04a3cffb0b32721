"""What ends endless work: calls in one answer, and model calls in one run and those below it."""

from __future__ import annotations

import pytest

from otelier import tool
from otelier.errors import AgentLimitError
from otelier.interceptors import Failover, Interceptor, InterceptResult, Phase


@tool
def work() -> str:
    """Work."""
    return "worked"


def test_an_answer_that_asks_for_too_many_calls_ends_the_run(model, otelier_spans):
    """None of them is made; the error says which limit it was."""
    model.says([("work", {})] * 129)
    with pytest.raises(AgentLimitError, match=r"129 calls .* `max_calls_per_answer=128`") as caught:
        model.agent(work).run("Go").wait()
    assert (caught.value.limit, caught.value.tool_calls) == ("max_calls_per_answer", [])
    assert [span.name for span in otelier_spans.spans if span.name.startswith("execute_tool")] == []
    model.says([("work", {})] * 2, "Done.")
    assert model.agent(work, max_calls_per_answer=2).run("Go").output == "Done."


def test_a_subagent_that_asks_for_too_many_calls_fails(model):
    """The agent that delegated to it is told, and may do something else."""
    below = model.agent(work, name="below", max_calls_per_answer=1)
    model.says([("below", {"task": "look"})], [("work", {})] * 2, "Done.")
    result = model.agent(subagents=[below]).run("Go").wait()
    assert result.output == "Done."
    assert result.tool_calls[0].result.startswith("Error: AgentLimitError: The model of agent 'below' asks for 2 calls")


def family(model, depth, **options):
    """An agent that delegates to the next one, and that again."""
    below = [] if depth == 0 else [family(model, depth - 1)]
    return model.agent(name=f"agent{depth}", subagents=below, **options)


def delegates_for_ever(model):
    """Each agent asks the one below it four times in an answer, as often as it may."""

    def next_one(request):
        return [one["function"]["name"] for one in request.body.get("tools", ())]

    for name in ("agent0", "agent1", "agent2"):
        calls = [(name, {"task": f"{number}"}) for number in range(4)]
        model.server.reply(tool_calls=calls, times=None, when=lambda request, name=name: next_one(request) == [name])
    model.server.reply("Nothing found.", times=None)


@pytest.mark.parametrize("limit", [None, 20])
def test_delegation_does_not_multiply(model, limit):
    """All model calls of a run and of those below it are counted together, and end with the run."""
    delegates_for_ever(model)
    options = {} if limit is None else {"max_model_calls": limit}
    with pytest.raises(AgentLimitError, match=rf"'agent3' and those .* `max_model_calls={limit or 150}`") as caught:
        family(model, 3, **options).run("Go").wait()
    assert caught.value.limit == "max_model_calls"
    assert len(model.server.requests) <= (limit or 150)  # some were given up before they were sent
    assert caught.value.usage.model_calls <= len(model.server.requests)  # and some before they were answered
    assert f"started {limit or 150} model calls, " in str(caught.value)


def test_the_limit_of_a_subagent_ends_the_runs_around_it_too(model):
    """Or each of them could ask for the same again."""
    below = model.agent(work, name="below", max_model_calls=1)
    model.says([("below", {"task": "look"})], [("work", {})])
    with pytest.raises(AgentLimitError, match="'below' and those"):
        model.agent(subagents=[below]).run("Go").wait()


def test_questions_that_failed_count_too(model):
    """Other models that are asked in place of one that fails."""
    model.server.fail(400, times=None)
    agent = model.agent(interceptors=[Failover(*["m"] * 9)], max_model_calls=3)
    with pytest.raises(AgentLimitError, match="max_model_calls=3"):
        agent.run("Go").wait()
    assert len(model.server.requests) == 3


def test_many_calls_beside_interceptors_copy_no_conversation(model):
    """Interceptors are shown the same messages at each phase in which nothing was said."""
    shown = set()

    class Sees(Interceptor):
        async def intercept(self, phase, context):
            if context.tool_name is not None:
                shown.add(id(context.messages))

    model.says([("work", {})] * 100, "Done.")
    kept = Sees()
    assert model.agent(work, interceptors=[kept, kept]).run("Go").output == "Done."
    assert len(shown) == 1


def test_a_new_prompt_copies_no_conversation(model):
    """An interceptor that sets the prompt before each question leaves the messages after it as they are."""
    shown = []

    class Prompts(Interceptor):
        async def intercept(self, phase, context):
            if phase is not Phase.PRE_THINK:
                return None
            shown.append(next(one for one in context.messages if one["role"] == "user"))
            return InterceptResult.modify_prompt(f"This is question {len(shown)}.")

    model.says([("work", {})], [("work", {})], "Done.")
    result = model.agent(work, interceptors=[Prompts()]).run("Go").wait()
    assert result.messages[0] == {"role": "system", "content": "This is question 3."}
    assert len(shown) == 3
    assert all(one is shown[0] for one in shown)
