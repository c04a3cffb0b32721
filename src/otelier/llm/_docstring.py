"""Docstrings of functions: a description of the function, and of each parameter."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Final

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
    first = next((number for number, line in enumerate(lines) if _begins(line)), len(lines))
    return "\n".join(lines[:first]).strip(), _documented_parameters(lines[first:])


def _begins(line: str) -> bool:
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
