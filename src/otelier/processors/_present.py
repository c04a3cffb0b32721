"""What a span or record has already stays: ours are added around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from otelier import names
from otelier.fields import IDENTITY_ATTRIBUTES


def without_present(attributes: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Return *attributes* less those *present*; where those name another agent, ours is left out whole.

    The attributes of an identity belong together: one agent's name never stands beside another's id.
    """
    kept = set(present)
    if any(present[key] != attributes.get(key) for key in IDENTITY_ATTRIBUTES & kept):
        kept |= IDENTITY_ATTRIBUTES
        if names.OPERATION not in present:  # a call's own span keeps the fingerprint of its prompt, whoever makes it
            kept.add(names.AGENT_FINGERPRINT)
    return {key: value for key, value in attributes.items() if key not in kept}
