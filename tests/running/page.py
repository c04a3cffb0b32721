"""`docs/running.md` as its tests read it: the commands and programs that they run, the rows that they hold."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "running.md").read_text(encoding="utf-8")


def blocks(*languages: str) -> list[str]:
    """Return the page's blocks in *languages*."""
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def command(containing: str) -> str:
    """Return the page's one shell block that contains *containing*."""
    return _one(blocks("shell"), containing)


def program(containing: str) -> str:
    """Return the page's one program that contains *containing*."""
    return _one(blocks("py"), containing)


def _one(found: list[str], containing: str) -> str:
    chosen = [text for text in found if containing in text]
    assert len(chosen) == 1, f"docs/running.md has {len(chosen)} blocks with {containing!r}, not one"
    return chosen[0]
