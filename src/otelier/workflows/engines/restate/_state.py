"""State of an entity, as one life of one of its methods sees and changes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from otelier.codec import read_json
from otelier.workflows.engines.answers import no_change, no_state
from otelier.workflows.engines.protocol import Json, Kind, Target
from otelier.workflows.engines.restate._answers import to_bytes


class State:
    """The values that were read, and the changes since, which are written where the run succeeds."""

    __slots__ = ("_changes", "_kind", "_read", "_target")

    def __init__(self, kind: Kind, target: Target) -> None:
        self._kind, self._target = kind, target
        self._read: dict[str, Json] = {}
        self._changes: dict[str, Json] = {}

    def has(self, key: str) -> bool:
        """Return whether a value is here, and the server need not be asked for it.

        Raises:
            WorkflowUseError: outside an entity.
        """
        if self._kind not in {"write", "read"}:
            raise no_state(self._kind, self._target)
        return key in self._changes or key in self._read

    def take(self, key: str, stored: Any) -> None:
        """Take what the server has, `None` where it has nothing."""
        self._read[key] = None if stored is None else read_json(bytes(stored).decode())

    def value(self, key: str) -> Json:
        """Return a value that is here."""
        return self._changes[key] if key in self._changes else self._read[key]

    def put(self, changes: Mapping[str, Json]) -> None:
        """Change values, `None` removes one.

        Raises:
            WorkflowUseError: in a read, which others run beside, or outside an entity.
        """
        if self._kind != "write":
            raise no_change(self._kind, self._target)
        self._changes.update(changes)

    def changes(self) -> Iterator[tuple[str, bytes | None]]:
        """Yield what the server is to write, `None` for what it is to remove."""
        for key, value in self._changes.items():
            yield key, None if value is None else to_bytes(value)
