"""Patches of other libraries' methods, which wait for the module, are independent of each other, and come out again.

What a release of the library does not have is left out. A hook that has not fired cannot be taken back from wrapt, so
there is one per module and process, and it does nothing while the patches are out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import wrapt

from otelier.signals._guard import report_fault

Wrapper = Callable[[Callable[..., Any], Any, "tuple[Any, ...]", "dict[str, Any]"], Any]

_FunctionWrapper: Any = wrapt.FunctionWrapper  # its stubs are generic, itself it is not


class Patch(_FunctionWrapper):
    """A wrapper of ours, told from those of others by its type."""


@dataclass(frozen=True, slots=True)
class PatchPoint:
    """One method that is to be wrapped."""

    module: str
    owner: str
    method: str
    wrapper: Wrapper

    def found(self) -> Any:
        """Return the method as it is now; `None` where the loaded module has none, or is not loaded."""
        owner = getattr(sys.modules.get(self.module), self.owner, None)
        return vars(owner).get(self.method) if isinstance(owner, type) else None


class Patches:
    """Patches that go in and come out together.

    Args:
        points: What to patch.
        place: Whose patches they are, for `report_fault`.
    """

    def __init__(self, points: Iterable[PatchPoint], *, place: str) -> None:
        self.points = tuple(points)
        self._place = place
        self._hooked: set[str] = set()
        self._applied: list[tuple[type, PatchPoint, Patch]] = []
        self._wanted = False

    def apply(self) -> None:
        """Patch the modules that are loaded, and the others when they are."""
        self._wanted = True
        for name in dict.fromkeys(point.module for point in self.points):
            if name in sys.modules:
                self._patch(name)
            elif name not in self._hooked:
                self._hooked.add(name)
                wrapt.register_post_import_hook(self._on_import, name)

    def remove(self) -> None:
        """Put the methods back; a patch that somebody wrapped stays, and lets every call through."""
        self._wanted = False
        for owner, point, patch in self._applied:
            if vars(owner).get(point.method) is patch:
                setattr(owner, point.method, patch.__wrapped__)
        self._applied.clear()

    def wants(self, method: Any) -> bool:
        """Tell whether *method*, as it is now, is to be patched: not one that is so already."""
        return not is_patched(method)

    def _on_import(self, module: ModuleType) -> None:
        # An exception here would make the import fail.
        try:
            self._hooked.discard(module.__name__)
            if self._wanted:
                self._patch(module.__name__)
        except Exception as exc:
            report_fault(f"{self._place}.import_hook", exc)

    def _patch(self, module: str) -> None:
        for point in self.points:
            if point.module == module:
                try:
                    self._apply(point)
                except Exception as exc:
                    report_fault(f"{self._place}.patch", exc)

    def _apply(self, point: PatchPoint) -> None:
        method = point.found()
        if method is None or not self.wants(method):
            return
        owner = getattr(sys.modules[point.module], point.owner)
        patch = Patch(method, point.wrapper)
        setattr(owner, point.method, patch)
        self._applied.append((owner, point, patch))


def is_patched(method: Any) -> bool:
    """Tell whether a patch of ours is in *method* already, below what others wrapped around it."""
    current: Any = method
    while current is not None and type(current) is not Patch:
        current = getattr(current, "__wrapped__", None)
    return current is not None
