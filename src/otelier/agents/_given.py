"""What an agent is made of, checked where it is written: a mistake shall not wait for the first run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, cast

from pydantic import BaseModel

from otelier.agents._calls import FunctionOffer
from otelier.agents._context import RunContext
from otelier.agents._run import Limits, Offer, Run
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
    """Return the text, or `None`, that was given as the argument *name*.

    Raises:
        TypeError: if it is neither.
    """
    if text is None or isinstance(text, str):
        return text
    raise TypeError(f"`{name}` of an agent is a {type(text).__name__}: a model is told text. Give a text, or `None`.")


def several(name: str, given: object) -> list[Any]:
    """Return the members of the list that was given as the argument *name*.

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


def offer_of(function: Tool[..., Any] | Callable[..., Any]) -> Offer:
    """Return what a run offers for a tool, or for a function that becomes one."""
    return FunctionOffer(cast("Tool[..., Any]", function) if isinstance(function, Tool) else Tool(function))


def by_name(agent: str, offers: list[Offer]) -> dict[str, Offer]:
    """Return *offers* by name.

    Raises:
        ToolError: if two have one name.
    """
    found: dict[str, Offer] = {}
    for offer in offers:
        if offer.name in found:
            raise ToolError(
                f"Agent {agent!r} has two tools named {offer.name!r}: its model could not tell them apart. Rename one "
                f"by `tool(name=)`, or the subagent."
            )
        found[offer.name] = offer
    return found


def checked_type(output_type: Any) -> type[BaseModel] | None:
    """Return what the output of a run is to be; `None` is text.

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


_FREE: Final = ("auto", "none")
"""Choices that force no call; all others do, also those of other vendors, such as `any`."""


def step_settings(run: Run, offered: Collection[str]) -> dict[str, Any]:
    """Return the settings of the next question, for which the tools named *offered* are offered.

    What a provider refuses beside the rest of that question is left out, and so is a choice that would make the model
    call tools for ever: it holds until one was called.
    """
    settings = dict(run.settings)
    if not offered:
        settings.pop("tool_choice", None)
        settings.pop("parallel_tool_calls", None)
    elif "tool_choice" in settings:
        choice = _choice(settings.pop("tool_choice"), offered, is_held=not run.tool_calls)
        if choice is not None:
            settings["tool_choice"] = choice
    if run.emit is None:
        settings.pop("stream_options", None)
    return settings


def _choice(choice: object, offered: Collection[str], *, is_held: bool) -> object:
    """Return *choice* with those tools only that are offered, and forcing a call only while *is_held*; else `None`."""
    if not isinstance(choice, (str, Mapping)):
        return choice
    given = cast("str | Mapping[str, Any]", choice)
    kind = given if isinstance(given, str) else given.get("type")
    if kind in _FREE:
        return given
    if kind == "allowed_tools" and not isinstance(given, str):
        return _allowed(given, offered, is_held=is_held)
    name = None if isinstance(given, str) else _name(given)
    return given if is_held and (name is None or name in offered) else None


def _allowed(choice: Mapping[str, Any], offered: Collection[str], *, is_held: bool) -> object:
    """Return a list of allowed tools with those that are offered; it still holds when it forces a call no more."""
    inner = choice.get("allowed_tools")
    # The Responses API, and servers that follow it, have no object inside.
    allowed = cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else choice
    tools: object = allowed.get("tools")
    given = cast("list[Any]", tools) if isinstance(tools, (list, tuple)) else []
    left: list[Any] = [one for one in given if isinstance(one, Mapping) and _name(cast("Any", one)) in offered]
    if not left:
        return None
    held: dict[str, Any] = {**allowed, "tools": left}
    if not is_held:
        held["mode"] = "auto"
    return held if allowed is choice else {**choice, "allowed_tools": held}


def _name(tool: Mapping[str, Any]) -> str | None:
    """Return the name of the tool that is meant, in the form of any API; `None` where it is none by name."""
    inner = tool.get("function") or tool.get("custom")
    name: object = (cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else tool).get("name")
    return name if isinstance(name, str) else None
