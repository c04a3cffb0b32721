"""Reading a function's docstring: what it does, and what its parameters are."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Final

_HEADING: Final = re.compile(r"^(Args|Arguments|Parameters|Returns?|Yields?|Raises|Examples?|Notes?|See)\s*:?\s*$")
_GOOGLE: Final = re.compile(r"^\s+\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_REST: Final = re.compile(r"^\s*:param\s+(?:[\w\[\], .|]+\s)?(\w+):\s*(.*)$")


def read_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return what *function* does, and a description for each parameter that has one.

    Sections as Google's style has them, and `:param name:` lines, are understood; what stands before them is what the
    function does.

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
    return "\n".join(lines[:first]).strip(), _parameters(lines[first:])


def _begins(line: str) -> bool:
    return bool(_HEADING.match(line) or re.match(r"^:\w+", line))


def _parameters(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    inside, name, indent = False, "", 0
    for line in lines:
        heading, rest = _HEADING.match(line), _REST.match(line)
        depth = len(line) - len(line.lstrip())
        if heading:
            inside, name = heading[1] in ("Args", "Arguments", "Parameters"), ""
        elif rest:
            name, indent = rest[1], depth
            found[name] = rest[2]
        elif inside and (entry := _GOOGLE.match(line)) and (not name or depth <= indent):
            name, indent = entry[1], depth
            found[name] = entry[2]
        elif name and line.strip() and depth > indent:
            found[name] += f" {line.strip()}"
        elif not line.strip():
            continue
        else:
            name = ""
    return {parameter: text.strip() for parameter, text in found.items() if text.strip()}
