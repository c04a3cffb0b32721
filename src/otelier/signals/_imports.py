"""Callbacks for modules that are imported, each time they are: also when a module was dropped and is imported anew.

wrapt has such hooks too, but each of them fires once per process and cannot be taken back.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

Callback = Callable[[ModuleType], object]

_callbacks: dict[str, list[Callback]] = {}


def on_import(name: str, callback: Callback) -> None:
    """Call *callback* with the module *name* after each import of it from now on; adding it twice is adding it once."""
    known = _callbacks.setdefault(name, [])
    if callback not in known:
        known.append(callback)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)


def off_import(name: str, callback: Callback) -> None:
    """Let *callback* rest; the finder goes with the last of them."""
    known = _callbacks.get(name, [])
    if callback in known:
        known.remove(callback)
    if not known:
        _callbacks.pop(name, None)
    if not _callbacks and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


class _Finder:
    """Lets the other finders find a module, and its loader tell us.

    No `importlib.abc.MetaPathFinder`, which is not asked for: importing that takes as long as all of otelier.
    """

    def __init__(self) -> None:
        self._asking = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # Finders of this kind ask all finders once more, and so each other.
        if fullname not in _callbacks or getattr(self._asking, "name", None) == fullname:
            return None
        self._asking.name = fullname
        try:
            spec = _found_by_others(fullname, path, target)
        finally:
            self._asking.name = None
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = cast("Any", _TellingLoader(spec.loader))
        return spec


def _found_by_others(fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    for finder in list(sys.meta_path):
        find_spec: Any = getattr(finder, "find_spec", None)
        spec = None if finder is _finder or find_spec is None else find_spec(fullname, path, target)
        if spec is not None:
            return spec
    return None


class _TellingLoader:
    """Stands for a module's own loader until the module is there; all that it does not say itself is the other's."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # What looks at the loader, for a file's text or its resources, is to see the real one.
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        for callback in tuple(_callbacks.get(module.__name__, ())):
            callback(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


_finder = _Finder()
