"""Errors of contexts, settings, agents and models, and the base of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class OtelierError(Exception):
    """Base class of every error that otelier raises on purpose.

    Example:
        >>> import otelier
        >>> try:
        ...     otelier.Agent("a\\x00b", "gpt-4.1-nano")
        ... except otelier.errors.OtelierError as error:
        ...     print(type(error).__name__)
        ContextValueError
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # What `Exception` does would make it again without its facts, and fail.
        return _made_again, (type(self), self.args, vars(self))


class ContextValueError(OtelierError, ValueError):
    """A context field was given text that cannot be carried, and otelier is strict.

    Such text has control characters, more than 1024 characters, or a comma inside one of several roles.

    Attributes:
        field: Name of the field, such as `user_id`.
        reason: What cannot be carried, without the value, such as `a text of more than 1024 characters`.

    Example:
        >>> import otelier
        >>> try:
        ...     otelier.Agent("a\\x00b", "gpt-4.1-nano")
        ... except otelier.errors.ContextValueError as error:
        ...     error.field
        'agent'
    """

    def __init__(self, message: str, *, field: str, reason: str) -> None:
        super().__init__(message)
        self.field = field
        self.reason = reason


class ContextUseError(OtelierError, RuntimeError):
    """A `context()` block was used in a way that would lose or mix values.

    Example:
        >>> import otelier
        >>> scope = otelier.context(user_id="u-1")
        >>> try:
        ...     with scope, scope:
        ...         pass
        ... except otelier.errors.ContextUseError as error:
        ...     print("Open a scope once.")
        Open a scope once.
    """


class AgentError(OtelierError):
    """An agent or a tool was used in a way that cannot work.

    Example:
        >>> import otelier
        >>> try:
        ...     otelier.Agent("", "gpt-4.1-nano")
        ... except otelier.errors.AgentError as error:
        ...     print(error)
        An agent needs a name: every signal of its runs carries it. Pass `name=`.
    """


class AgentUseError(AgentError, RuntimeError):
    """A run was awaited or read where it cannot be.

    Example:
        >>> import otelier
        >>> try:
        ...     otelier.Agent("triage", "gpt-4.1-nano").stream("Hello").result
        ... except otelier.errors.AgentUseError as error:
        ...     print(error)
        The streamed run is not over: read its events to the end first.
    """


class AgentLimitError(AgentError, RuntimeError):
    """A run did more than it may.

    Attributes:
        limit: The limit: `max_steps`, `max_depth`, `max_calls_per_answer` or `max_model_calls`.
        messages: The conversation so far, as `Agent.run(messages=)` takes it.
        usage: Tokens and calls so far; `None` if no run has started.
        tool_calls: Tool calls so far.

    Example:
        >>> import otelier
        >>> @otelier.tool
        ... def now() -> str:
        ...     '''Say how late it is.'''
        ...     return "12:00"
        >>> try:
        ...     otelier.Agent("triage", "gpt-4.1-nano", tools=[now], max_steps=1).run("How late is it?").output
        ... except otelier.errors.AgentLimitError as error:
        ...     error.limit, len(error.messages)
        ('max_steps', 3)
    """

    messages: Sequence[Mapping[str, Any]] = ()
    usage: Any = None
    tool_calls: Sequence[Any] = ()

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class ToolError(AgentError, TypeError):
    """A function cannot be offered as a tool, or the run's context is not of the class that it requires.

    Example:
        >>> import otelier
        >>> try:
        ...     otelier.tool(name="two words")(print)
        ... except otelier.errors.ToolError as error:
        ...     print(error)
        Cannot name a tool 'two words': models take 1 to 64 letters, digits, `_` and `-`. Pass `name=` to `tool`.
    """


class SettingError(OtelierError, ValueError):
    """A setting has a value that cannot be read.

    Attributes:
        setting: Name of the argument or environment variable.

    Example:
        >>> import otelier
        >>> try:
        ...     otelier.init(redact=["("])
        ... except otelier.errors.SettingError as error:
        ...     error.setting
        'redact'
    """

    def __init__(self, message: str, *, setting: str) -> None:
        super().__init__(message)
        self.setting = setting


class CodecError(OtelierError, ValueError):
    """A value cannot be stored as JSON, or the stored text does not match the type that it is read as.

    The message names the place and the type, and never quotes the value.

    Attributes:
        place: Place in the value, such as `orders[2].id`; empty for the whole value.
        problem: What is wrong there.

    Example:
        >>> from otelier import codec
        >>> try:
        ...     codec.to_json({"orders": [{"id": b"o-1"}]})
        ... except CodecError as error:
        ...     print(error.place)
        orders[0].id
    """

    def __init__(self, message: str, *, place: str = "", problem: str = "") -> None:
        super().__init__(message)
        self.place = place
        self.problem = problem


class NotJsonError(CodecError):
    """A text is not JSON; the message says where, and never quotes the text.

    Attributes:
        place: Empty.
        problem: Empty.

    Example:
        >>> from otelier import codec
        >>> try:
        ...     codec.read_json("[1, NaN]")
        ... except NotJsonError as error:
        ...     print(error)
        it holds a number that cannot be read
    """


class MissingExtraError(OtelierError, ImportError):
    """A command or module needs optional dependencies that are not installed.

    Attributes:
        extra: Name of the extra, as in `pip install "otelier[extra]"`.

    Example:
        >>> import otelier
        >>> error = otelier.errors.MissingExtraError("Cannot show the demo without rich.", extra="demo")
        >>> error.extra
        'demo'
    """

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message)
        self.extra = extra


class LlmError(OtelierError):
    """Base class of the errors of model calls; the client's own exceptions are not among them, and pass unchanged.

    Example:
        >>> import otelier
        >>> try:
        ...     otelier.llm.ToolCall(id="call_1", name="add", arguments_json="[1, 2]").arguments
        ... except otelier.errors.LlmError as error:
        ...     print(type(error).__name__)
        ToolArgumentsError
    """


class ClientUseError(LlmError, RuntimeError):
    """An asynchronous client is used on a second event loop, but its connections belong to the first.

    Example:
        >>> import asyncio, openai, otelier
        >>> async def ask(client):
        ...     async with client:
        ...         return await otelier.llm.generate("Hello", "gpt-4.1-nano", client=client)
        >>> client = openai.AsyncOpenAI()
        >>> answer = asyncio.run(ask(client))
        >>> try:
        ...     asyncio.run(ask(client))
        ... except otelier.errors.ClientUseError as error:
        ...     print("Make a client for each loop.")
        Make a client for each loop.
    """


class AnswerError(LlmError, ValueError):
    """A model's answer is not what was asked for: it is missing, is not JSON, or does not match the schema.

    The message says what is wrong without quoting the answer, because exception messages end up in traces: names that
    the schema does not know are replaced by `*`, and a validator's own words by the class of its error.

    Attributes:
        answer: The `otelier.llm.Answer` as received, with `object=None`; `None` if there is no answer.
        problems: What is wrong with the text, one line each, to send back to the model: with the names from its answer
            and the words of validators. Empty if correcting the text would not help: no answer, a refusal, or an
            answer that was cut.

    Example:
        >>> import otelier
        >>> try:
        ...     otelier.llm.read_message({"content": "No."}, schema={"type": "object"})
        ... except otelier.errors.AnswerError as error:
        ...     error.answer.text, len(error.problems)
        ('No.', 1)
    """

    def __init__(self, message: str, *, answer: Any = None, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.answer = answer
        self.problems = tuple(problems)


class RefusalError(AnswerError):
    """The model refuses to return the object.

    Attributes:
        answer: The answer; its `refusal` has the model's words.
        problems: Empty.

    Example:
        >>> import otelier
        >>> try:
        ...     otelier.llm.read_message({"refusal": "I cannot help."}, schema={"type": "object"})
        ... except otelier.errors.RefusalError as error:
        ...     error.answer.refusal
        'I cannot help.'
    """


class UnfinishedAnswerError(AnswerError):
    """The answer ended before it was complete.

    Attributes:
        answer: The answer; its `text` is what was received, and its `finish_reason` says why it ended: `None` if the
            provider gave no reason.
        problems: Empty.

    Example:
        >>> import asyncio, openai, otelier
        >>> from otelier.testing import OpenAIServer
        >>> with OpenAIServer() as server, openai.OpenAI(base_url=server.base_url, api_key="sk-none") as client:
        ...     server.reply('{"city": "Ro', finish_reason="length")
        ...     try:
        ...         asyncio.run(otelier.llm.generate("Where?", "gpt-4.1", schema={"type": "object"}, client=client))
        ...     except otelier.errors.UnfinishedAnswerError as error:
        ...         error.answer.finish_reason
        'length'
    """


class ToolArgumentsError(LlmError, ValueError):
    """The arguments that a model gave for a tool are not a JSON object, or do not match the tool's schema.

    The message is meant for the model, so that it can correct its call: it has names that the model gave, and the
    words of validators.

    Attributes:
        tool: Name of the tool.
        call_id: The provider's id of the call; empty if unknown.
        problems: What is wrong, one line each.

    Example:
        >>> from otelier import errors, llm
        >>> try:
        ...     llm.ToolCall(id="call_1", name="add", arguments_json='{"a": ').arguments
        ... except errors.ToolArgumentsError as error:
        ...     error.tool, error.call_id
        ('add', 'call_1')
    """

    def __init__(self, message: str, *, tool: str, call_id: str = "", problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.tool = tool
        self.call_id = call_id
        self.problems = tuple(problems)


class UnknownToolError(LlmError, LookupError):
    """A tool was asked for that is not registered.

    Attributes:
        tool: Name that was asked for.

    Example:
        >>> from otelier import errors, llm
        >>> try:
        ...     llm.Tools().handler("search")
        ... except errors.UnknownToolError as error:
        ...     error.tool
        'search'
    """

    def __init__(self, message: str, *, tool: str) -> None:
        super().__init__(message)
        self.tool = tool


def _made_again(kind: type[OtelierError], args: tuple[Any, ...], facts: dict[str, Any]) -> OtelierError:
    """Return a pickled error as it was."""
    error = kind.__new__(kind, *args)
    vars(error).update(facts)
    return error
