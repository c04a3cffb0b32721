"""Checks of an agent's arguments, made where the agent is written: a mistake does not wait for the first run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from pydantic import BaseModel

from otelier.agents._calls import FunctionTool
from otelier.agents._context import RunContext
from otelier.agents._run import Limits, RunTool
from otelier.agents._tool import Tool
from otelier.errors import AgentError, ToolError
from otelier.fields import check_field
from otelier.interceptors import Interceptor

_LEAST_OF_LIMITS = {"max_depth": 0}
"""Where 0 lets something happen; of all other limits 1 is the least."""


def checked_name(name: object) -> str:
    """Return the name of an agent.

    Raises:
        AgentError: if it is empty.
        ContextValueError: if it cannot be carried as the field `agent`.
        TypeError: if it is no text.
    """
    if not isinstance(name, str):
        raise TypeError(
            f"Cannot name an agent by a {type(name).__name__}: every signal of its runs has it. Give a text."
        )
    check_field("agent", name)
    if not name:
        raise AgentError("An agent needs a name: every signal of its runs carries it. Pass `name=`.")
    return name


def checked_model(model: object) -> str:
    """Return the name of a model.

    Raises:
        TypeError: if it is none, such as a client.
    """
    if isinstance(model, str) and model:
        return model
    what = "an empty name" if isinstance(model, str) else f"a {type(model).__name__}"
    raise TypeError(
        f"Cannot ask {what} as a model: a model is known by its name, at the client's `base_url`. "
        "Write `Agent(name, 'gpt-4.1', client=...)`."
    )


def checked_client(client: Any) -> Any:
    """Return a client of the openai package, or `None`.

    Raises:
        TypeError: if it is neither.
    """
    chat: Any = getattr(client, "chat", None)
    # A class of the package has the name, but no chat yet; a class of one's own may stand for a client.
    is_one = chat is not None and (not isinstance(client, type) or hasattr(chat, "completions"))
    if client is None or is_one:
        return client
    what = f"the class {client.__name__}" if isinstance(client, type) else f"a {type(client).__name__}"
    raise TypeError(f"Cannot ask a model by {what}: give an instance of a client, such as `client=AsyncOpenAI()`.")


def checked_limits(agent: str, **limits: int) -> Limits:
    """Return the limits of an agent's runs.

    Raises:
        AgentError: if one is too low.
        TypeError: if one is no whole number.
    """
    for name, value in limits.items():
        if type(value) is not int:
            raise TypeError(f"Cannot limit agent {agent!r} by `{name}={value!r}`: give a whole number.")
        if value < (least := _LEAST_OF_LIMITS.get(name, 1)):
            raise AgentError(
                f"Cannot limit agent {agent!r} by `{name}={value}`: no run could do anything. Give {least} or more."
            )
    return Limits(**limits)


def checked_text(name: str, text: object) -> str | None:
    """Return the text, or `None`, that is the argument *name*.

    Raises:
        TypeError: if it is neither.
    """
    if text is None or isinstance(text, str):
        return text
    raise TypeError(f"`{name}` of an agent is a {type(text).__name__}: a model takes text. Give a text, or `None`.")


def checked_list(name: str, given: object) -> list[Any]:
    """Return the members of the list that is the argument *name*.

    Raises:
        TypeError: if it is no list, but for example its only member.
    """
    kind = type(given).__name__
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping)):
        return list(cast("Iterable[Any]", given))
    raise TypeError(f"`{name}` is a {kind}: an agent takes a list of them. Write `{name}=[...]`.")


def checked_interceptor(one: Interceptor) -> Interceptor:
    """Return an interceptor.

    Raises:
        TypeError: if it is none, but for example its class.
    """
    if isinstance(one, type) or not callable(getattr(one, "intercept", None)):
        what = one.__name__ if isinstance(one, type) else f"a {type(one).__name__}"
        raise TypeError(
            f"Cannot ask {what} at the phases of a run: `interceptors` takes objects with a method `intercept`. "
            f"Derive a class from `Interceptor` and pass an instance."
        )
    return one


def function_tool(function: Tool[..., Any] | Callable[..., Any]) -> RunTool:
    """Return a tool, or a function that becomes one, as a run offers it."""
    return FunctionTool(cast("Tool[..., Any]", function) if isinstance(function, Tool) else Tool(function))


def by_name(agent: str, tools: list[RunTool]) -> dict[str, RunTool]:
    """Return *tools* by name.

    Raises:
        ToolError: if two have one name.
    """
    found: dict[str, RunTool] = {}
    for tool in tools:
        if tool.name in found:
            raise ToolError(
                f"Agent {agent!r} has two tools named {tool.name!r}: its model could not tell them apart. Rename one "
                f"by `tool(name=)`, or the subagent."
            )
        found[tool.name] = tool
    return found


def checked_type(output_type: Any) -> type[BaseModel] | None:
    """Return the type of the output; `None` is text.

    Raises:
        TypeError: if it is neither a pydantic model class nor text.
    """
    if output_type is None or output_type is str:
        return None
    if isinstance(output_type, type) and issubclass(output_type, BaseModel):
        return output_type
    raise TypeError(
        f"Cannot promise an output of type {output_type!r}: give a pydantic model class, or `None` for text."
    )


def as_context(context: object) -> RunContext | None:
    """Return the context of a run.

    Raises:
        TypeError: if it is neither a `RunContext`, a mapping nor `None`.
    """
    if context is None or isinstance(context, RunContext):
        return context
    if isinstance(context, Mapping):
        return RunContext(metadata=dict(context))  # pyright: ignore[reportUnknownArgumentType]
    raise TypeError(
        f"A run's context must be a RunContext, a mapping or `None`, not a {type(context).__name__}: tools are given "
        f"it. Derive a dataclass from `RunContext`."
    )
