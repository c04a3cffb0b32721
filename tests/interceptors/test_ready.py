"""The interceptors that are shipped: each alone, and one object for many runs at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import openai
import pytest

import otelier
from otelier import RunContext, tool
from otelier.fields import be_strict
from otelier.interceptors import AllowTools, Budget, Failover, Interceptor, InterceptResult, Phase, RequireRole


@dataclass
class Visitor(RunContext):
    user_role: str = ""


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


TWICE = [("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})]


@pytest.mark.parametrize("context", [Visitor("guest"), Visitor(), RunContext(), None])
def test_a_role_is_required(model, otelier_spans, context):
    """Without the role no model is asked."""
    agent = model.agent(interceptors=[RequireRole("admin", "owner")])
    assert agent.run("Go", context=context).output == "Permission denied."
    assert model.server.requests == ()
    assert agent.run("Hello", context=Visitor("owner")).output == "Hello! How can I help you today?"


@dataclass
class Member(RunContext):
    user_role: object = None


def test_the_role_of_the_call_context(model):
    """Where the run's context has no role, it is that of `otelier.context`; one that it has counts alone."""
    agent = model.agent(interceptors=[RequireRole("admin")])
    with otelier.context(user_role="admin"):
        contexts = [None, {"user_role": "guest"}, RunContext(), Member(), Member("guest"), Member("")]
        outputs = [agent.run("Hello", context=context).output for context in contexts]
    assert outputs == ["Hello! How can I help you today?"] * 4 + ["Permission denied."] * 2


@pytest.mark.parametrize(
    ("held", "let_in"),
    [
        (["guest", "admin"], True),
        (("admin",), True),
        ({"admin"}, True),
        (["guest", ["admin"]], False),
        ([], False),
        (7, False),
        ("administrator", False),
        ("", False),
    ],
)
def test_several_roles(model, held, let_in):
    """A user may have several; what is no role lets nobody in, and neither does a requirement that is empty."""
    be_strict(False)  # where roles that are none raise, as in most tests, nobody gets that far
    agent = model.agent(interceptors=[RequireRole("admin", "")])
    assert (agent.run("Hello", context=Member(held)).output != "Permission denied.") is let_in


@pytest.mark.parametrize("limits", [{"max_tokens": -1}, {"max_tool_calls": -1}])
def test_budgets_that_cannot_be(limits):
    """A clear error when one is made."""
    with pytest.raises(ValueError, match="give 0 or more"):
        Budget(**limits)


def test_tokens_are_limited(model, otelier_spans):
    """The run stops before the question that comes after the budget was used up, those of subagents counted in."""
    specialist = model.agent(name="specialist")
    agent = model.agent(subagents=[specialist], interceptors=[Budget(max_tokens=30)])
    model.says([("specialist", {"task": "t"})], "Done.")
    assert agent.run("Go").output == "The budget of this run is used up."
    assert len(model.server.requests) == 2
    assert otelier_spans.find("invoke_agent triage").attributes["otelier.agent.stop.reason"] == "max_tokens"


def test_tool_calls_are_limited_per_run(model):
    """Calls beyond the budget are refused, also in one turn; one object counts each run alone."""
    agent = model.agent(add, interceptors=[Budget(max_tool_calls=1)])
    model.server.reply(tool_calls=TWICE, times=10)

    async def main():
        return await asyncio.gather(*(agent.run("Go") for _ in range(10)))

    for result in asyncio.run(main()):
        assert result.output == "The budget of this run is used up."
        assert max(call.result for call in result.tool_calls) == "The budget for calls of tools is used up."
        assert len([call for call in result.tool_calls if call.result in ("3", "7")]) == 1


def test_tools_are_allowed_by_name(model):
    """Others are not offered; the model that calls one all the same is refused."""

    @tool
    def delete() -> str:
        raise AssertionError("called")

    model.says([("delete", {}), ("add", {"a": 1, "b": 2})], "Done.")
    result = model.agent(add, delete, interceptors=[AllowTools("add")]).run("Go").wait()
    assert [one["function"]["name"] for one in model.server.requests[0].body["tools"]] == ["add"]
    assert [call.result for call in result.tool_calls] == ["This tool is not allowed.", "3"]


def test_failing_models_are_followed_by_others(model):
    """In their order, anew for each question; when none is left the last error is the run's."""
    over = Failover("error-401", "gpt-4.1-mini", on=(openai.APIStatusError,))
    agent = model.agent(interceptors=[over])
    model.server.fail(400)
    assert agent.run("Hello").output == "Hello! How can I help you today?"
    assert [request.model for request in model.server.requests] == ["gpt-4.1", "error-401", "gpt-4.1-mini"]
    model.server.fail(400, when=lambda request: not request.model.startswith("error"), times=2)
    with pytest.raises(openai.BadRequestError):
        agent.run("Hello").wait()


def test_a_long_list_of_models_is_followed_to_its_end(model):
    """However many fail, the last one is asked; only an interceptor that never gives up is left alone at some point."""
    over = Failover(*["error-401"] * 20, "gpt-4.1-mini")
    model.server.fail(400)
    assert model.agent(interceptors=[over]).run("Hello").output == "Hello! How can I help you today?"
    assert len(model.server.requests) == 22


def test_another_model_is_not_asked_without_end(model):
    """A question that fails with every model that an interceptor names fails in the end."""

    class Stubborn(Interceptor):
        async def intercept(self, phase, context):
            return InterceptResult.use_model("error-401") if phase is Phase.ON_ERROR else None

    model.server.fail(400)
    with pytest.raises(openai.AuthenticationError):
        model.agent(interceptors=[Stubborn()]).run("Hello").wait()
    assert len(model.server.requests) == 65
