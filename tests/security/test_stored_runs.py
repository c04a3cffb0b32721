"""Runs of workflows: what their file holds, what it never holds, and what of it is in a signal."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import otelier
from otelier import Worker, entity, function, workflow

INPUT, RESULT, PAYLOAD = "canary-input", "canary-result", "canary-payload"
STATE, MESSAGE = "canary-state", "canary-error"
AGENT, FIRST, SECOND = "canary-browser", "canary-bearer", "canary-cookie"
HEADERS = {
    "User-Agent": AGENT,
    "Authorization": f"Bearer {FIRST}",
    "Proxy-Authorization": FIRST,
    "Cookie": SECOND,
    "X-Api-Key": SECOND,
    "X-Auth-Token": SECOND,
}
notes = entity("Notes")


@notes.write
async def keep(ctx: Any, text: str):
    """Keep a text."""
    ctx.set("text", text)


@function
async def tell(ctx: Any, workflow_id: str):
    """Send the payload."""
    await ctx.signal.emit("told", PAYLOAD, target_workflow_id=workflow_id)


@workflow
async def stores(ctx: Any, text: str):
    """Store one of everything."""
    assert text == INPUT
    await ctx.step("work", lambda: RESULT)
    await ctx.entity("Notes", "n").keep(text=STATE)
    assert await ctx.signal("told") == PAYLOAD

    def fails() -> None:
        raise ValueError(MESSAGE)

    try:
        await ctx.step("fail", fails)
    except ValueError:
        return dict(ctx.headers())


async def store(path: Path) -> Any:
    """Run it on a file, for alice."""
    async with Worker("shop", modules=[stores, keep, tell], engine=f"file:{path}") as worker:
        with otelier.context(user_id="alice"):
            handle = await worker.start(stores, INPUT, workflow_id="stores-1", headers=HEADERS)
        await (await worker.start(tell, "stores-1")).result()
        result = await handle.result()
        await worker.engine.close()
        return result


def stored_in(folder: Path) -> bytes:
    """All bytes that the files of a folder have."""
    return b"".join(file.read_bytes() for file in folder.iterdir())


def test_what_the_file_holds(tmp_path, otelier_spans):
    """The file has inputs, results, errors, payloads, state, fields and headers in clear text."""
    asyncio.run(store(tmp_path / "runs.db"))
    held = stored_in(tmp_path)
    for one in (INPUT, RESULT, PAYLOAD, STATE, MESSAGE, AGENT, "alice"):
        assert one.encode() in held


def test_what_the_file_never_holds(tmp_path, otelier_spans):
    """Headers that authorise, and those that look like secrets, are neither stored nor given to the body."""
    assert asyncio.run(store(tmp_path / "runs.db")) == {"user-agent": AGENT}
    held = stored_in(tmp_path)
    assert FIRST.encode() not in held
    assert SECOND.encode() not in held


@pytest.mark.parametrize("one", [INPUT, RESULT, PAYLOAD, STATE, MESSAGE, AGENT, FIRST, SECOND])
def test_what_a_run_holds_is_in_no_signal(tmp_path, otelier_spans, one):
    """With content off, no input, result, payload, state, header or error message of a run is in a signal."""
    asyncio.run(store(tmp_path / "runs.db"))
    assert len(otelier_spans.records) >= 7
    for signal in (*otelier_spans.records, *otelier_spans.logs, *otelier_spans.metrics().items()):
        assert one not in repr(signal)


def test_names_are_in_signals(tmp_path, otelier_spans):
    """Names of workflows, steps and signals, and workflow ids, are on spans: they are to hold no user's data."""
    asyncio.run(store(tmp_path / "runs.db"))
    shown = {span.name for span in otelier_spans.records}
    assert {"invoke_workflow stores", "run_step work", "wait_signal told", "emit_signal told"} <= shown
    assert "stores-1" in {span.attributes.get("otelier.run.id") for span in otelier_spans.records}
