"""The pages: generated ones are current, links lead somewhere, and one sentence stands on a line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from otelier.settings import all_settings

ROOT = Path(__file__).parent.parent
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "RELEASING.md")),
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose(page):
    """The lines of *page* outside of code blocks and tables."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [line for line in text.splitlines() if not line.startswith("|")]


def anchor(heading):
    """What a heading's link is called."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_generated_pages_are_current():
    """The settings page lists every variable and the attributes page every name, as the code has them."""
    command = [sys.executable, str(ROOT / "scripts" / "make_reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


@each_page
def test_links_lead_somewhere(page):
    """A link to a file of the repository names one that is there, and a heading that it has."""
    for target in re.findall(
        r"\]\((?!https?:|mailto:)([^)\s]+)\)", "\n".join(page.read_text(encoding="utf-8").split("\n"))
    ):
        path, _, heading = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if heading:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in map(anchor, headings), f"{page.name} links to {target}"


def test_every_page_is_listed():
    """The index leads to every page."""
    listed = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    missing = [
        str(path)
        for page in (ROOT / "docs").rglob("*.md")
        if (path := page.relative_to(ROOT / "docs")).name != "index.md" and f"({path})" not in listed
    ]
    assert missing == []


@each_page
def test_configurations_can_be_read(page):
    """What a reader copies is valid YAML, and names no variable of ours that is not there."""
    known = {setting.variable for setting in all_settings()}
    for block in re.findall(r"^```yaml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        assert yaml.safe_load(block)
        assert set(re.findall(r"\bOTELIER_\w+", block)) <= known


def test_machines_page_names_the_server_that_is_tested():
    """The container in the page has the version that `make restate` gets."""
    version = re.search(r"^VERSION=(\S+)$", (ROOT / "scripts" / "get_restate.sh").read_text(), re.MULTILINE)
    assert version is not None
    page = (ROOT / "docs" / "workflow-machines.md").read_text(encoding="utf-8")
    assert set(re.findall(r"restatedev/restate:(\S+)", page)) == {version[1]}


@each_page
def test_one_sentence_per_line(page):
    """A line of prose ends with its sentence, so that a change shows as the sentence it changes."""
    for line in prose(page):
        told = re.sub(r"`[^`]*`|\[[^\]]*\]\([^)]*\)|\*\*[^*]*\*\*|^\s*(?:[-*]|\d+\.) ", "", line)
        assert not re.search(r"[a-z)][.!?] +[A-Z]", told), f"{page.name}: {line}"
