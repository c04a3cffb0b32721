"""Patches of other libraries' functions, which wait for the module, are independent of each other, and come out again.

Others patch the same functions, before and after us, and take theirs out in any order. So each patch keeps for itself
what it stands around and never asks the class again; all of them let calls through while they are switched off; and
they are taken out where they can be reached, else left to sleep. A patch goes below wrapt's wrappers, because these
are taken out by a look at the top alone; what a plain function stands around cannot be changed, so that is patched
above it. A function can then have two patches of ours: what a wrapper does, it must be able to do twice.

What a release of the library does not have is left out.
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


Wrapper = Callable[[Callable[..., Any], Any, "tuple[Any, ...]", "dict[str, Any]"], Any]
"""What is called in a function's place: with the bound function, the object or `None`, and the arguments."""


@dataclass(frozen=True, slots=True)
class PatchPoint:
    """One function that is to be wrapped."""

    module: str
    owner: str
    """Name of the class; empty for a function of the module itself."""
    method: str
    wrapper: Wrapper

    def home(self) -> Any:
        """Return the class or module that holds the function; `None` where it is not loaded or has none."""
        module = sys.modules.get(self.module)
        owner = getattr(module, self.owner, None) if self.owner else module
        return owner if isinstance(owner, (type, ModuleType)) else None

    def found(self) -> Any:
        """Return the function as it is now; `None` where the loaded module has none, or is not loaded."""
        home = self.home()
        return None if home is None else _members(home).get(self.method)


class Patches:
    """Patches that go in and come out together.

    Args:
        points: What to patch.
        place: Whose patches they are, for `report_fault`.
    """

    def __init__(self, points: Iterable[PatchPoint], *, place: str) -> None:
        self.points = tuple(points)
        self.on = False
        """Whether they do anything: one that cannot be taken out lets every call through."""
        self._place = place
        self._applied: list[tuple[weakref.ref[Any], PatchPoint, Any, Any]] = []

    def apply(self) -> None:
        """Patch the modules that are loaded, and the others when they are; more calls mend what others took out."""
        self.on = True
        for name in dict.fromkeys(point.module for point in self.points):
            on_import(name, self._on_import)
            if name in sys.modules:
                self._patch(name)

    def remove(self) -> None:
        """Put the functions back; a patch that a plain function stands around stays, and lets every call through."""
        self.on = False
        for name in dict.fromkeys(point.module for point in self.points):
            off_import(name, self._on_import)
        while self._applied:
            home, point, function, patch = self._applied.pop()
            _take_out(home(), point.method, patch, function)

    def are_in(self) -> bool:
        """Tell whether every function that is there is patched."""
        found = [point.found() for point in self.points]
        return self.on and all(is_patched(function) for function in found if function is not None)

    def wants(self, function: Any) -> bool:
        """Tell whether *function*, as it is now, is to be patched: not one that is so already."""
        return not is_patched(function)

    def holder(self, function: Any) -> Any:
        """Return the wrapper that the patch goes below; `None` for none, it goes around everything."""
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
    """Tell whether a patch of ours is in *function* already, below what others wrapped around it."""
    current: Any = function
    while current is not None and not is_patch(current):
        current = getattr(current, "__wrapped__", None)
    return current is not None


def is_patch(layer: Any) -> bool:
    """Tell whether *layer* is a patch of ours itself; what others put around one only shows what is in it."""
    if type(layer) is not FunctionType:
        return False
    code = layer.__code__  # by identity: hashing one takes 0.2 us
    return code is _CODE or code is _ASYNC_CODE or code is _PLAIN_CODE


def _take_out(home: Any, name: str, patch: Any, function: Any) -> None:
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
    wrapt = sys.modules.get("wrapt")  # importing it for nothing would cost more than the rooms of the context
    return wrapt is not None and isinstance(layer, wrapt.FunctionWrapper)


def _patched(function: Any, point: PatchPoint, switch: Patches) -> Any:
    """Return a plain function that is *function* with the point's wrapper around it.

    No `wrapt.FunctionWrapper`: a function is itself each time it is looked up, pickles by its name, and a call of it
    takes 1 us less.
    """
    said: Any = getattr(function, "__deprecated__", None)
    if said is not None and hasattr(function, "__wrapped__"):
        # The warning names who calls the method, so it has to stay outside. Not everybody has it before 3.13.
        from typing_extensions import deprecated

        return deprecated(said)(_patched(function.__wrapped__, point, switch))
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
    # `__get__` is what others' wrappers bind with; a plain function takes half of it.
    return MethodType(method, instance) if type(method) is FunctionType else method.__get__(instance, type(instance))


def _stand_in(*_: Any) -> None:
    """Stand in for function, wrapper and switch, to know the code that all patches share."""


# The code is shared by all functions of one `def`; a mark on the function would be copied by `functools.wraps`.
_CODE, _ASYNC_CODE, _PLAIN_CODE = (
    make(_stand_in, _stand_in, None).__code__ for make in (_synchronous, _asynchronous, _plain)
)
