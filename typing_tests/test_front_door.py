"""What a type checker makes of the public names; read by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from typing_extensions import assert_type

import otelier
from otelier.settings import APP, DISABLED, Setting, all_settings

# --- fields: set, read, clear ---
assert_type(otelier.set_context(user_id="u-1", agent=None), None)
assert_type(otelier.clear_context(), None)
assert_type(otelier.get_context(), otelier.CallContext)
assert_type(otelier.get_context().user_id, str | None)
assert_type(otelier.get_context().workflow_id, str | None)
assert_type(otelier.get_context().tenant_id, str | None)
assert_type(otelier.get_agent(), otelier.AgentIdentity)
assert_type(otelier.get_agent().source, str | None)
otelier.set_context(user_id=7)
otelier.set_context(user_id=7.5)  # type: ignore[arg-type]
otelier.set_context("u-1")  # type: ignore[call-arg]
otelier.set_context(user="u-1")  # type: ignore[call-arg]
otelier.get_context().user_id = "u-2"  # type: ignore[misc]


# --- context(): a block, and a decorator that keeps the signature ---
with otelier.context(user_id="u-1", session_id="s-1") as nothing:
    assert_type(nothing, None)


@otelier.context(agent="triage")
def plain(amount: int, *, note: str = "") -> str:
    return note * amount


@otelier.context(agent="triage")
async def coroutine(amount: int) -> bytes:
    return bytes(amount)


@otelier.context(agent="triage")
def generator(amount: int) -> Iterator[int]:
    yield amount


@otelier.context(agent="triage")
async def async_generator(amount: int) -> AsyncIterator[int]:
    yield amount


assert_type(plain(2, note="a"), str)
assert_type(generator(2), Iterator[int])
assert_type(async_generator(2), AsyncIterator[int])
plain("2")  # type: ignore[arg-type]
otelier.context(team="blue")  # type: ignore[call-arg]

# --- propagate keeps the signature, also of async functions ---
assert_type(otelier.propagate(plain)(2), str)
bound: Callable[[int], Awaitable[bytes]] = otelier.propagate(coroutine)
otelier.propagate(7)  # type: ignore[arg-type]


async def awaited() -> None:
    assert_type(await coroutine(2), bytes)
    assert_type(await otelier.propagate(coroutine)(2), bytes)
    async for number in async_generator(2):
        assert_type(number, int)


# --- set-up ---
assert_type(otelier.init(app="orchestrator", env="production"), None)
assert_type(otelier.init("orchestrator"), None)
assert_type(otelier.activate(), None)
assert_type(otelier.flush(timeout_s=2.5), bool)
assert_type(otelier.shutdown(), None)
otelier.init(app=7)  # type: ignore[arg-type]

# --- settings ---
assert_type(DISABLED, Setting[bool])
assert_type(DISABLED.value(), bool)
assert_type(APP.value(), str | None)
assert_type(all_settings(), Iterator[Setting[object]])
