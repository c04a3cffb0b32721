"""Patches of ours beside those of others, in any order, and of modules that are imported again."""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import importlib.util
import itertools
import sys
import weakref

import pytest
import wrapt
from opentelemetry.instrumentation.utils import unwrap

from otelier.patches import Patches, PatchPoint, is_patched

MODULE = "otelier_patched_example"
SOURCE = """
class Client:
    def call(self, text="said"):
        return [text]

    async def acall(self, text="said"):
        return [text]

def call(text="said"):
    return [text]
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A library that nobody has patched, and that can be imported again."""
    (tmp_path / f"{MODULE}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module(MODULE)
    sys.modules.pop(MODULE, None)


def add(mark):
    """A wrapper that adds its mark once, whatever stands in between: as all wrappers of ours do."""

    def wrapper(wrapped, instance, args, kwargs):
        answer = wrapped(*args, **kwargs)
        return answer if mark in answer else [*answer, mark]

    return wrapper


@pytest.fixture
def ours():
    """The patches of a method and of a function of the module."""
    patches = Patches(
        (PatchPoint(MODULE, "Client", "call", add("ours")), PatchPoint(MODULE, "", "call", add("ours"))), place="tests"
    )
    yield patches
    patches.remove()


class Blind:
    """A plain function in the method's place; what was there before is put back, whatever came since."""

    def put_in(self, owner, mark):
        self.before = before = vars(owner)["call"]
        owner.call = self.patch = lambda *args, **kwargs: [*before(*args, **kwargs), mark]

    def take_out(self, owner):
        owner.call = self.before


class Careful(Blind):
    """A plain function that says what it wraps, and is put back only where it is what stands there."""

    def put_in(self, owner, mark):
        before = vars(owner)["call"]
        super().put_in(owner, mark)
        owner.call = self.patch = functools.wraps(before)(self.patch)

    def take_out(self, owner):
        if vars(owner)["call"] is self.patch:
            owner.call = self.before


class Wrapt:
    """A wrapper of wrapt's, taken out by OpenTelemetry's `unwrap`."""

    def put_in(self, owner, mark):
        wrapt.wrap_function_wrapper(owner, "call", lambda wrapped, _, args, kwargs: [*wrapped(*args, **kwargs), mark])

    def take_out(self, owner):
        unwrap(owner, "call")


def orders():
    """Every order in which ours and two others come and go, each once."""
    events = ("ours in", "ours out", "a in", "a out", "b in", "b out")
    return [
        order
        for order in itertools.permutations(events)
        if all(order.index(f"{who} in") < order.index(f"{who} out") for who in ("ours", "a", "b"))
    ]


@pytest.mark.parametrize("what", ["method", "function"])
@pytest.mark.parametrize(("a", "b"), list(itertools.product((Blind, Careful, Wrapt), repeat=2)))
def test_beside_others_in_every_order(module, ours, a, b, what):
    """Whoever comes and goes when, a call is made once, ends, and is ours exactly while the patch is in.

    Who puts back what he had found takes ours out with his own: then the next `apply` brings it in again.
    """
    owner = module.Client if what == "method" else module
    original = vars(owner)["call"]
    for order in orders():
        others = {"a": a(), "b": b()}
        for event in order:
            who, _, way = event.partition(" ")
            if who == "ours":
                ours.apply() if way == "in" else ours.remove()
            elif way == "in":
                others[who].put_in(owner, who)
            else:
                others[who].take_out(owner)
            answer = module.Client().call() if what == "method" else module.call()
            if ours.on and "ours" not in answer:
                assert Blind in (a, b), (order, event)
                ours.apply()
                answer = module.Client().call() if what == "method" else module.call()
            assert answer.count("said") == 1, (order, event)
            assert answer.count("ours") == ours.on, (order, event, answer)
        owner.call = original


@pytest.mark.parametrize("kind", [Blind, Careful, Wrapt])
def test_in_and_out_again_and_again_below_another(module, ours, kind):
    """However often ours goes in and out beside another's patch, a call passes no more layers than at first."""
    ours.apply()
    kind().put_in(module.Client, "theirs")
    for _ in range(2000):
        ours.remove()
        assert module.Client().call() == ["said", "theirs"]
        ours.apply()
        assert sorted(module.Client().call()) == ["ours", "said", "theirs"]


def test_below_wrapts_wrappers_it_goes_out_whole(module, ours):
    """A patch that another's wrapper of wrapt's stands around leaves nothing behind."""
    original = vars(module.Client)["call"]
    ours.apply()
    theirs = Wrapt()
    theirs.put_in(module.Client, "theirs")
    ours.remove()
    assert not is_patched(vars(module.Client)["call"])
    theirs.take_out(module.Client)
    assert vars(module.Client)["call"] is original


def test_what_another_kept_of_ours_sleeps(module, ours):
    """A patch that somebody kept and puts back, long after it was taken out, lets calls through."""
    ours.apply()
    kept = module.Client.call
    ours.remove()
    module.Client.call = kept
    assert module.Client().call() == ["said"]


def test_what_another_kept_of_an_asynchronous_method_sleeps(module):
    """A coroutine of a patch that was taken out gives what the method gives, and not another coroutine."""
    point = PatchPoint(MODULE, "Client", "acall", lambda wrapped, _, args, kwargs: wrapped(*args, **kwargs))
    patches = Patches((point,), place="tests")
    patches.apply()
    kept = module.Client().acall
    assert is_patched(kept.__func__)
    assert asyncio.run(kept()) == ["said"]
    patches.remove()
    assert asyncio.run(kept()) == ["said"]


def test_a_module_that_comes_later(ours, tmp_path, monkeypatch):
    """What is not imported yet is patched when it is, by whichever way."""
    ours.apply()
    assert MODULE not in sys.modules
    (tmp_path / f"{MODULE}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    module = importlib.import_module(MODULE)
    try:
        assert module.Client().call() == ["said", "ours"]
        assert module.__loader__ is module.__spec__.loader
        assert type(module.__loader__).__name__ == "SourceFileLoader"
    finally:
        del sys.modules[MODULE]


def test_a_module_that_is_dropped_and_imported_again(module, ours):
    """A module that is imported anew is patched anew, as often as that happens."""
    ours.apply()
    for _ in range(3):
        del sys.modules[MODULE]
        again = importlib.import_module(MODULE)
        assert again is not module
        assert (again.Client().call(), again.call()) == (["said", "ours"], ["said", "ours"])
    ours.remove()
    assert (again.Client().call(), again.call()) == (["said"], ["said"])


def test_a_module_that_was_dropped_is_let_go(ours, tmp_path, monkeypatch):
    """Patches do not keep a module alive that nobody uses any more."""
    (tmp_path / f"{MODULE}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    ours.apply()
    old = weakref.ref(importlib.import_module(MODULE).Client)
    del sys.modules[MODULE]
    importlib.import_module(MODULE)
    del sys.modules[MODULE]
    gc.collect()
    assert old() is None


def test_a_module_that_is_reloaded(module, ours):
    """`importlib.reload` makes a module's functions anew, and they are patched again."""
    ours.apply()
    importlib.reload(module)
    assert (module.Client().call(), module.call()) == (["said", "ours"], ["said", "ours"])


def test_beside_hooks_of_wrapt(ours, tmp_path, monkeypatch):
    """Where wrapt waits for the same module both see it, whoever waited first."""
    seen = []
    for first in (True, False):
        if first:
            ours.apply()
        wrapt.register_post_import_hook(lambda module: seen.append(module.__name__), MODULE)
        ours.apply()
        (tmp_path / f"{MODULE}.py").write_text(SOURCE)
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()
        assert importlib.import_module(MODULE).Client().call() == ["said", "ours"]
        del sys.modules[MODULE]
        ours.remove()
    assert seen == [MODULE] * 2


@pytest.mark.parametrize("place", ["_patch", "_apply"])
def test_a_fault_leaves_the_module_as_it_is(ours, module, monkeypatch, quiet_faults, caplog, place):
    """A fault of ours in patching a module costs the patches, never the import."""

    def broken(_):
        raise LookupError

    del sys.modules[MODULE]
    ours.apply()
    monkeypatch.setattr(ours, place, broken)
    assert importlib.import_module(MODULE).Client().call() == ["said"]
    assert "otelier failed in tests." in caplog.text


def test_a_module_that_is_not_there(ours):
    """An import of what is patched and not installed fails as ever."""
    ours.apply()
    with pytest.raises(ModuleNotFoundError, match=MODULE):
        importlib.import_module(MODULE)


def test_the_finder_goes_with_the_last_patch(ours):
    """Where nothing is waited for any more, imports are as they were."""
    before = list(sys.meta_path)
    ours.apply()
    ours.remove()
    assert sys.meta_path == before


def test_looking_for_a_module_does_not_patch_it(module, ours):
    """To ask where a module is, as tools do, gives a spec whose loader does what the module's own does."""
    ours.apply()
    del sys.modules[MODULE]
    spec = importlib.util.find_spec(MODULE)
    assert spec.loader.get_source(MODULE) == SOURCE
    assert MODULE not in sys.modules
