"""The errors that otelier raises, all in one tree.

    OtelierError
    ├── ContextValueError     (ValueError)    a field's value cannot be carried
    ├── ContextUseError       (RuntimeError)  a context scope is used in a way that would lose values
    ├── AgentError                            an agent or a tool is used in a way that cannot work
    │   ├── AgentUseError     (RuntimeError)  a run is awaited or read where it cannot be
    │   ├── AgentLimitError   (RuntimeError)  a run did more than it may: steps, calls, delegations
    │   └── ToolError         (TypeError)     a function cannot be offered as a tool, or not get its context
    ├── SettingError          (ValueError)    an argument or environment variable cannot be read
    ├── MissingExtraError     (ImportError)   a command or room needs an extra that is not installed
    ├── ClientUseError        (RuntimeError)  a client of the model is used on a second event loop
    ├── AnswerError           (ValueError)    a model's answer is not what was asked for
    │   ├── RefusalError                      the model refuses to give it
    │   └── UnfinishedAnswerError             it ends too early: at a limit of tokens, a content filter, a broken stream
    ├── ToolArgumentsError    (ValueError)    what a model gives to a tool is no JSON object, or does not fit its schema
    └── UnknownToolError      (LookupError)   no tool has that name

A wrong type is a plain `TypeError`. Faults of otelier itself are never raised into a program: they are logged
and counted, see `otelier.signals`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class OtelierError(Exception):
    """Base of every error otelier raises on purpose.

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
    """A context field was given text that cannot be carried, where otelier is strict.

    Such text has control characters, more than 1024 characters, or a comma inside one of several roles.

    Attributes:
        field: Name of the field, such as `user_id`.
        reason: What cannot be carried, without the value, such as `a text of more than 1024 characters`.
    """

    def __init__(self, message: str, *, field: str, reason: str) -> None:
        super().__init__(message)
        self.field = field
        self.reason = reason


class ContextUseError(OtelierError, RuntimeError):
    """A `context()` block was used in a way that would lose or mix values."""


class AgentError(OtelierError):
    """An agent or a tool was used in a way that cannot work."""


class AgentUseError(AgentError, RuntimeError):
    """A run was awaited or read where it cannot be."""


class AgentLimitError(AgentError, RuntimeError):
    """A run did more than it may.

    Attributes:
        limit: Which limit it was: `max_steps`, `max_depth`, `max_calls_per_answer` or `max_model_calls`.
        messages: The conversation so far, as `Agent.run(messages=)` takes it.
        usage: What was used so far; `None` before any run has told.
        tool_calls: Calls of tools so far.
    """

    messages: Sequence[Mapping[str, Any]] = ()
    usage: Any = None
    tool_calls: Sequence[Any] = ()

    def __init__(self, message: str, *, limit: str) -> None:
        super().__init__(message)
        self.limit = limit


class ToolError(AgentError, TypeError):
    """A function cannot be offered as a tool, or the run's context is not the one it asks for."""


class SettingError(OtelierError, ValueError):
    """A setting has a value that cannot be read.

    Attributes:
        setting: Name of the argument or environment variable.
    """

    def __init__(self, message: str, *, setting: str) -> None:
        super().__init__(message)
        self.setting = setting


class MissingExtraError(OtelierError, ImportError):
    """Something was asked for whose optional dependencies are not installed.

    Attributes:
        extra: Name of the extra, as in `pip install "otelier[extra]"`.
    """

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message)
        self.extra = extra


class ClientUseError(OtelierError, RuntimeError):
    """An asynchronous client is used on a second event loop, but its connections belong to the first."""


class AnswerError(OtelierError, ValueError):
    """A model's answer is not what was asked for: no JSON, not what the schema asks for, or no answer at all.

    The message says what is wrong without quoting the answer, because messages of exceptions end up in traces.

    Attributes:
        answer: The `otelier.llm.Answer` as far as there is one, with `object` left `None`; else `None`.
        problems: What is wrong with the text, a line for each, as the model can be told. Empty where it is not the text
            that is to be mended: no answer came, it was refused or cut.
    """

    def __init__(self, message: str, *, answer: Any = None, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.answer = answer
        self.problems = tuple(problems)


class RefusalError(AnswerError):
    """The model refuses to give the object it was asked for.

    Attributes:
        answer: Its `refusal` holds the model's words.
        problems: Empty.
    """


class UnfinishedAnswerError(AnswerError):
    """The answer ends before it is whole.

    Attributes:
        answer: Its `finish_reason` says why it ended, `None` when the provider did not say; its `text` is what came.
        problems: Empty.
    """


class ToolArgumentsError(OtelierError, ValueError):
    """What a model gives to a tool cannot be read as a JSON object, or does not fit the tool's schema.

    The message is one that the model can mend its call by, and quotes no value.

    Attributes:
        tool: Name of the tool.
        call_id: The provider's id of the call; empty when it is not known.
        problems: What is wrong, a line for each.
    """

    def __init__(self, message: str, *, tool: str, call_id: str = "", problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.tool = tool
        self.call_id = call_id
        self.problems = tuple(problems)


class UnknownToolError(OtelierError, LookupError):
    """A tool was asked for that nobody registered.

    Attributes:
        tool: The name that was asked for.
    """

    def __init__(self, message: str, *, tool: str) -> None:
        super().__init__(message)
        self.tool = tool


def _made_again(kind: type[OtelierError], args: tuple[Any, ...], facts: dict[str, Any]) -> OtelierError:
    """Return a pickled error as it was."""
    error = kind.__new__(kind, *args)
    vars(error).update(facts)
    return error
