"""The agent that a span itself names, such as a framework's: it is at work in what is below that span."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from otelier import names
from otelier.fields._state import NO_ACTOR, Actor

OPENINFERENCE_NAME: Final = "agent.name"
NAMING: Final = (names.AGENT_NAME, names.AGENT_ID, OPENINFERENCE_NAME)
"""Attributes by which spans name their agent; most have none of them."""
_MAX_CHARS: Final = 256


def actor_in(attributes: Mapping[str, Any]) -> Actor:
    """Return the agent that a span with these attributes names: by its name if it has one, else by its id.

    Both together are not taken: some frameworks make an id for each object, and each would be an agent of its own.
    """
    if attributes.get(names.OPERATION) == names.CREATE_AGENT:  # that one is made, and not at work
        return NO_ACTOR
    for attribute in (names.AGENT_NAME, OPENINFERENCE_NAME):
        if _is_telling(attributes.get(attribute)):
            return attributes[attribute], None
    agent_id = attributes.get(names.AGENT_ID)
    return (None, agent_id) if _is_telling(agent_id) else NO_ACTOR


def _is_telling(text: object) -> bool:
    return type(text) is str and 0 < len(text) <= _MAX_CHARS and text.isprintable()
