"""Patches of other libraries' methods, which wait for the module, are independent of each other, and come out again.

What a release of the library does not have is left out. A hook that has not fired cannot be taken back from wrapt, so
there is one per module and process, and it does nothing while the patches are out.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from types import FunctionType, MethodType, ModuleType
from typing import Any

import wrapt

from otelier.signals._guard import report_fault

Wrapper = Callable[[Callable[..., Any], Any, "tuple[Any, ...]", "dict[str, Any]"], Any]


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
        self._applied: list[tuple[type, str, Any, Any]] = []
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
        for owner, name, method, patch in self._applied:
            if vars(owner).get(name) is patch:
                setattr(owner, name, method)
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
        patch = _patched(method, point.wrapper)
        setattr(owner, point.method, patch)
        self._applied.append((owner, point.method, method, patch))


def is_patched(method: Any) -> bool:
    """Tell whether a patch of ours is in *method* already, below what others wrapped around it."""
    current: Any = method
    while current is not None and not is_patch(current):
        current = getattr(current, "__wrapped__", None)
    return current is not None


def is_patch(layer: Any) -> bool:
    """Tell whether *layer* is a patch of ours itself; what others put around one only shows what is in it."""
    if type(layer) is not FunctionType:
        return False
    code = layer.__code__  # by identity: hashing one takes 0.2 us
    return code is _CODE or code is _ASYNC_CODE


def _patched(method: Any, wrapper: Wrapper) -> Any:
    """Return a plain function that is *method* with *wrapper* around it.

    No `wrapt.FunctionWrapper`: a function is itself each time it is looked up, pickles by its name, and a call of it
    takes 1 us less.
    """
    said: Any = getattr(method, "__deprecated__", None)
    if said is not None and hasattr(method, "__wrapped__"):
        # The warning names who calls the method, so it has to stay outside. Not everybody has it before 3.13.
        from typing_extensions import deprecated

        return deprecated(said)(_patched(method.__wrapped__, wrapper))
    if inspect.iscoroutinefunction(method):
        return _asynchronous(method, wrapper)
    return _synchronous(method, wrapper)


def _synchronous(method: Any, wrapper: Wrapper) -> Any:
    @wraps(method)
    def patched(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return wrapper(_bound(method, self), self, args, kwargs)

    return patched


def _asynchronous(method: Any, wrapper: Wrapper) -> Any:
    @wraps(method)
    async def patched(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await wrapper(_bound(method, self), self, args, kwargs)

    return patched


def _bound(method: Any, instance: Any) -> Any:
    # `__get__` is what others' wrappers bind with; a plain function takes half of it.
    return MethodType(method, instance) if type(method) is FunctionType else method.__get__(instance, type(instance))


def _stand_in(*_: Any) -> None:
    """Stand in for method and wrapper, to know the code that all patches share."""


# The code is shared by all functions of one `def`; a mark on the function would be copied by `functools.wraps`.
_CODE, _ASYNC_CODE = (make(_stand_in, _stand_in).__code__ for make in (_synchronous, _asynchronous))
