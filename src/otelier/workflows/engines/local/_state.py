"""State of an entity, as one life of one of its methods sees and changes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from otelier.workflows.engines.answers import dumps, no_change, no_state
from otelier.workflows.engines.protocol import Json, Kind, Target


class State:
    """The last saved state when it was first read, and the changes since, which are saved with the run's success."""

    __slots__ = ("_kind", "_saved", "_snapshot", "_target", "changes", "unwritten")

    def __init__(self, kind: Kind, target: Target, snapshot: str | None) -> None:
        self._kind, self._target, self._snapshot = kind, target, snapshot
        self._saved: dict[str, Json] | None = None
        self.changes: dict[str, Json] = {}
        self.unwritten: str | None = None
        """What a read saw, until it is recorded: writes go on beside it, and its replay must see the same."""

    def get(self, key: str, read: Callable[[Target], dict[str, Json]]) -> Json:
        """Return a value; *read* gives the saved state when it is first needed."""
        if self._kind not in {"write", "read"}:
            raise no_state(self._kind, self._target)
        if key in self.changes:
            return self.changes[key]
        if self._saved is None:
            if self._snapshot is not None:
                self._saved = json.loads(self._snapshot)
            else:
                self._saved = read(self._target)
                self.unwritten = dumps(self._saved) if self._kind == "read" else None
        assert self._saved is not None
        return self._saved.get(key)

    def put(self, changes: Mapping[str, Json]) -> None:
        """Change values, `None` removes one."""
        if self._kind != "write":
            raise no_change(self._kind, self._target)
        self.changes.update(changes)
