"""Private names of restate-sdk: a case for each, which says what stops working where a new release lacks it."""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

pytest.importorskip("restate", reason="the extra `restate` is not installed")

import restate.server
import restate.server_context
import restate.server_types
import restate.vm
from restate.server_context import ServerInvocationContext
from restate.server_types import ReceiveChannel
from restate.vm import DoProgressExecuteRun, Failure, SingleUnresolvedFuture, VMWrapper

from otelier.workflows.engines import restate as ours
from otelier.workflows.engines.restate import Options, _worker
from otelier.workflows.engines.restate._address import worker_address
from otelier.workflows.engines.restate._service import Bodies
from tests.workflows.engines.serving import Handlers, on_a_loop, settle

FOLDER = Path(ours.__file__).parent
PRIVATE = {"restate.vm", "restate.server", "restate.server_context", "restate.server_types"}
"""Modules of restate-sdk that it does not show by itself."""


class Private(NamedTuple):
    """A private name that the engine uses."""

    holder: Any
    name: str
    stops: str
    """What stops working without it."""
    given: tuple[Any, ...] | None = None
    """What it is called with, besides the object that has it; `None` for what is not called."""


BODIES = "no body runs on Restate"
VM, CONTEXT, SERVER = VMWrapper, ServerInvocationContext, restate.server
NAMES = [
    *(
        Private(VM, name, stops, given)
        for name, stops, given in (
            ("__init__", BODIES, ([("content-type", "x")],)),
            ("do_progress", "no body hears of a result", (SingleUnresolvedFuture(1),)),
            ("is_completed", "no body hears of a result", (1,)),
            ("take_notification", "no body hears of a result", (1,)),
            ("is_replaying", "spans and logs of a replay are told twice", ()),
            ("notify_input", "nothing reaches a body that waits", (b"",)),
            ("notify_input_closed", "a worker that stops cannot leave bodies that wait", ()),
            ("propose_run_completion_success", "no step ends", (1, b"")),
            ("sys_run", "no step begins", ("name",)),
            ("sys_sleep", "no body sleeps", (1, "name")),
            ("sys_signal", "no body hears of a signal", ("name",)),
            ("sys_call", "no run is called, and none tells its end", ("service", "handler", b"", "key")),
            ("attach_invocation", "no result of another run is waited for", ("inv_1",)),
            ("sys_cancel", "no called run is cancelled", ("inv_1",)),
            ("sys_get_state", "entities have no state", ("key",)),
            ("sys_set_state", "entities keep no state", ("key", b"")),
            ("sys_clear_state", "entities forget no state", ("key",)),
        )
    ),
    Private(CONTEXT, "take_and_send_output", BODIES, ()),
    Private(CONTEXT, "request", "no body knows its run", ()),
    Private(CONTEXT, "key", "entities have no key", ()),
    Private(ReceiveChannel, "__init__", BODIES, (None,)),
    Private(ReceiveChannel, "__call__", "nothing reaches a body that waits", ()),
    Private(ReceiveChannel, "enqueue_restate_event", "no body hears that its step has ended", ({},)),
    Private(ReceiveChannel, "close", "requests that have ended leave tasks behind", ()),
    Private(SERVER, "process_invocation_to_completion", BODIES, (None, None, {}, None, None)),
    Private(SERVER, "send_discovery", "no worker is registered", ({}, None, None)),
    Private(SERVER, "send_health_check", "no worker is found healthy", (None,)),
    Private(SERVER, "send_status", "what is not the server's is not refused", (None, None, 404)),
    Private(SERVER, "PyIdentityVerifier", "requests are not verified"),
    Private(SERVER, "IdentityVerificationException", "requests are not verified"),
    Private(restate.server_types, "binary_to_header", BODIES, ([(b"a", b"b")],)),
    Private(restate.server_context, "DisconnectedException", "a lost connection is a fault of ours"),
    Private(restate.server_context, "ServerInvocationContext", BODIES),
    Private(restate.server_types, "ReceiveChannel", BODIES),
    Private(restate.vm, "VMWrapper", BODIES),
    *(
        Private(restate.vm, name, "no body hears of a result")
        for name in (
            "DoProgressAnyCompleted", "DoProgressCancelSignalReceived", "DoProgressExecuteRun", "Failure",
            "FirstCompletedUnresolvedFuture", "SingleUnresolvedFuture", "Suspended",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize("private", NAMES, ids=[f"{one.holder.__name__}.{one.name}" for one in NAMES])
def test_a_private_name_is_there_and_takes_what_it_is_given(private: Private):
    """A release of restate-sdk that lacks it, or wants other arguments, fails here with what would stop working."""
    told = f"restate-sdk {version('restate-sdk')} and {private.name}: {private.stops}. See _pump.py and _worker.py."
    found = getattr(private.holder, private.name, None)
    assert found is not None, told
    if private.given is not None:
        first = (None,) if inspect.isclass(private.holder) else ()
        try:
            inspect.signature(found).bind(*first, *private.given)
        except TypeError as exc:
            pytest.fail(f"{told} {exc}")


def test_results_and_contexts_have_the_fields_that_are_read():
    """What is read of the state machine's answers, and of a context, is kept under these names."""
    assert DoProgressExecuteRun(3).handle == 3
    assert (Failure(409, "cancelled").code, Failure(409, "cancelled").message) == (409, "cancelled")
    assert {"replayed", "handle"} <= set(inspect.signature(restate.vm.Run).parameters)
    source = inspect.getsource(ServerInvocationContext.__init__)
    assert {name for name in ("self.vm =", "self.receive =") if name not in source} == set()
    assert '"restate.run_completed"' in inspect.getsource(restate.server_context)


def test_every_private_name_has_a_case():
    """What the engine reads of the state machine, the SDK's server and its private modules is listed here."""
    listed = {one.name for one in NAMES}
    used = set[str]()
    for path in sorted(FOLDER.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in PRIVATE:
                used.update(alias.name for alias in node.names)
            elif isinstance(node, ast.Attribute) and _holder(node.value) in {"_vm", "_SDK"}:
                used.add(node.attr)
    assert used - listed == set()
    assert "sys_run" in used


def _holder(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@on_a_loop
async def test_a_listener_that_fails_while_it_is_ended_leaves_no_traceback(monkeypatch: pytest.MonkeyPatch):
    """What hypercorn fails with when its end takes too long, on a busy machine, is nobody's fault and no news."""
    told = list[Any]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def serve(*_: Any, **__: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise asyncio.InvalidStateError("Exception is not set.")

    async def hand_over() -> None: ...

    monkeypatch.setattr(_worker, "_LEAVE_S", 0.01)
    monkeypatch.setattr(_worker, "_HYPERCORN", SimpleNamespace(serve=serve))
    bodies = Bodies(Handlers().registry, Handlers().invoke, Options())
    listener = _worker.Listener(worker_address("127.0.0.1:0"), 1, bodies, {}, Options())
    listener.begin()
    await settle()
    await listener.stop(hand_over)
    del listener
    gc.collect()
    await settle()
    assert told == []
