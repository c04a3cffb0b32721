"""What otelier runs and reaches: nothing that came from outside, nobody on the network."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.programs import run

SOURCE = Path(__file__).parent.parent.parent / "src"
MODULES = [path for path in sorted(SOURCE.rglob("*.py")) if "testing" not in path.parts]
RUNNING = {"eval", "exec", "compile", "__import__"}
READING_CODE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "ctypes"}
STARTING = {"subprocess", "multiprocessing", "pty"}


def used(module):
    """Names that *module* calls, and modules that it imports, anywhere."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(SOURCE)))
def test_nothing_from_outside_is_run(module):
    """No text becomes code, nothing is unpickled, and only the demonstration starts a process."""
    found = set(used(module))
    assert found.isdisjoint(RUNNING | READING_CODE)
    assert found.isdisjoint(STARTING) or "demo" in module.parts


SILENT = """
import opentelemetry.trace, opentelemetry.baggage, json, sys, threading
events = []
sys.addaudithook(lambda event, args: events.append(event) if event.startswith({watched}) else None)
import otelier
{then}
print(json.dumps([events, threading.active_count()]))
"""
WATCHED = ("socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.", "os.exec", "os.fork", "os.posix_spawn")


@pytest.mark.parametrize(
    "then",
    [
        "otelier.set_context(user_id='u-1', agent='triage')",
        "otelier.init(app='shop', propagate_to=['*.shop.example'])\nwith otelier.context(agent='triage'): pass",
        "otelier.init(app='shop')\notelier.shutdown()",
    ],
    ids=["import", "init", "shutdown"],
)
def test_nobody_is_reached(then):
    """Importing otelier, setting fields and switching it on open no connection and start no thread and no process."""
    assert run(SILENT.format(watched=WATCHED, then=then)).answer == [[], 1]
