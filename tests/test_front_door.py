"""What may be used: `__all__` of the package and of every room."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

import otelier

ROOMS = sorted(name for _, name, is_package in pkgutil.iter_modules(otelier.__path__) if is_package)
GROUND = sorted(name for _, name, is_package in pkgutil.iter_modules(otelier.__path__) if not is_package)
each_room = pytest.mark.parametrize("room", ["otelier", *(f"otelier.{name}" for name in ROOMS)])


@each_room
def test_all_is_sorted(room):
    """`__all__` reads like an index: constants, classes, functions, each in order."""
    names = importlib.import_module(room).__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert len(names) == len(set(names))


@each_room
def test_all_is_what_is_visible(room):
    """Each name of `__all__` is there, and nothing public is there that it leaves out."""
    module = importlib.import_module(room)
    for name in module.__all__:
        assert getattr(module, name) is not None
    visible = {name for name in dir(module) if not name.startswith("_") and name != "annotations"}
    assert {name for name in visible - set(module.__all__) if not inspect.ismodule(getattr(module, name))} == set()


def test_no_public_name_hides_a_room():
    """No public function shares its name with a room: `otelier.context()` lives in `fields`."""
    taken = {name for name in otelier.__all__ if not inspect.ismodule(getattr(otelier, name))}
    assert taken.isdisjoint(ROOMS + GROUND)


@each_room
def test_public_names_are_documented(room):
    """Whatever `__all__` promises says what it does; what a user calls from the front door also shows an example."""
    module = importlib.import_module(room)
    for name in module.__all__:
        value = getattr(module, name)
        # Python 3.10 takes an alias such as `Callable[[str], str]` for a class.
        is_class = inspect.isclass(value) and not isinstance(value, types.GenericAlias)
        if inspect.ismodule(value) or is_class or inspect.isfunction(value):
            assert value.__doc__, f"{room}.{name} has no docstring"
        if room == "otelier" and inspect.isfunction(value):
            assert "Example:" in value.__doc__, f"{room}.{name} shows no example"


ROOMS_OF_USERS = ("agents", "errors", "interceptors", "llm", "openai", "testing", "workflows")
USERS = ("otelier", *(f"otelier.{name}" for name in ROOMS_OF_USERS))


@pytest.mark.parametrize("name", USERS)
def test_what_users_call_is_documented(name):
    """Each public method and property of a public class says what it does, or inherits what its base says."""
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None) or [each for each in vars(module) if not each.startswith("_")]
    silent = [
        f"{each}.{member}"
        for each in names
        if inspect.isclass(cls := getattr(module, each))
        for base in cls.__mro__
        if base.__module__.startswith("otelier")
        for member, value in vars(base).items()
        if not member.startswith("_") and (inspect.isroutine(value) or isinstance(value, property))
        if not inspect.getdoc(getattr(cls, member))
    ]
    assert silent == []


EXEMPLARY = (
    "otelier",
    *(f"otelier.{name}" for name in ("agents", "errors", "interceptors", "llm", "testing", "workflows")),
)


@pytest.mark.parametrize("room", EXEMPLARY)
def test_public_classes_show_an_example(room):
    """Whoever meets a class in an editor sees how it is made or met; each example runs as a test."""
    module = importlib.import_module(room)
    own = (name for name, value in vars(module).items() if getattr(value, "__module__", None) == room)
    names = getattr(module, "__all__", None) or [name for name in own if not name.startswith("_")]
    classes = [name for name in names if inspect.isclass(getattr(module, name))]
    assert classes
    assert [name for name in classes if "Example:\n" not in inspect.cleandoc(getattr(module, name).__doc__)] == []


def test_a_name_is_looked_up_once():
    """The lazy front door keeps what it found, so that later uses cost nothing extra."""
    vars(otelier).pop("set_context", None)
    found = otelier.set_context
    assert vars(otelier)["set_context"] is found


def test_an_unknown_name_is_an_attribute_error():
    """A name that is not there fails as in any module, so that `hasattr` and `from … import` work."""
    assert not hasattr(otelier, "no_such_name")
    assert sorted(dir(otelier)) == sorted(otelier.__all__)


def test_type_checkers_see_every_name():
    """The block for type checkers imports exactly what the lazy door gives."""
    tree = ast.parse(Path(otelier.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = [alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(seen) == sorted(otelier.__all__)


LIGHT = """
import json, sys, threading
import opentelemetry.trace, opentelemetry.baggage
before = set(sys.modules)
{statement}
print(json.dumps({{"modules": sorted(set(sys.modules) - before), "threads": threading.active_count()}}))
"""
HEAVY = (
    "openai",
    "wrapt",
    "pydantic",
    "jsonschema",
    "opentelemetry.sdk",
    "opentelemetry.instrumentation",
    "opentelemetry.exporter",
)


def loaded_by(statement):
    """What a fresh interpreter has loaded after *statement*."""
    command = [sys.executable, "-c", LIGHT.format(statement=statement)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "statement",
    [
        "import otelier",
        "import otelier; otelier.set_context(user_id='u-1')",
        "import otelier\nwith otelier.context(agent='triage'): otelier.get_agent()",
        "import otelier.errors, otelier.names, otelier.settings, otelier.identity, otelier.fields",
        "import otelier.llm; otelier.llm.Tools()",
        "from otelier import workflow, function, entity, Worker, Client\n@workflow\nasync def order(ctx): ...",
    ],
)
def test_import_and_context_are_light(statement):
    """`import otelier` and the fields load OpenTelemetry's API only, and start no thread."""
    loaded = loaded_by(statement)
    heavy = [name for name in loaded["modules"] if any(name == one or name.startswith(f"{one}.") for one in HEAVY)]
    assert heavy == []
    assert loaded["threads"] == 1


def test_contexts_load_no_redaction():
    """The fields need no pattern of a secret, and no list of months: what looks at texts comes with the first text."""
    loaded = loaded_by("import otelier; otelier.set_context(user_id='u-1'); otelier.get_agent()")
    assert [name for name in loaded["modules"] if "redact" in name or "secret" in name] == []
    assert {"json", "pathlib", "base64", "concurrent.futures"}.isdisjoint(loaded["modules"])


def test_settings_are_not_read_at_import(monkeypatch):
    """A variable that cannot be read stops nothing before otelier is switched on."""
    monkeypatch.setenv("OTELIER_DISABLED", "perhaps")
    assert "otelier" in loaded_by("import otelier")["modules"]
