"""The floors of the house: imports point down, in a fixed order, and never in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
GROUND = ("errors", "names", "settings")
ROOMS = ("signals", "identity", "fields", "processors", "baggage", "openai", "llm", "interceptors", "agents")
ROOMS += ("experiments", "sessions", "workflows")
DOORS = ("setup", "testing", "__init__", "cli")  # the demo is a program, and uses the package as one
FLOORS = {name: floor for floor, name in enumerate(GROUND + ROOMS + DOORS)}
PROGRAMS = {"otelier.cli.demo.apps.helpdesk", "otelier.cli.demo.apps.payments"}
"""Programs as a user writes them, which come in by the front door; nothing of ours imports them."""
MODULES = {path.relative_to(SOURCE): path for path in sorted(SOURCE.rglob("*.py"))}
each_module = pytest.mark.parametrize("module", MODULES, ids=str)


def dotted(module: Path) -> str:
    """`otelier/fields/_state.py` as `otelier.fields._state`."""
    return ".".join(module.with_suffix("").parts).removesuffix(".__init__")


def room(name: str) -> str:
    """`otelier.fields._state` stands in `fields`; `otelier` itself is `__init__`."""
    return [*name.split("."), "__init__"][1]


def imported(module: Path) -> Iterator[str]:
    """Every module of ours that *module* imports, anywhere in it: also in functions and for type checkers only."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "otelier")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively"
            origin = node.module or ""
            if origin.split(".")[0] != "otelier":
                continue
            for alias in node.names:
                below = f"{origin}.{alias.name}"
                is_module = any(dotted(other) == below for other in MODULES)
                yield below if is_module else origin


@each_module
def test_every_module_stands_on_a_floor(module):
    """A new room gets its place in the order before it gets its first module."""
    assert room(dotted(module)) in FLOORS


@each_module
def test_imports_point_down(module):
    """A room imports from the rooms before it only, in functions and for type checkers too."""
    here = room("otelier" if dotted(module) in PROGRAMS else dotted(module))
    for name in imported(module):
        assert name not in PROGRAMS
        there = room(name)
        assert there == here or FLOORS[there] < FLOORS[here], f"{module} imports {name}, which is above it"


@each_module
def test_rooms_are_entered_by_the_front_door(module):
    """Private modules of another room are not imported."""
    here = room(dotted(module))
    for name in imported(module):
        private = [part for part in name.split(".") if part.startswith("_")]
        assert room(name) == here or not private, f"{module} imports {name}, which is private"


def folder(name: str) -> str | None:
    """`otelier.openai.reading._fields` stands in `otelier.openai.reading`; what stands in the room itself in none."""
    parts = name.split(".")
    return ".".join(parts[:3]) if (SOURCE / Path(*parts[:3])).is_dir() and len(parts) > 2 else None


def test_no_circle_of_folders():
    """The folders of a room stand in an order, too."""
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        here = folder(dotted(module))
        if here is not None:
            there = {folder(name) for name in imported(module)}
            graph.setdefault(here, set()).update(name for name in there if name not in (None, here))
    assert {"otelier.openai.reading", "otelier.openai.streams"} <= graph.keys()
    assert_no_circle(graph)


def test_no_circle():
    """The modules stand in an order in which each imports only earlier ones."""
    graph = {dotted(module): {name for name in imported(module) if name != dotted(module)} for module in MODULES}
    assert_no_circle(graph)


def assert_no_circle(graph: dict[str, set[str]]) -> None:
    while graph:
        ready = [name for name, needs in graph.items() if not needs & graph.keys()]
        assert ready, f"These import each other: {sorted(graph)}"
        for name in ready:
            del graph[name]
