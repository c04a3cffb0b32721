"""The errors that otelier raises, all in one tree.

    OtelierError
    ├── ContextValueError     (ValueError)    a field's value cannot be carried
    ├── ContextUseError       (RuntimeError)  a context scope is used in a way that would lose values
    ├── AgentError                            an agent or a tool is used in a way that cannot work
    │   ├── AgentUseError     (RuntimeError)  a run is awaited, read or given a client where it cannot be
    │   ├── AgentLimitError   (RuntimeError)  a run took too many steps, or was delegated too deep
    │   └── ToolError         (TypeError)     a function cannot be offered as a tool, or not get its context
    ├── SettingError          (ValueError)    an argument or environment variable cannot be read
    └── MissingExtraError     (ImportError)   a command or room needs an extra that is not installed

A wrong type is a plain `TypeError`. Faults of otelier itself are never raised into a program: they are logged
and counted, see `otelier.signals`.
"""

from __future__ import annotations


class OtelierError(Exception):
    """Base of every error otelier raises on purpose.

    Example:
        >>> import otelier
        >>> try:
        ...     otelier.set_context(user_id="a\\x00b")
        ... except otelier.errors.OtelierError as error:
        ...     print(type(error).__name__)
        ContextValueError
    """


class ContextValueError(OtelierError, ValueError):
    """A context field was given text that cannot be carried: control characters, or too long.

    Attributes:
        field: Name of the field, such as `user_id`.
    """

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class ContextUseError(OtelierError, RuntimeError):
    """A `context()` block was used in a way that would lose or mix values."""


class AgentError(OtelierError):
    """An agent or a tool was used in a way that cannot work."""


class AgentUseError(AgentError, RuntimeError):
    """A run was awaited or read where it cannot be, or its client belongs to another event loop."""


class AgentLimitError(AgentError, RuntimeError):
    """A run took more steps than it may, or was delegated deeper than it may.

    Attributes:
        limit: Which limit it was: `max_steps` or `max_depth`.
    """

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
