"""Errors and stops of a run's steps as plain data, and back.

What is stored gives the same error each time: our own with what they know, others as `otelier.codec` makes them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import BaseModel

from otelier import llm
from otelier.codec import error_to_json, from_plain, to_plain
from otelier.errors import (
    AgentError,
    AgentLimitError,
    AgentUseError,
    AnswerError,
    ClientUseError,
    CodecError,
    RefusalError,
    ToolArgumentsError,
    ToolError,
    UnfinishedAnswerError,
    UnknownToolError,
)
from otelier.interceptors import StopExecution

Json = Any
MakeError = Callable[[Mapping[str, Json]], BaseException]
"""Makes the error that was stored, of a class of its own where that is known."""

_FACTS: Final[dict[type[BaseException], tuple[str, ...]]] = {
    AgentError: (),
    AgentLimitError: ("limit",),
    AgentUseError: (),
    AnswerError: ("answer", "problems"),
    ClientUseError: (),
    CodecError: ("place", "problem"),
    RefusalError: ("answer", "problems"),
    ToolArgumentsError: ("tool", "call_id", "problems"),
    ToolError: (),
    UnfinishedAnswerError: ("answer", "problems"),
    UnknownToolError: ("tool",),
}
"""Our own errors, with the arguments that they take beside their message."""
_LEAVING: Final = {kind.__name__: kind for kind in (asyncio.CancelledError, SystemExit)}
"""What fails a tool's call, though it is no `Exception`."""


def stored_error(error: BaseException) -> dict[str, Json]:
    """Return *error* as plain data."""
    stored = error_to_json(error)
    facts = _FACTS.get(type(error))
    if facts is not None:
        known = {name: getattr(error, name) for name in facts}
        if isinstance(answer := known.get("answer"), llm.Answer):
            known["answer"] = answer.to_json()
        stored["facts"] = to_plain(known, what="an error of an agent")
    return stored


def error_again(stored: Mapping[str, Json], make: MakeError) -> BaseException:
    """Return the error that *stored* was made of."""
    facts = stored.get("facts")
    if facts is not None:
        kind = next((one for one in _FACTS if one.__name__ == stored["type"]), None)
        if kind is not None:
            if facts.get("answer") is not None:
                facts = {**facts, "answer": llm.Answer.from_json(facts["answer"])}
            return kind(stored["message"], **facts)
    elif stored["type"] in _LEAVING:
        return _LEAVING[stored["type"]](*(stored.get("args") or ()))
    return make(stored)


def stored_stop(stop: StopExecution, output_type: type[BaseModel] | None) -> dict[str, Json]:
    """Return a stop as plain data.

    Raises:
        CodecError: if its response has no form in JSON.
    """
    is_output = output_type is not None and isinstance(stop.response, output_type)
    response = to_plain(stop.response, output_type if is_output else None, what="the response of a stop")
    reason = to_plain(stop.reason, what="the reason of a stop")
    return {"response": response, "reason": reason, "is_output": is_output}


def stop_again(stored: Mapping[str, Json], output_type: type[BaseModel] | None) -> StopExecution:
    """Return the stop that *stored* was made of."""
    response = stored["response"]
    if stored["is_output"] and output_type is not None:
        response = from_plain(response, output_type, what="the response of a stop")
    return StopExecution(response, stored["reason"])
