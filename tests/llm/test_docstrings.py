"""Docstrings of tools, in the styles that people write: what a tool does, and what its parameters are."""

from __future__ import annotations

import pytest

from otelier import llm

GOOGLE = """Search the web.

Pages come first.

Args:
    query (str): What to look for,
        in words.
    limit: Most pages.
    **more: Anything else.

Returns:
    query: no parameter.

Raises:
    ValueError: never.
"""
KEYWORDS = """Search the web.

Pages come first.

Args:
    query: What to look for, in words.

Keyword Args:
    limit: Most pages.
"""
NUMPY = """Search the web.

Pages come first.

Parameters
----------
query : str
    What to look for,
    in words.
limit : {1, 2}, optional
    Most pages.

Returns
-------
query : str
    No parameter.

See Also
--------
limit : No parameter.
"""
NUMPY_OTHERS = """Search the web.

Pages come first.

Parameters
----------
query
    What to look for,

    in words.

Other Parameters
----------------
limit, more : int
    Most pages.
"""
REST = """Search the web.

Pages come first.

:param query: What to look for,
    in words.
:type query: str
:param int limit: Most pages.
:returns: Something.
:raises ValueError: never.
"""
EPYTEXT = """Search the web.

Pages come first.

@param query: What to look for,
    in words.
@param limit: Most pages.
@return: Something.
"""


@pytest.mark.parametrize("style", [GOOGLE, KEYWORDS, NUMPY, NUMPY_OTHERS, REST, EPYTEXT])
def test_styles(style):
    """Whatever the style: what stands before parameters and results is the description, and each parameter has its."""

    def search(query: str, limit: int = 3) -> str:
        return query

    search.__doc__ = style
    tool = llm.Tools().register("search", search)
    assert tool.description == "Search the web.\n\nPages come first."
    described = {name: of.get("description") for name, of in tool.schema["properties"].items()}
    assert described == {"query": "What to look for, in words.", "limit": "Most pages."}


def test_what_only_looks_like_a_style():
    """Addresses, headings and lists of one's own are text."""

    def search(query: str) -> str:
        return query

    search.__doc__ = "Ask @support.\n\nRules\n-----\nquery : be polite\n- limit: none"
    tool = llm.Tools().register("search", search)
    assert tool.description == search.__doc__
    assert "description" not in tool.schema["properties"]["query"]
