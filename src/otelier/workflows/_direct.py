"""Handlers that are called as functions: inside the body of a run, or outside of one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from otelier.errors import WorkflowUseError
from otelier.workflows._body import CURRENT_BODY, Body
from otelier.workflows._context import Context
from otelier.workflows._handlers import Handler, be_called_by
from otelier.workflows._registration import handlers_beside
from otelier.workflows._worker import Worker
from otelier.workflows.engines import fresh_engine


def call_handler(handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what calling *handler* gives: a coroutine, or an async iterator where it yields."""
    body = CURRENT_BODY.get()
    if args and isinstance(args[0], Context):
        ctx, args = args[0], args[1:]
    elif body is not None:
        ctx = Context(body)
    else:
        return _streamed(handler, args, kwargs) if handler.yields else _run(handler, args, kwargs)
    return _inline(ctx, handler, args, kwargs)


def _inline(ctx: Context, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    body: Body = ctx._body  # pyright: ignore[reportPrivateUsage] -- of this package's own class
    if handler.kind in ("write", "read"):
        kind, _, method = handler.name.partition(".")
        raise WorkflowUseError(
            f"{handler.name} was called in the body of {body.handler.name}: an entity has one writer at a time, and "
            f"state by key. Call it by `ctx.entity({kind!r}, key).{method}(...)`."
        )
    body.check(f"{handler.name}(...)")
    if handler.yields:
        return handler.call(ctx, args, kwargs)

    async def awaited(_: Handler, coroutine: Any) -> Any:
        return await coroutine

    return body.attempts(ctx, handler, lambda: (args, kwargs), awaited)


async def _run(handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    async with _worker(handler) as worker:
        return await (await worker.start(handler, *args, **kwargs)).result()


async def _streamed(handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncIterator[Any]:
    async with _worker(handler) as worker:
        async for item in (await worker.start(handler, *args, **kwargs)).stream():
            yield item


class _DirectWorker(Worker):
    _is_direct = True


@asynccontextmanager
async def _worker(handler: Handler) -> AsyncGenerator[Worker]:
    """Serve every handler of this process on an engine of its own in memory."""
    if handler.kind in ("write", "read"):
        raise WorkflowUseError(
            f"{handler.name} has a key, and was called outside of a run. Call it in a workflow, by "
            f"`ctx.entity(type, key)`."
        )
    engine = fresh_engine()
    try:
        async with _DirectWorker(
            handler.service or handler.__module__, modules=handlers_beside(handler), engine=engine
        ) as worker:
            yield worker
    finally:
        await engine.close()


be_called_by(call_handler)
