"""The floors of the house: imports point down, in a fixed order, and never in a circle."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parent.parent / "src"
GROUND = ("errors", "names", "settings", "faults", "patches", "codec")
ROOMS = ("redaction", "telemetry", "identity", "fields", "baggage", "openai", "llm", "interceptors", "agents")
ROOMS += ("store", "experiments", "sessions", "workflows")
DOORS = ("setup", "testing", "__init__", "cli")  # the demo is a program, and uses the package as one
FLOORS = {name: floor for floor, name in enumerate(GROUND + ROOMS + DOORS)}
PROGRAMS = {f"otelier.cli.demo.apps.{name}" for name in ("helpdesk", "payments", "refunds")}
"""Programs as a user writes them, which come in by the front door; nothing of ours imports them."""
MODULES = {path.relative_to(SOURCE): path for path in sorted(SOURCE.rglob("*.py"))}


def dotted(module: Path) -> str:
    """`otelier/fields/_state.py` as `otelier.fields._state`."""
    return ".".join(module.with_suffix("").parts).removesuffix(".__init__")


def room(name: str) -> str:
    """`otelier.fields._state` stands in `fields`; `otelier` itself is `__init__`."""
    return [*name.split("."), "__init__"][1]


NAMES = {dotted(module) for module in MODULES}


@functools.cache
def imported(module: Path) -> frozenset[str]:
    """Every module of ours that *module* imports, anywhere in it: also in functions and for type checkers only."""
    return frozenset(_imported(module))


def _imported(module: Path) -> Iterator[str]:
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
                yield below if below in NAMES else origin


def test_every_module_stands_on_a_floor():
    """A new room gets its place in the order before it gets its first module."""
    assert len(MODULES) > 100
    assert [name for name in NAMES if room(name) not in FLOORS] == []


def test_imports_point_down():
    """A room imports from the rooms before it only, in functions and for type checkers too."""

    def points_up(module: Path, name: str) -> bool:
        here = room("otelier" if dotted(module) in PROGRAMS else dotted(module))
        there = room(name)
        return name in PROGRAMS or not (there == here or FLOORS[there] < FLOORS[here])

    assert [(str(module), name) for module in MODULES for name in imported(module) if points_up(module, name)] == []


def test_rooms_are_entered_by_the_front_door():
    """Private modules of another room are not imported."""

    def goes_round(module: Path, name: str) -> bool:
        private = [part for part in name.split(".") if part.startswith("_")]
        return room(name) != room(dotted(module)) and bool(private)

    assert [(str(module), name) for module in MODULES for name in imported(module) if goes_round(module, name)] == []


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
