"""`reset()`: undoes what otelier did in this process."""

from __future__ import annotations

from otelier.faults import run_resets


def reset() -> None:
    """Undo what otelier did in this process, so that the next test starts as if it were the first.

    Patches come out (openai, thread pools, providers set later), `init` and `activate` may switch on anew, the
    process forgets its names and the namespace of its agents' ids, warnings that come once come again, and the fields
    of the current context are gone. Spans that ended keep what they carry; a processor stays on its provider, and
    stamps what is set from now on. Other tasks and threads keep their context.

    Example:
        >>> import otelier
        >>> from otelier.testing import reset
        >>> otelier.set_context(user_id="alice")
        >>> reset()
        >>> otelier.get_context().user_id is None
        True
    """
    run_resets()
