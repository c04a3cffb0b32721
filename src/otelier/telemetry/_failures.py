"""Failures: the facts of an exception, which always go out, and its message, which goes only where content may.

A message may quote anything: a prompt, an answer, a row of a database. So no word of one is a fact.
"""

from __future__ import annotations

import asyncio
import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, cast

from otelier.redaction import redact

_MAX_FRAMES: Final = 64
_MAX_LINES: Final = 512
"""Lines of a stack, with those of the exceptions in a group and of causes."""
_MAX_MEMBERS: Final = 8
"""Errors of a group that are named."""
_MAX_ERRORS: Final = 10_000
"""Exceptions of one group, at any depth, that are looked at."""
_CODE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PARAM: Final = re.compile(r"[A-Za-z0-9_.\[\]-]{1,128}")
_CLIENT: Final = "openai"
"""Package of the client whose errors repeat what the provider says is wrong: elsewhere such names may mean anything."""
_LEAVING: Final = frozenset((("trio", "Cancelled"), ("greenlet", "GreenletExit")))
"""Cancellation by other schedulers than asyncio: package and class, which are compared only where one is raised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An operation's failure: of an exception, by `failure_of`, or of an answer that reports one, as a stream may.

    Example:
        >>> Failure(type="rate_limit_exceeded", message="Try again in 2 s.").summary
        'rate_limit_exceeded'
    """

    type: str
    """Value of `error.type`: a class, or a short code from a bounded set."""
    message: str | None = field(default=None, repr=False)
    """Its message: content, not redacted yet."""
    facts: tuple[str, ...] = ()
    """Facts that are no content, such as `status 429`."""

    @property
    def summary(self) -> str:
        """Type and facts, which may go where content may not."""
        return f"{self.type} ({', '.join(self.facts)})" if self.facts else self.type


def failure_of(exc: BaseException | Failure) -> Failure:
    """Return type, facts and message of *exc*, or the failure itself where that is known already; never raises.

    Facts are the HTTP status, the provider's code, type and parameter, the request's id, the classes of what a group
    holds, and the class of the cause.

    Example:
        >>> failure_of(TimeoutError("too slow")).message
        'too slow'
        >>> try:
        ...     raise ConnectionError("to 10.0.0.1") from TimeoutError("too slow")
        ... except ConnectionError as exc:
        ...     failure_of(exc).summary
        'ConnectionError (cause TimeoutError)'
    """
    if isinstance(exc, Failure):
        return exc
    try:
        message = str(exc)
    except Exception:  # the user's class; its span must end all the same
        message = None
    try:
        facts = tuple(_facts(exc))
    except Exception:
        facts = ()
    return Failure(type=error_type(exc), message=message, facts=facts)


def error_type(exc: BaseException) -> str:
    """Return the class of *exc* as `error.type` has it: with its module, but for built-in ones.

    Example:
        >>> import json
        >>> error_type(ValueError()), error_type(json.JSONDecodeError("", "", 0))
        ('ValueError', 'json.decoder.JSONDecodeError')
    """
    kind = type(exc)
    return kind.__qualname__ if kind.__module__ in ("builtins", "", None) else f"{kind.__module__}.{kind.__qualname__}"


def is_leaving(error: object) -> bool:
    """Tell whether *error* means that nobody waits any more: a task that is cancelled, a generator that is closed.

    Example:
        >>> is_leaving(GeneratorExit()), is_leaving(TimeoutError())
        (True, False)
    """
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return True
    if isinstance(error, Exception) or not isinstance(error, BaseException):
        return False
    return any((kind.__module__.partition(".")[0], kind.__name__) in _LEAVING for kind in type(error).__mro__)


def stack_of(exc: BaseException) -> str:
    """Return the stack of *exc*: file, line and function of each frame, the last one last, and no message.

    Its cause, and the exceptions in a group, follow with their classes, each once. Of a long stack the last 64
    frames are kept, and of all of it 512 lines.

    Example:
        >>> try:
        ...     {}["alice"]
        ... except KeyError as exc:
        ...     stack_of(exc).startswith("KeyError"), "alice" in stack_of(exc)
        (True, False)
    """
    lines = list(islice(_lines_of(exc), _MAX_LINES + 1))
    if len(lines) > _MAX_LINES:
        lines[_MAX_LINES] = "[cut: the lines after these]"
    return "\n".join(lines)


def _lines_of(exc: BaseException) -> Iterator[str]:
    for relation, error in _related(exc, causes=True):
        yield relation + error_type(error)
        frames = list(traceback.walk_tb(error.__traceback__))
        if len(frames) > _MAX_FRAMES:
            yield f"  [cut: {len(frames) - _MAX_FRAMES} frames]"
        for frame, line in frames[-_MAX_FRAMES:]:
            yield f'  File "{frame.f_code.co_filename}", line {line}, in {frame.f_code.co_name}'


def errors_in(exc: BaseException) -> list[BaseException]:
    """Return the exceptions in a group, at any depth and each once, that are no groups; *exc* itself where it is none.

    A group may hold itself, or thousands of groups in one another: at most 10,000 exceptions are looked at.

    Example:
        >>> errors_in(ValueError("none"))
        [ValueError('none')]
    """
    found = [error for _, error in _related(exc, causes=False) if not _members_of(error)]
    return found or [exc]  # a group that holds groups alone


def _related(exc: BaseException, *, causes: bool) -> Iterator[tuple[str, BaseException]]:
    """Yield *exc*, its members and, if asked for, its *causes*, each with its relation to one before it."""
    left = [("", exc)]
    seen: set[int] = set()
    while left and len(seen) < _MAX_ERRORS:
        relation, error = left.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield relation, error
        if causes and error.__cause__ is not None:
            left.append(("caused by ", error.__cause__))
        left += [("holds ", member) for member in reversed(_members_of(error)[:_MAX_ERRORS])]


def _facts(exc: BaseException) -> Iterator[str]:
    error: Any = exc
    # Of a client of HTTP the response has it; aiohttp's errors are called `status`.
    for status in (_of(error, "status_code"), _of(_of(error, "response"), "status_code"), _of(error, "status")):
        if isinstance(status, int) and 100 <= status <= 599:
            yield f"status {int(status)}"
            break
    if any(kind.__module__.partition(".")[0] == _CLIENT for kind in type(exc).__mro__):
        for name, form in (("code", _CODE), ("type", _CODE), ("param", _PARAM), ("request_id", _CODE)):
            value = _of(error, name)
            if isinstance(value, (str, int)) and form.fullmatch(str(value)):
                yield f"{name} {redact(str(value))}"  # a key has the form of a code
    members = _members_of(exc)
    if members:
        more = len(members) - _MAX_MEMBERS
        yield "of " + ", ".join(map(error_type, members[:_MAX_MEMBERS])) + (f" and {more} more" if more > 0 else "")
    if exc.__cause__ is not None:
        yield f"cause {error_type(exc.__cause__)}"


def _of(thing: Any, name: str) -> Any:
    try:
        return getattr(thing, name, None)
    except Exception:  # a property of somebody's class
        return None


def _members_of(exc: BaseException) -> list[BaseException]:
    """Return the members of *exc* where it is a group of exceptions."""
    # Python 3.10 knows no groups, and those of packages there have no common class: they are known by their members.
    members = _of(exc, "exceptions")
    if not isinstance(members, tuple):
        return []
    return [member for member in cast("tuple[object, ...]", members) if isinstance(member, BaseException)]
