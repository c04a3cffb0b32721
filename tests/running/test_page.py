"""`docs/running.md` says only what is tested, or that it is not: its rows, its commands and its programs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.running.page import PAGE, ROOT, blocks

HERE = Path(__file__).parent
TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
PRESUMED = "export OTEL_EXPORTER_OTLP_ENDPOINT"  # told once for all; the stage sets it
KINDS = {"works", "do", "lost", "unknown"}


def sections():
    """Each section with its rows, as lists of cells."""
    for text in re.split(r"^#+ ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, body = text.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("|")]
        yield title, [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def functions(path):
    """Names of the functions in a file."""
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("title", "rows"), list(sections()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_row_is_tested_or_says_that_it_is_not(title, rows):
    """A section has rows, and each row names tests that exist, or says `not tested`."""
    assert rows, f"{title!r} has no rows"
    for kind, _, held_by in rows:
        assert kind in KINDS
        if held_by == "not tested":
            continue
        assert TEST.sub("", held_by).strip(", ") == "", f"{held_by!r} is neither tests nor `not tested`"
        for file, function in TEST.findall(held_by):
            path = ROOT / "tests" / file
            assert path.is_file(), file
            assert function.startswith("test_"), function
            assert function in functions(path), f"{file} has no {function}"


def test_what_works_is_tested():
    """Only a test says that something works; what is not tested says at most what is lost, or to do."""
    untested = [row for _, rows in sections() for row in rows if row[0] == "works" and not TEST.search(row[2])]
    assert untested == []


def test_every_test_here_is_on_the_page():
    """What these tests hold is told to the reader."""
    for path in sorted(HERE.glob("test_*.py")):
        if path == Path(__file__):
            continue
        for function in functions(path):
            if function.startswith("test_"):
                assert f"running/{path.name}::{function}`" in PAGE, f"{function} is not on the page"


def test_every_command_and_program_is_run():
    """Each block of the page is picked by a test."""
    texts = {
        node.value
        for path in HERE.glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for shown in (blocks("shell"), blocks("py")):
        picked = {found[0] for text in texts if len(found := [block for block in shown if text in block]) == 1}
        assert [block for block in shown if block not in picked and not block.startswith(PRESUMED)] == []
