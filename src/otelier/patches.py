"""Patches of other libraries' functions: applied when the library is imported, and removed again.

Other packages patch the same functions, before and after us, and remove their patches in any order. Three rules follow:

- A patch keeps the function that it wraps, and never looks it up on the class again.
- A patch goes below the wrappers of wrapt, whose `unwrap` removes the outermost layer alone. What a plain function
  wraps cannot be replaced, so there a patch goes outside. A function may then have two patches of ours, and every
  wrapper has to work twice.
- A patch is removed where it can be reached. Elsewhere it stays, and passes each call on while it is switched off.

A function that a release of the library does not have is left out.
"""

from __future__ import annotations

import inspect
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib.machinery import ModuleSpec
from types import FunctionType, MethodType, ModuleType
from typing import Any, cast

from otelier.faults import report_fault

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
    """Call *callback* no more; the finder goes with the last callback."""
    known = _callbacks.get(name, [])
    if callback in known:
        known.remove(callback)
    if not known:
        _callbacks.pop(name, None)
    if not _callbacks and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


class _Finder:
    """A finder that lets the others find a module, and wraps its loader.

    It is no `importlib.abc.MetaPathFinder`, which Python does not ask for: its import takes as long as all of otelier.
    """

    def __init__(self) -> None:
        self._asking = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        # Finders of this kind ask all finders again, and so each other.
        if fullname not in _callbacks or getattr(self._asking, "name", None) == fullname:
            return None
        self._asking.name = fullname
        try:
            spec = _found_by_others(fullname, path, target)
        finally:
            self._asking.name = None
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = cast("Any", _CallingLoader(spec.loader))
        return spec


def _found_by_others(fullname: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
    for finder in list(sys.meta_path):
        find_spec: Any = getattr(finder, "find_spec", None)
        spec = None if finder is _finder or find_spec is None else find_spec(fullname, path, target)
        if spec is not None:
            return spec
    return None


class _CallingLoader:
    """A module's own loader, which also calls the callbacks once the module is loaded."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Whoever reads a file's text or its resources through the loader is to find the real one.
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        for callback in tuple(_callbacks.get(module.__name__, ())):
            callback(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


_finder = _Finder()


Wrapper = Callable[[Callable[..., Any], Any, "tuple[Any, ...]", "dict[str, Any]"], Any]
"""A function that is called in place of the patched one: with that one, bound, its object or `None`, and the arguments.
"""


@dataclass(frozen=True, slots=True)
class PatchPoint:
    """A function to patch, and the wrapper that it gets."""

    module: str
    owner: str
    """Name of the class; empty for a function of the module itself."""
    method: str
    wrapper: Wrapper

    def home(self) -> Any:
        """Return the class or module that has the function; `None` where it is not loaded or does not exist."""
        module = sys.modules.get(self.module)
        owner = getattr(module, self.owner, None) if self.owner else module
        return owner if isinstance(owner, (type, ModuleType)) else None

    def found(self) -> Any:
        """Return the function as it is now, with all patches; `None` where it is not loaded or does not exist."""
        home = self.home()
        return None if home is None else _members(home).get(self.method)


class Patches:
    """Patches that are applied and removed together.

    Args:
        points: The functions to patch.
        place: First part of the place of their faults, see `otelier.faults`.
    """

    def __init__(self, points: Iterable[PatchPoint], *, place: str) -> None:
        self.points = tuple(points)
        self.on = False
        """Whether wrappers are called: a patch that cannot be removed passes every call on while this is false."""
        self._place = place
        self._applied: list[tuple[weakref.ref[Any], PatchPoint, Any, Any]] = []

    def apply(self) -> None:
        """Patch the modules that are loaded, and the others once they are; again, to patch what others replaced."""
        self.on = True
        for name in dict.fromkeys(point.module for point in self.points):
            on_import(name, self._on_import)
            if name in sys.modules:
                self._patch(name)

    def remove(self) -> None:
        """Put the functions back; a patch inside somebody's plain function stays, and passes every call on."""
        self.on = False
        for name in dict.fromkeys(point.module for point in self.points):
            off_import(name, self._on_import)
        while self._applied:
            home, point, function, patch = self._applied.pop()
            _remove(home(), point.method, patch, function)

    def are_in(self) -> bool:
        """Tell whether they are on, and every function that exists is patched."""
        found = [point.found() for point in self.points]
        return self.on and all(is_patched(function) for function in found if function is not None)

    def wants(self, function: Any) -> bool:
        """Tell whether *function*, as it is now, needs a patch: it has none yet."""
        return not is_patched(function)

    def holder(self, function: Any) -> Any:
        """Return the wrapper that the patch goes below; `None` where it goes outside everything."""
        return _lowest_wrapper(function)

    def _on_import(self, module: ModuleType) -> None:
        # An exception here would make the import fail.
        try:
            self._patch(module.__name__)
        except Exception as exc:
            report_fault(f"{self._place}.import_hook", exc)

    def _patch(self, module: str) -> None:
        # A module that was dropped is not kept alive by its patches.
        self._applied = [one for one in self._applied if one[1].module != module or one[0]() is one[1].home()]
        for point in self.points:
            if point.module == module:
                try:
                    self._apply(point)
                except Exception as exc:
                    report_fault(f"{self._place}.patch", exc)

    def _apply(self, point: PatchPoint) -> None:
        found = point.found()
        if found is None or not self.wants(found):
            return
        holder = self.holder(found)
        function = found if holder is None else holder.__wrapped__
        patch = _patched(function, point, self)
        if holder is None:
            setattr(point.home(), point.method, patch)
        else:
            holder.__wrapped__ = patch
        self._applied.append((weakref.ref(point.home()), point, function, patch))


def is_patched(function: Any) -> bool:
    """Tell whether *function* has a patch of ours, outermost or below the wrappers of others."""
    current: Any = function
    while current is not None and not is_patch(current):
        current = getattr(current, "__wrapped__", None)
    return current is not None


def is_patch(layer: Any) -> bool:
    """Tell whether *layer* itself is a patch of ours, and not a wrapper around one."""
    if type(layer) is not FunctionType:
        return False
    code = layer.__code__  # by identity: hashing one takes 0.2 us
    return code is _CODE or code is _ASYNC_CODE or code is _PLAIN_CODE


def _remove(home: Any, name: str, patch: Any, function: Any) -> None:
    holder: Any = None
    layer: Any = None if home is None else _members(home).get(name)
    while layer is not patch and _is_wrapper(layer):
        holder, layer = layer, layer.__wrapped__
    if layer is not patch:
        return
    if holder is not None:
        holder.__wrapped__ = function
    else:
        setattr(home, name, function)


def _members(home: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", vars(home))  # a class's method as it stands there, not as it would be bound


def _lowest_wrapper(function: Any) -> Any:
    holder = None
    while _is_wrapper(function):
        holder, function = function, function.__wrapped__
    return holder


def _is_wrapper(layer: Any) -> bool:
    """Tell whether *layer* is a wrapper of wrapt's, which calls whatever its `__wrapped__` is."""
    wrapt = sys.modules.get("wrapt")  # not loaded, there are no such wrappers; its import takes longer than otelier's
    return wrapt is not None and isinstance(layer, wrapt.FunctionWrapper)


def _patched(function: Any, point: PatchPoint, switch: Patches) -> Any:
    """Return *function* with the point's wrapper around it, as a plain function.

    Not as a `wrapt.FunctionWrapper`: a function is the same object at each look-up, pickles by its name, and a call of
    it takes 1 us less.
    """
    deprecation: Any = getattr(function, "__deprecated__", None)
    if deprecation is not None and hasattr(function, "__wrapped__"):
        # The warning names the method's caller, so it has to stay outermost. The standard library has it since 3.13.
        from typing_extensions import deprecated

        return deprecated(deprecation)(_patched(function.__wrapped__, point, switch))
    if not point.owner:
        return _plain(function, point.wrapper, switch)
    if inspect.iscoroutinefunction(function):
        return _asynchronous(function, point.wrapper, switch)
    return _synchronous(function, point.wrapper, switch)


def _synchronous(method: Any, wrapper: Wrapper, switch: Any) -> Any:
    @wraps(method)
    def patched(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        bound = _bound(method, self)
        return wrapper(bound, self, args, kwargs) if switch.on else bound(*args, **kwargs)

    return patched


def _asynchronous(method: Any, wrapper: Wrapper, switch: Any) -> Any:
    @wraps(method)
    async def patched(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        bound = _bound(method, self)
        return await (wrapper(bound, self, args, kwargs) if switch.on else bound(*args, **kwargs))

    return patched


def _plain(function: Any, wrapper: Wrapper, switch: Any) -> Any:
    @wraps(function)
    def patched(*args: Any, **kwargs: Any) -> Any:
        return wrapper(function, None, args, kwargs) if switch.on else function(*args, **kwargs)

    return patched


def _bound(method: Any, instance: Any) -> Any:
    # Wrappers of others need their `__get__`; for a plain function this takes half the time.
    return MethodType(method, instance) if type(method) is FunctionType else method.__get__(instance, type(instance))


def _stand_in(*_: Any) -> None:
    """Stand for function and wrapper, to get the code that all patches share."""


# The code is shared by all functions of one `def`; a mark on the function would be copied by `functools.wraps`.
_CODE, _ASYNC_CODE, _PLAIN_CODE = (
    make(_stand_in, _stand_in, None).__code__ for make in (_synchronous, _asynchronous, _plain)
)
