"""`Interceptor` and its parts: phases, the context that it is shown, and the results that it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, cast

from otelier.identity import AgentIdentity


@dataclass(slots=True, kw_only=True)
class InterceptContext:
    """What an interceptor sees of a run at one phase.

    Only `state` may be changed. Changing messages or arguments, or the dicts and lists in them, raises a `TypeError`.

    Example:
        >>> from otelier.identity import NOBODY
        >>> InterceptContext(phase=Phase.PRE_RUN, agent=NOBODY, task="Hello", run_context=None).task
        'Hello'
    """

    phase: Phase
    """The moment."""
    agent: AgentIdentity
    """Name and id of the agent that runs."""
    task: str = field(repr=False)
    """What this run was asked."""
    run_context: Any = field(repr=False)
    """The run's `RunContext`, or the subclass that was passed to `run`."""
    messages: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """The conversation so far, in the form of chat completions."""
    state: dict[Any, Any] = field(default_factory=dict[Any, Any], repr=False)
    """Of this one run, by text or by the interceptor itself: what one puts here it finds again in the next phase, and
    no other run does."""
    model: str = ""
    """Model that is asked."""
    tools: tuple[str, ...] = ()
    """Names of the tools that are offered."""
    model_calls: int = 0
    """Answers of the model so far."""
    tool_calls: int = 0
    """Calls of tools so far."""
    input_tokens: int = 0
    """Tokens of all prompts so far, with those of subagents."""
    output_tokens: int = 0
    """Tokens of all answers so far, with those of subagents."""
    model_response: Mapping[str, Any] | None = field(default=None, repr=False)
    """POST_THINK: the answer, as a message of chat completions."""
    tool_name: str | None = None
    """PRE_ACT, POST_ACT: the tool."""
    tool_args: Mapping[str, Any] | None = field(default=None, repr=False)
    """PRE_ACT, POST_ACT: its arguments."""
    tool_result: str | None = field(default=None, repr=False)
    """POST_ACT: the result of the call, as the model will get it."""
    output: Any = field(default=None, repr=False)
    """POST_RUN: the run's output: text, or an instance of the agent's `output_type`."""
    error: BaseException | None = field(default=None, repr=False)
    """ON_ERROR: what is about to end the run; POST_ACT: what the tool raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterceptResult:
    """What an interceptor decides: continue, change something, skip a tool call, or stop the run.

    Interceptors are called in order, and each sees the changes of those before it. After a `stop` or a `skip`, later
    ones are not called in that phase. A field that is `None`, or that does not apply to the phase, changes nothing.

    Example:
        >>> InterceptResult.stop("Permission denied").proceed
        False
        >>> InterceptResult.modify_args({"limit": 10}).modified_tool_args
        {'limit': 10}
    """

    proceed: bool = True
    """Whether the run goes on; if not, it ends with `final_response`."""
    final_response: Any = field(default=None, repr=False)
    """Output of a run that is stopped; for a call that is skipped, what the model gets in place of a result."""
    reason: str | None = field(default=None, repr=False)
    """Why the run is stopped, for the span."""
    skip_action: bool = False
    """PRE_ACT: do not call the tool."""
    modified_messages: Sequence[Mapping[str, Any]] | None = field(default=None, repr=False)
    """The conversation from here on, in the form of chat completions. Any phase before an answer or a tool's call."""
    modified_prompt: str | None = field(default=None, repr=False)
    """PRE_RUN, PRE_THINK: text of the system or developer message from here on."""
    modified_tool_args: Mapping[str, Any] | None = field(default=None, repr=False)
    """PRE_ACT: arguments of the call."""
    modified_tool_result: str | None = field(default=None, repr=False)
    """POST_ACT: what the model gets as the tool's result."""
    modified_tools: Sequence[Any] | None = None
    """PRE_RUN: the tools that the run may use; PRE_THINK: those that this one question offers. Kept are their names."""
    modified_model: str | None = None
    """PRE_RUN: model of the run; PRE_THINK: of this one question; ON_ERROR: ask this one again what failed."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """For other interceptors and tests; put into the run's `state`."""

    def __post_init__(self) -> None:
        if self.modified_tools is not None:
            object.__setattr__(self, "modified_tools", _chosen_names(self.modified_tools))  # frozen

    @classmethod
    def continue_(cls, **metadata: Any) -> InterceptResult:
        """Continue the run."""
        return cls(metadata=metadata)

    @classmethod
    def ok(cls, **metadata: Any) -> InterceptResult:
        """Continue the run; another name for `continue_`."""
        return cls(metadata=metadata)

    @classmethod
    def stop(cls, response: Any = "", *, reason: str | None = None) -> InterceptResult:
        """End the run with *response* as its output: text, or an instance of the agent's `output_type`."""
        return cls(proceed=False, final_response=response, reason=reason)

    @classmethod
    def skip(cls, response: str | None = None) -> InterceptResult:
        """PRE_ACT: do not call the tool, and give the model *response* as the result; ignored in other phases."""
        return cls(skip_action=True, final_response=response)

    @classmethod
    def modify_messages(cls, messages: Sequence[Mapping[str, Any]]) -> InterceptResult:
        """Continue with *messages* as the conversation."""
        return cls(modified_messages=messages)

    @classmethod
    def modify_args(cls, arguments: Mapping[str, Any]) -> InterceptResult:
        """PRE_ACT: call the tool with *arguments*."""
        return cls(modified_tool_args=arguments)

    @classmethod
    def modify_result(cls, result: str) -> InterceptResult:
        """POST_ACT: give the model *result* in place of the tool's."""
        return cls(modified_tool_result=result)

    @classmethod
    def modify_tools(cls, tools: Iterable[Any]) -> InterceptResult:
        """PRE_RUN, PRE_THINK: offer only these of the agent's tools.

        Args:
            tools: Names of tools, or tools made by `otelier.tool`; a subagent is named as the model names it. A tool
                that the agent does not have ends the run with a `ToolError`.

        Raises:
            TypeError: if one of them is neither a name nor a tool.
        """
        return cls(modified_tools=_chosen_names(tools))

    @classmethod
    def use_model(cls, model: str) -> InterceptResult:
        """PRE_RUN, PRE_THINK: use *model*; ON_ERROR: repeat the failed model call with *model*."""
        return cls(modified_model=model)

    @classmethod
    def modify_prompt(cls, prompt: str) -> InterceptResult:
        """PRE_RUN, PRE_THINK: continue with *prompt* as the system message."""
        return cls(modified_prompt=prompt)


def _chosen_names(tools: object) -> tuple[str, ...]:
    if isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Iterable):
        raise TypeError(
            f"Cannot offer an object of type {type(cast('object', tools)).__name__} as tools: a list is needed. "
            f"Write `InterceptResult.modify_tools([...])` with names or tools."
        )
    return tuple(map(_chosen_name, cast("Iterable[object]", tools)))


def _chosen_name(tool: object) -> str:
    name = tool if isinstance(tool, str) else getattr(tool, "name", None) if hasattr(tool, "to_param") else None
    if isinstance(name, str):
        return name
    raise TypeError(
        f"Cannot offer an object of type {type(tool).__name__} as a tool: `modify_tools` chooses among the agent's "
        f"tools. Give their names, or what `tool` made."
    )


class Phase(str, Enum):
    """A phase of an agent's run; `run`, `stream` and the runs of subagents have the same ones.

    Example:
        >>> Phase.PRE_ACT.value
        'pre_act'
    """

    PRE_RUN = "pre_run"
    """Before the first question to the model, once."""
    PRE_THINK = "pre_think"
    """Before each question to the model."""
    POST_THINK = "post_think"
    """After each answer of the model, before the tools that it calls."""
    PRE_ACT = "pre_act"
    """Before each call of a tool."""
    POST_ACT = "post_act"
    """After each call of a tool, failed or not."""
    POST_RUN = "post_run"
    """When the run has its output, by the model or by a stop, once. Not after an error."""
    ON_ERROR = "on_error"
    """When an error is about to end the run. A tool's error does not: it goes back to the model."""


class Interceptor:
    """Base class of interceptors, which are called at each phase of the runs of their agents.

    One object serves all runs, also concurrently: keep the data of a run in `context.state`. An exception from an
    interceptor ends the run with that exception, `StopExecution` ends it with a response.

    Example:
        >>> class Audit(Interceptor):
        ...     async def intercept(self, phase, context):
        ...         if phase is Phase.PRE_ACT and context.tool_name == "delete_files":
        ...             return InterceptResult.skip("Files are not deleted here.")
        ...         return InterceptResult.continue_()
    """

    async def intercept(self, phase: Phase, context: InterceptContext) -> InterceptResult | None:
        """Inspect *context* and return what to do; `None` continues.

        It is called once per phase, in the run's own task.
        """
        return InterceptResult.continue_()


class StopExecution(Exception):  # noqa: N818 -- it is no error: it reads like `StopIteration`
    """Ends the innermost run around it with *response* as its output; raise it in an interceptor, a tool or below.

    Pending calls of other tools are cancelled. A run that delegated to this one continues.

    Attributes:
        response: Output of the run: text, or an instance of the agent's `output_type`.
        reason: Reason for the span; `None` if there is none.

    Example:
        >>> stop = StopExecution("Come back tomorrow.", reason="quota")
        >>> stop.response, stop.reason
        ('Come back tomorrow.', 'quota')
    """

    def __init__(self, response: Any = "", reason: str | None = None) -> None:
        super().__init__(str(response))
        self.response = response
        self.reason = reason
