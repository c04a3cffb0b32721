"""Docstrings and annotations of functions, read for the model that calls them as tools."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

_OF_PARAMETERS: Final = ("Args", "Arguments", "Parameters", "Keyword Args", "Keyword Arguments", "Other Parameters")
_HEADING: Final = re.compile(
    rf"^({'|'.join(_OF_PARAMETERS)}|Returns?|Yields?|Raises|Warns|Examples?|Notes?|See|See Also|References)\s*:?\s*$"
)
_FIELD: Final = re.compile(r"^(:\w+|@(param|type|returns?|rtype|raises?)\b)")
_GOOGLE: Final = re.compile(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_NUMPY: Final = re.compile(r"^\*{0,2}(\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$")
_REST: Final = re.compile(r"^\s*[:@]param\s+(?:[\w\[\], .|]+\s)?(\w+):\s*(.*)$")


def read_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return what *function* does, and a description for each parameter that has one.

    Sections as Google's and NumPy's styles have them, and lines as `:param name:` and `@param name:`, are understood;
    what stands before them is what the function does.

    Example:
        >>> def search(query: str) -> str:
        ...     '''Search the shop.
        ...
        ...     Args:
        ...         query: What to look for.
        ...     '''
        >>> read_docstring(search)
        ('Search the shop.', {'query': 'What to look for.'})
    """
    lines = (inspect.getdoc(function) or "").splitlines()
    first = next((number for number, line in enumerate(lines) if _begins_section(line)), len(lines))
    return "\n".join(lines[:first]).strip(), _documented_parameters(lines[first:])


def _begins_section(line: str) -> bool:
    return bool(_HEADING.match(line) or _FIELD.match(line))


def _documented_parameters(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    inside, is_numpy, indent = False, False, 0
    names: list[str] = []  # those that the text at hand is about
    for line, below in zip(lines, [*lines[1:], ""]):
        heading, rest = _HEADING.match(line), _REST.match(line)
        depth = len(line) - len(line.lstrip())
        entry: re.Match[str] | None = None
        if heading:
            inside, is_numpy, names = heading[1] in _OF_PARAMETERS, below.startswith("---"), []
            continue
        if inside and not rest and (is_numpy or not names or depth <= indent):
            entry = (_NUMPY if is_numpy else _GOOGLE).match(line)
        if rest or entry:
            started = rest or entry
            assert started is not None
            names, indent = re.findall(r"\w+", started[1]), depth
            found.update(dict.fromkeys(names, started[2] if started.re is not _NUMPY else ""))
        elif names and line.strip() and depth > indent:
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
        elif line.strip():
            names = []
    return {parameter: text.strip() for parameter, text in found.items() if text.strip()}


class Unresolved:
    """Stands for an annotation that names what cannot be found.

    Example:
        >>> Unresolved("Database").text
        'Database'
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class _Annotated:
    """Something with one annotation, for `typing.get_type_hints`."""

    def __init__(self, annotation: Any) -> None:
        self.__annotations__ = {"it": annotation}


def resolve_annotation(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    """Return *annotation* with every text in it as what that means among the names of *namespace*.

    A text that means nothing there is `Unresolved`; anything else that cannot be resolved is returned as it is.

    Example:
        >>> resolve_annotation("list[int]", {}), resolve_annotation(str, {})
        (list[int], <class 'str'>)
    """
    try:
        return typing.get_type_hints(_Annotated(annotation), dict(namespace), namespace, include_extras=True)["it"]
    except Exception:  # the user's own annotation: it may raise anything
        if isinstance(annotation, (str, typing.ForwardRef)):
            return Unresolved(annotation if isinstance(annotation, str) else annotation.__forward_arg__)
        return annotation


def unwrap_partial(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function that a `functools.partial` gives arguments to; any other is itself."""
    while isinstance(function, functools.partial):
        function = cast("functools.partial[Any]", function).func
    return function


def _annotated_function(function: Callable[..., Any]) -> Any:
    """Return the function whose annotations somebody wrote: below partial ones, decorators, and callable objects."""
    function = inspect.unwrap(unwrap_partial(inspect.unwrap(function)))
    return function if hasattr(function, "__globals__") or isinstance(function, type) else type(function).__call__


def enclosing_locals(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what annotations that are text mean in the function around *function*, while that is still running.

    It holds classes of its own, say, which later nobody would find.
    """
    written = _annotated_function(function)
    outer = getattr(written, "__qualname__", "").rpartition(".<locals>.")[0].rpartition(".")[2]
    try:
        texts = [one for one in written.__annotations__.values() if isinstance(one, str)] if outer else []
    except Exception:  # pragma: no cover -- evaluated when they are read, from Python 3.14 on
        texts = []
    frame = inspect.currentframe() if texts else None
    while frame is not None:
        if frame.f_code.co_name == outer and frame.f_globals is written.__globals__:
            mentioned = set(re.findall(r"[^\W\d]\w*", " ".join(texts)))
            return {name: value for name, value in frame.f_locals.items() if name in mentioned}
        frame = frame.f_back
    return {}


def namespace_of(function: Callable[..., Any], around: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the names that annotations of *function* may use: its module's, those *around*, what it closes over."""
    written = _annotated_function(function)
    closed = getattr(written, "__closure__", None) or ()
    code = getattr(written, "__code__", None)
    enclosed: dict[str, Any] = {}
    for name, cell in zip(getattr(code, "co_freevars", ()), closed):
        try:
            enclosed[name] = cell.cell_contents
        except ValueError:  # not bound yet
            continue
    return {**getattr(written, "__globals__", {}), **(around or {}), **enclosed}
