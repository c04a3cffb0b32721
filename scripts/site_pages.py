"""Add to the documentation site what is not a page of docs/: the API reference, and pages from other folders.

A hook of MkDocs, named in mkdocs.yml; `make docs` runs it. It also turns what only GitHub and our tests read in pages
into what MkDocs reads, and refuses a site that would load anything from another host.
"""

from __future__ import annotations

import ast
import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from griffe import Docstring, Extension, Object
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
LOG = logging.getLogger("mkdocs.hooks.site_pages")  # a warning here fails the build

COPIED = {"changelog.md": "CHANGELOG.md", "collector.md": "collector-config/README.md"}
"""Page of the site: file of the repository outside docs/ that it is made from."""

API = ("", "agents", "agents.patterns", "llm", "interceptors", "openai", "workflows", "testing", "errors", "names")
"""Public namespaces below `otelier`, each a page."""

HEADLESS = "    options:\n      show_root_heading: false\n      show_root_toc_entry: false\n"
"""The page has its heading."""

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)")
FENCE = re.compile(r"^```(\w+) (.+)$", re.MULTILINE)
EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
LOADED = re.compile(r"<(?:script|img|iframe)[^>]*\ssrc=\"?https?:[^>]*>|<link[^>]*stylesheet[^>]*https?:[^>]*>")


class Examples(Extension):
    """An extension of Griffe: our docstrings have one `Example:`, and it is a section of code in their pages."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Name the section as Griffe knows it."""
        if isinstance(obj.docstring, Docstring):
            obj.docstring.value = EXAMPLE.sub("Examples:", obj.docstring.value)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that docs/ does not have."""
    pages = {name: (ROOT / path).read_text(encoding="utf-8") for name, path in COPIED.items()}
    pages |= {f"api/{name or 'otelier'}.md": _api_page(name) for name in API}
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links to the pages of the site, and give a block of code its language in the form that MkDocs reads."""
    uri = page.file.src_uri
    source = COPIED.get(uri, f"docs/{uri}")
    markdown = LINK.sub(lambda found: _link(found[1], source, uri), markdown)
    return FENCE.sub(_fence, markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse a page that loads something from another host."""
    for found in LOADED.findall(output):
        LOG.warning("%s loads from another host: %s", page.file.src_uri, found)
    return output


def _api_page(name: str) -> str:
    module = f"otelier.{name}" if name else "otelier"
    if name:
        return f"# {module}\n\n::: {module}\n{HEADLESS}"
    # Names of a namespace that has a page of its own are there.
    elsewhere = [one.split(".")[0] for one in API if one]
    tree = ast.parse((ROOT / "src" / "otelier" / "__init__.py").read_text(encoding="utf-8"))
    homes = {
        alias.name: node.module.removeprefix("otelier").lstrip(".").split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("otelier")
        for alias in node.names
    }
    here = sorted(each for each, home in homes.items() if home and home not in elsewhere)
    linked = sorted((each, home) for each, home in homes.items() if home in elsewhere)
    lines = ["# otelier", "", "::: otelier", f"{HEADLESS}      members: [{', '.join(here)}]", ""]
    lines += ["## Names of other pages", "", "| name | page |", "| --- | --- |"]
    lines += [f"| [`otelier.{each}`][otelier.{home}.{each}] | [otelier.{home}]({home}.md) |" for each, home in linked]
    return "\n".join([*lines, ""])


def _link(target: str, source: str, uri: str) -> str:
    """Where *target*, written in the file *source*, is on the site, seen from the page *uri*."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    copies = {of: name for name, of in COPIED.items()}
    to = copies.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
    return posixpath.relpath(to, posixpath.dirname(uri) or ".") if to else target


def _fence(found: re.Match[str]) -> str:
    """A block ```trace ATTRIBUTE …` shows spans with these attributes; other words are for our tests."""
    language, words = found.groups()
    return f'```text title="Trace with {words.replace(" ", ", ")}"' if language == "trace" else f"```{language}"
