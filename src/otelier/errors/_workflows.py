"""Errors of workflows, and what stops their bodies from outside."""

from __future__ import annotations

from datetime import datetime

from otelier.errors._general import OtelierError


class WorkflowError(OtelierError):
    """A workflow, its parts or its engine cannot do what was asked for.

    Example:
        >>> from otelier import errors
        >>> issubclass(errors.UnknownRunError, errors.WorkflowError)
        True
    """


class WorkflowUseError(WorkflowError, RuntimeError):
    """A call of the context stands where a replay would not repeat it.

    Such as one in another task than the body's, one of a step inside a step, or a second wait for one signal.

    Example:
        >>> from otelier import errors
        >>> issubclass(errors.WorkflowUseError, RuntimeError)
        True
    """


class ReplayError(WorkflowError, RuntimeError):
    """A wait of a body was cut by a clock that a replay does not have: `asyncio.timeout`, `wait_for`, a task group.

    Use `timeout_s=` of the call, which is recorded.

    Example:
        >>> from otelier import errors
        >>> issubclass(errors.ReplayError, errors.WorkflowError)
        True
    """


class StepError(WorkflowError):
    """What failed in a step, a task or an entity, where its own class cannot be made again of what was recorded.

    Attributes:
        type: Name of the class that was raised.

    Example:
        >>> from otelier import errors
        >>> error = errors.StepError("the card was declined", type="CardError")
        >>> error.type, error.message
        ('CardError', 'the card was declined')
    """

    def __init__(self, message: str, *, type: str) -> None:
        super().__init__(message)
        self.type = type

    @property
    def message(self) -> str:
        """Message of what was raised."""
        return str(self.args[0])

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


class RunExistsError(WorkflowError, ValueError):
    """A run was started with the workflow id of another one, which has another handler or input.

    Attributes:
        workflow_id: That id.

    Example:
        >>> from otelier import errors
        >>> errors.RunExistsError("There is one.", workflow_id="order-1").workflow_id
        'order-1'
    """

    def __init__(self, message: str, *, workflow_id: str) -> None:
        super().__init__(message)
        self.workflow_id = workflow_id


class UnknownRunError(WorkflowError, LookupError):
    """No run has that workflow id.

    Attributes:
        workflow_id: The id that was asked for.

    Example:
        >>> from otelier import errors
        >>> errors.UnknownRunError("There is none.", workflow_id="order-1").workflow_id
        'order-1'
    """

    def __init__(self, message: str, *, workflow_id: str) -> None:
        super().__init__(message)
        self.workflow_id = workflow_id


class RunEndedError(WorkflowError, RuntimeError):
    """The run has ended: it takes no signal and no decision, and cannot be resumed.

    Attributes:
        workflow_id: Its id.
        status: How it ended: `completed`, `failed` or `cancelled`.

    Example:
        >>> from otelier import errors
        >>> errors.RunEndedError("It is over.", workflow_id="order-1", status="failed").status
        'failed'
    """

    def __init__(self, message: str, *, workflow_id: str, status: str) -> None:
        super().__init__(message)
        self.workflow_id = workflow_id
        self.status = status


class UnknownHandlerError(WorkflowError, LookupError):
    """No worker has a handler of that name.

    Attributes:
        service: Name of the service that was asked for.
        handler: Name of the handler.

    Example:
        >>> from otelier import errors
        >>> errors.UnknownHandlerError("There is none.", service="docs", handler="publish").handler
        'publish'
    """

    def __init__(self, message: str, *, service: str, handler: str) -> None:
        super().__init__(message)
        self.service = service
        self.handler = handler


class ApprovalError(WorkflowError, RuntimeError):
    """A decision is not taken: nothing asks for it, it was made before, or its approver lacks the role.

    Attributes:
        workflow_id: Id of the run.
        name: Name of the approval.
        decision: The decision that stands, `approved`, `rejected` or `expired`; `None` where there is none.
        approver: Who made it.
        at: When.
        comment: What they said.

    Example:
        >>> from otelier import errors
        >>> errors.ApprovalError("It was decided.", workflow_id="order-1", name="refund", decision="expired").decision
        'expired'
    """

    def __init__(
        self,
        message: str,
        *,
        workflow_id: str,
        name: str,
        decision: str | None = None,
        approver: str | None = None,
        at: datetime | None = None,
        comment: str | None = None,
    ) -> None:
        super().__init__(message)
        self.workflow_id = workflow_id
        self.name = name
        self.decision = decision
        self.approver = approver
        self.at = at
        self.comment = comment


class StreamElsewhere(WorkflowError, RuntimeError):  # noqa: N818 -- it says where the stream is
    """What a run yields can be read while it runs in this process only; `result()` can be awaited anywhere.

    Example:
        >>> from otelier import errors
        >>> issubclass(errors.StreamElsewhere, errors.WorkflowError)
        True
    """


class EngineError(WorkflowError, RuntimeError):
    """The engine's file or server cannot be used: it is locked, newer, damaged, or not to be reached.

    Example:
        >>> from otelier import errors
        >>> issubclass(errors.EngineError, errors.WorkflowError)
        True
    """


class RunStopped(BaseException):
    """The engine ends this life of a body. No `Exception`, so that `except Exception:` in a body lets it pass.

    Example:
        >>> from otelier import errors
        >>> issubclass(errors.RunStopped, Exception)
        False
    """


class RunCancelled(RunStopped):
    """The run was cancelled. Its `finally` blocks run; further calls of the context raise this again.

    Example:
        >>> from otelier import errors
        >>> issubclass(errors.RunCancelled, errors.RunStopped)
        True
    """


class RunParked(RunStopped):
    """The body is left where it stands, and begins again later: at a shutdown, a fault of the store, a mismatch.

    Example:
        >>> from otelier import errors
        >>> issubclass(errors.RunParked, errors.RunStopped)
        True
    """
