"""Functions as tools: signatures, docstrings and annotations. Packages above build tools of their own on it.

Example:
    >>> def search(query: str, limit: int = 10) -> str:
    ...     \"\"\"Search the shop.\"\"\"
    >>> Signature(search, "search").bind({"query": "pen"})
    ([], {'query': 'pen'})
"""

from __future__ import annotations

from otelier.llm._introspection import Unresolved, enclosing_locals, resolve_annotation, unwrap_partial
from otelier.llm._signature import Signature
from otelier.llm._tools import OfferedTool, param_of, unknown_tool

__all__ = [
    "OfferedTool",
    "Signature",
    "Unresolved",
    "enclosing_locals",
    "param_of",
    "resolve_annotation",
    "unknown_tool",
    "unwrap_partial",
]
