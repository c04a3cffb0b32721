"""The code blocks of cogent's page about `RunContext`, and what a test gives to each that it does not define.

`run_context.md` has them word for word, but for the imports; `as_on_the_page` puts those back, and `DIGEST` is what
the page itself comes to, so a block that was edited to fit is noticed.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

PAGE = (Path(__file__).parent / "run_context.md").read_text(encoding="utf-8")
BLOCKS: dict[str, str] = dict(re.findall(r"^## (.+?)\n\n```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
DIGEST = "10de036dac94deb26aa33222c8ea975f54b475c623737283292e67747f2279a6"

EARLIER = ("dataclass", "field", "Agent", "RunContext", "tool", "generate_id", "now_utc", "model")
"""What the page imports in one block and uses in others, and the model that its agents ask."""

SUPPLIED: dict[str, dict[str, str]] = {
    "overview": {"Database": "a service of the application", "db": "an instance of it", "key": "a key"},
    "query": {"orchestrator": "an agent with a subagent", "ctx": "a context"},
    "with services": {
        "Database": "over SQLite", "Redis": "of the redis package", "APIClient": "a service", "Logger": "`logging`'s",
        "User": "what both store",
    },
    "context with other parameters": {"personalized_search": "a function", "generic_search": "a function"},
    "interceptor": {"Phase": "used and not imported"},
    "metadata": {"datetime": "used and not imported"},
    "passing context": {"MyContext": "of `basic context`"},
    "immutability": {"ctx": "of another frozen class: the block uses one before there is any"},
    "request-scoped": {
        "Request": "of FastAPI, used and not imported", "AsyncSession": "over SQLite", "get_db": "gives a session",
        "get_agent": "gives an agent with a tool that asks the session",
    },
    "multi-tenant": {"agent": "an agent"},
    "testing": {"MyContext": "with the fields that it is given here", "get_user_orders": "an async tool"},
    "retry": {
        "agent": "an agent", "task": "a task", "ctx": "the context of the first attempt", "failed": "whether it failed",
        "retry_count": "attempts so far", "max_retries": "most attempts",
    },
    "timing": {"agent": "an agent"},
    "combining": {"datetime": "imported in `timing`"},
    "api reference": {"Any": "used and not imported"},
}  # fmt: skip
"""Names that a block uses and does not define, each with what it is."""

CONTRADICTIONS = {
    "accessing context": "its tools want `db`, and a method `has_permission`, that no class of the page has together",
    "immutability": "`ctx` is used here, and no block has made one of a frozen class",
    "testing": (
        "awaits `get_user_orders.__wrapped__`, which is a plain function in `accessing context`, and makes a "
        "`MyContext` of other fields than `basic context` has"
    ),
    "retry": "does not await `agent.run`, whose result `overview` awaits: a run serves both, and is read here",
    "timing": "does not await `agent.run` either",
    "delegation depth": "reads `.output` of a run in a plain function, which other blocks await",
}
"""Blocks that contradict others. None is edited: names make up for the first three, the lazy run for the rest."""


def as_on_the_page(block: str) -> str:
    """Return *block* with the imports that it has on the page."""
    block = re.sub(
        r"^from otelier import (generate_id|now_utc)$", r"from cogent.core import \1", block, flags=re.MULTILINE
    )
    return re.sub(r"^from otelier\b", "from cogent", block, flags=re.MULTILINE)


def digest() -> str:
    """Return what all blocks come to, with the page's imports."""
    return hashlib.sha256("".join(map(as_on_the_page, BLOCKS.values())).encode()).hexdigest()
