"""The code blocks of AGNT5's page about the Context API, and what a test gives to each that it does not define.

`context_api.md` has them word for word: the page imports nothing, and `DIGEST` is what all its blocks come to, so a
block that was edited to fit is noticed. What the page leaves out, `...` in the arguments of a call, is filled in by
`filled`.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

PAGE = (Path(__file__).parent / "context_api.md").read_text(encoding="utf-8")
BLOCKS: dict[str, str] = dict(re.findall(r"^## (.+?)\n\n```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
DIGEST = "e01db72abef3cbad35e25c08021f82bad39df967a98348a0f15d42e03f16d615"

EARLIER = ("workflow", "function", "entity")
"""Decorators that every block uses, and the page imports nowhere."""

SUPPLIED: dict[str, dict[str, str]] = {
    "spawn": {"process_item": "a function of the same worker"},
    "step": {"extract_data": "a function", "clean_data": "a function", "analyze": "an async function"},
    "state": {"datetime": "used and not imported"},
    "approval": {"timedelta": "used and not imported"},
    "tools": {"perform_search": "an async function"},
    "log": {"process": "a function"},
    "metrics": {"time": "used and not imported", "process_request": "an async function"},
    "spans": {"call_payment_api": "an async function", "save_to_db": "an async function"},
    "secrets": {"make_request": "an async function that uses the key"},
    "config": {
        "new_implementation": "an async function", "legacy_implementation": "an async function",
        "experimental_flow": "an async function",
    },
    "call tools": {"search_web": "an async function", "calculate": "a function"},
}  # fmt: skip
"""Names that a block uses and does not define, each with what it is."""

UNREACHED = {"config": "its variant stands behind a `return` in both branches, so another test asks for one"}
"""Blocks with code that is never run, and what runs it instead."""


def filled(block: str) -> str:
    """Return *block* with a description for each `...` among the arguments of a call, which no Python reads there."""
    return re.sub(r"handler=(\w+), \.\.\.\)", r"handler=\1, description=\1.__doc__)", block)


def digest() -> str:
    """Return what all blocks come to."""
    return hashlib.sha256("".join(BLOCKS.values()).encode()).hexdigest()
