"""The errors that otelier raises, all in one tree.

    OtelierError
    ├── ContextValueError     (ValueError)    a field's value cannot be carried
    ├── ContextUseError       (RuntimeError)  a context scope is used in a way that would lose values
    ├── AgentError                            an agent or a tool is used in a way that cannot work
    │   ├── AgentUseError     (RuntimeError)  a run is awaited or read where it cannot be
    │   ├── AgentLimitError   (RuntimeError)  a run did more than it may: steps, calls, delegations
    │   └── ToolError         (TypeError)     a function cannot be offered as a tool, or cannot get its context
    ├── SettingError          (ValueError)    an argument or environment variable cannot be read
    ├── CodecError            (ValueError)    a value cannot be stored as JSON, or does not match the type it is read as
    │   └── NotJsonError                      a text is not JSON
    ├── MissingExtraError     (ImportError)   a command or module needs an extra that is not installed
    ├── LlmError                              a model cannot be asked, or its answer cannot be used
    │   ├── ClientUseError    (RuntimeError)  a client of the model is used on a second event loop
    │   ├── AnswerError       (ValueError)    a model's answer is not what was asked for
    │   │   ├── RefusalError                  the model refuses to give it
    │   │   └── UnfinishedAnswerError         it ends too early: token limit, content filter, broken stream
    │   ├── ToolArgumentsError (ValueError)   arguments for a tool are not a JSON object, or do not match its schema
    │   └── UnknownToolError  (LookupError)   no tool has that name
    └── WorkflowError                         a workflow, its parts or its engine cannot do what was asked for
        ├── WorkflowUseError  (RuntimeError)  a call of the context stands where a replay would not repeat it
        ├── ReplayError       (RuntimeError)  a wait was cut by a clock that a replay does not have
        ├── StepError                         what failed in a step, where its own class cannot be made again
        ├── RunExistsError    (ValueError)    another run has that workflow id
        ├── UnknownRunError   (LookupError)   no run has that workflow id
        ├── RunEndedError     (RuntimeError)  the run has ended, and takes nothing more
        ├── UnknownHandlerError (LookupError) no worker has a handler of that name
        ├── ApprovalError     (RuntimeError)  a decision is not taken: it was made before, or by somebody who may not
        ├── StreamElsewhere   (RuntimeError)  what a run yields can be read in its own process only
        └── EngineError       (RuntimeError)  the engine's file or server cannot be used

What stops a workflow's body from outside is no `Exception`, so that `except Exception:` lets it pass:

    RunStopped                (BaseException) the engine ends this life of a body
    ├── RunCancelled                          the run was cancelled
    └── RunParked                             the body begins again later

A wrong type is a plain `TypeError`. Faults of otelier itself are never raised into a program: they are logged
and counted, see `otelier.faults`.
"""

from __future__ import annotations

from otelier.errors._general import (
    AgentError,
    AgentLimitError,
    AgentUseError,
    AnswerError,
    ClientUseError,
    CodecError,
    ContextUseError,
    ContextValueError,
    LlmError,
    MissingExtraError,
    NotJsonError,
    OtelierError,
    RefusalError,
    SettingError,
    ToolArgumentsError,
    ToolError,
    UnfinishedAnswerError,
    UnknownToolError,
)
from otelier.errors._workflows import (
    ApprovalError,
    EngineError,
    ReplayError,
    RunCancelled,
    RunEndedError,
    RunExistsError,
    RunParked,
    RunStopped,
    StepError,
    StreamElsewhere,
    UnknownHandlerError,
    UnknownRunError,
    WorkflowError,
    WorkflowUseError,
)

__all__ = [
    "AgentError",
    "AgentLimitError",
    "AgentUseError",
    "AnswerError",
    "ApprovalError",
    "ClientUseError",
    "CodecError",
    "ContextUseError",
    "ContextValueError",
    "EngineError",
    "LlmError",
    "MissingExtraError",
    "NotJsonError",
    "OtelierError",
    "RefusalError",
    "ReplayError",
    "RunCancelled",
    "RunEndedError",
    "RunExistsError",
    "RunParked",
    "RunStopped",
    "SettingError",
    "StepError",
    "StreamElsewhere",
    "ToolArgumentsError",
    "ToolError",
    "UnfinishedAnswerError",
    "UnknownHandlerError",
    "UnknownRunError",
    "UnknownToolError",
    "WorkflowError",
    "WorkflowUseError",
]

for _name in __all__:  # where users import them from; a class keeps its module in error types and stored errors
    globals()[_name].__module__ = __name__
