"""Functions as tools: what their signatures and docstrings say. For rooms above, whose tools have more to them.

Example:
    >>> def search(query: str, limit: int = 10) -> str:
    ...     \"\"\"Search the shop.\"\"\"
    >>> Signature(search, "search").bind({"query": "pen"})
    ([], {'query': 'pen'})
"""

from __future__ import annotations

from otelier.llm._annotations import Unresolved, names_around, resolved, unbound
from otelier.llm._signature import Signature
from otelier.llm._tools import OfferedTool, param_of, unknown_tool

__all__ = ["OfferedTool", "Signature", "Unresolved", "names_around", "param_of", "resolved", "unbound", "unknown_tool"]
