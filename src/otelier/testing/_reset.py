"""`reset()`: undoes what otelier did in this process."""

from __future__ import annotations

from otelier.faults import run_resets


def reset() -> None:
    """Undo what otelier did in this process, so that the next test starts like the first one.

    It removes the patches (openai, thread pools, providers set later), lets `init` and `activate` switch on again,
    clears the process's names and the namespace of agent ids, lets one-time warnings appear again, and clears the
    fields of the current context. Ended spans keep their attributes; a processor stays on its provider, and stamps
    fields set from now on. Other tasks and threads keep their context.

    Example:
        >>> import otelier
        >>> from otelier.testing import reset
        >>> otelier.set_context(user_id="alice")
        >>> reset()
        >>> otelier.get_context().user_id is None
        True
    """
    run_resets()
