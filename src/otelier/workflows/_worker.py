"""Workers: processes that run handlers, and the handles of runs that are started there."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any, ClassVar, Final, cast
from uuid import uuid4

from typing_extensions import Self

from otelier.errors import StreamElsewhere, WorkflowUseError
from otelier.faults import read_setting
from otelier.settings import ENGINE
from otelier.workflows._approvals import KINDS, invoke_approvals
from otelier.workflows._body import CURRENT_BODY, CURRENT_STEP, Body
from otelier.workflows._checks import checked_count, checked_engine, checked_name, checked_seconds, checked_service
from otelier.workflows._context import Context
from otelier.workflows._handlers import Handler, read_error
from otelier.workflows._headers import start_headers
from otelier.workflows._host import Host
from otelier.workflows._payloads import read_limit
from otelier.workflows._points import worker_entered
from otelier.workflows._registration import handlers_in
from otelier.workflows._threads import Threads
from otelier.workflows._trace import link_caller, span_name
from otelier.workflows._waits import result_of, stream_in_body
from otelier.workflows.engines import open_engine
from otelier.workflows.engines.protocol import APPROVALS, Engine, Json, Kind, Outcome, Registry, Run, Target

_THREADS: Final = 32


class RunHandle:
    """A run that was started, or that is known by its id.

    Example:
        >>> import asyncio
        >>> from otelier import Worker, workflow
        >>> @workflow
        ... async def order(ctx, order_id: str):
        ...     return f"sent {order_id}"
        >>> async def main():
        ...     async with Worker("shop", modules=[order], engine="memory:") as worker:
        ...         handle = await worker.start(order, "o-1", workflow_id="order-1")
        ...         return handle, await handle.result(timeout_s=60)
        >>> asyncio.run(main())
        (<RunHandle of order-1>, 'sent o-1')
    """

    def __init__(self, engine: Engine, workflow_id: str, handler: Handler | None, host: Host | None) -> None:
        self._engine = engine
        self._handler = handler
        self._host = host
        self.workflow_id: Final = workflow_id
        """Its workflow id."""

    def __repr__(self) -> str:
        return f"<RunHandle of {self.workflow_id}>"

    async def result(self, timeout_s: float | None = None) -> Any:
        """Wait for its end, and return its result, with its type where the handler is known here.

        In the body of a run that is recorded, so a replay gets the same one.

        Args:
            timeout_s: Seconds to wait; `None` waits until it ends.

        Raises:
            TimeoutError: if it has not ended by then; it goes on.
            StepError: if it failed with an error whose class is not known here, or was cancelled; else that error.
        """
        if (body := _body_here()) is not None:
            make = partial(body.run.result, self.workflow_id)
            return await result_of(body, make, self.workflow_id, self._handler, timeout_s)
        seconds = None if timeout_s is None else checked_seconds(timeout_s, "timeout_s")
        succeeded, value = await self._engine.result(self.workflow_id, seconds)
        if succeeded:
            return value if self._handler is None else self._handler.typed_result(value)
        raise read_error(value, () if self._handler is None else (self._handler,))

    async def stream(self) -> AsyncIterator[Any]:
        """Yield what its handler yields, from now on, as it comes.

        Raises:
            StreamElsewhere: if the run's body is not in this process, and in the body of another run.
        """
        if _body_here() is not None:
            raise stream_in_body(self.workflow_id)
        host = self._host
        if host is None or self._handler is None or not self._handler.yields:
            raise StreamElsewhere(
                f"What {self.workflow_id} yields cannot be read here: its body is in another process, or yields "
                f"nothing. Wait for `result()`, the list of what it yielded."
            )
        queue: asyncio.Queue[tuple[int, Any] | None] = asyncio.Queue()
        readers = host.streams.setdefault(self.workflow_id, [])
        readers.append(queue)
        end = asyncio.ensure_future(self.result())

        def ended(_: asyncio.Future[Any]) -> None:
            queue.put_nowait(None)
            if not end.cancelled():
                end.exception()  # raised below, unless nobody reads so far

        end.add_done_callback(ended)
        number = 0
        try:
            while (item := await queue.get()) is not None:
                place, value = item
                if place == number:  # a body that runs again yields the same once more
                    number += 1
                    yield value
            for value in (await end)[number:]:
                yield value
        finally:
            end.cancel()
            readers.remove(queue)
            if not readers:
                host.streams.pop(self.workflow_id, None)


def _body_here() -> Body | None:
    """Return the body whose code calls this; `None` outside of bodies and in steps, which are live."""
    return CURRENT_BODY.get() if CURRENT_STEP.get() is None else None


def started_id(workflow_id: str | None) -> str:
    """Return the id of a run that is started here: the one that is given, else a new one.

    Raises:
        WorkflowUseError: if none is given in the body of a run, each life of which would start another one.
    """
    if workflow_id is not None:
        return checked_name(workflow_id, "a workflow id")
    if (body := _body_here()) is not None:
        raise WorkflowUseError(
            f"A run is started in the body of {body.handler.name} without an id: each replay would start one more. Use "
            f"`ctx.spawn`, which is recorded, or give `workflow_id=`."
        )
    return uuid4().hex


class Worker:
    """Runs handlers: `async with Worker("orders", modules=[orders]) as worker:` serves them until the block ends.

    Args:
        service_name: Service of the handlers that name none.
        modules: Modules with handlers, by themselves or as text, or handlers and classes of entities. Without any, the
            module that makes the worker. A text `module:service` gives the handlers there that name no service this
            one.
        engine: Where runs are kept: `memory:`, `file:PATH`, `restate://HOST`, or an engine; `None` is `OTELIER_ENGINE`.
        version: Version of this code. New runs get it, and `ctx.version` is that of the worker that started a run.

    Raises:
        WorkflowUseError: if two handlers have one name.

    Example:
        >>> import asyncio
        >>> from otelier import Worker, workflow
        >>> @workflow
        ... async def greet(ctx, name: str):
        ...     return f"Hello {name}"
        >>> async def main():
        ...     async with Worker("greetings", modules=[greet], engine="memory:") as worker:
        ...         handle = await worker.start(greet, "Ada")
        ...         return await handle.result()
        >>> asyncio.run(main())
        'Hello Ada'
    """

    _is_direct: ClassVar = False
    """Whether it serves a handler that was called as a function, outside of a run."""

    def __init__(
        self,
        service_name: str,
        *,
        modules: Sequence[ModuleType | str | Handler | type] = (),
        engine: str | Engine | None = None,
        version: int = 1,
    ) -> None:
        self.service_name = checked_service(service_name)
        self.version = checked_count(version, "version")
        given = modules or (inspect.stack(0)[1].frame.f_globals["__name__"],)
        self._handlers = handlers_in(given, self.service_name)
        if not self._handlers:
            raise WorkflowUseError(
                f"Worker {service_name!r} has nothing to run: none of its modules has a handler. Decorate functions "
                f"with `@workflow`, `@function` or `@entity.write`, and name their module in `modules=`."
            )
        self._given: str | Engine | None = checked_engine(engine)
        self._pool = Threads(_THREADS, "otelier-step")
        self._host = Host(self.service_name, self._handlers, self._call_in_thread, Context, self._is_direct)
        self._engine: Engine | None = None
        self._serving: asyncio.Task[None] | None = None
        self._is_over = False

    @property
    def handlers(self) -> Mapping[tuple[str, str], Handler]:
        """What it runs, by service and name."""
        return dict(self._handlers)

    @property
    def engine(self) -> Engine:
        """The engine that keeps its runs.

        Raises:
            WorkflowUseError: before `async with`.
        """
        if self._engine is None:
            raise WorkflowUseError(f"Worker {self.service_name!r} is not at work: use it in `async with`.")
        return self._engine

    async def __aenter__(self) -> Self:
        if self._serving is not None or self._is_over:
            what = "has ended its work" if self._is_over else "is at work already"
            raise WorkflowUseError(f"Worker {self.service_name!r} {what}: make another one.")
        read_limit()
        engine = self._given
        self._engine = (
            open_engine(read_setting(ENGINE, engine)) if engine is None or isinstance(engine, str) else engine
        )
        kinds: dict[tuple[str, str], Kind] = {place: handler.kind for place, handler in self._handlers.items()}
        limits = {place: one.timeout_s for place, one in self._handlers.items() if one.timeout_s is not None}
        ready = asyncio.Event()
        self._serving = asyncio.create_task(
            self._engine.serve(Registry(kinds | KINDS, self.version, limits), self._invoke, ready.set),
            name="otelier-worker",
        )
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait((self._serving, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._serving.done():
            serving, self._serving = self._serving, None
            serving.result()
        elif not self._is_direct:
            worker_entered(self._engine)
        return self

    async def __aexit__(self, *_: object) -> None:
        from otelier.telemetry import flush

        serving, self._serving, self._engine = self._serving, None, None
        self._is_over = True
        try:
            if serving is not None:
                await _ended(serving)
        finally:
            self._pool.close()
        if not self._is_direct:
            await asyncio.to_thread(flush)

    async def wait(self) -> None:
        """Wait for as long as it serves, and raise what ended that; `async with` ends it in order.

        Raises:
            EngineError: if the file cannot be used any more.
        """
        if self._serving is not None:
            await asyncio.wait((self._serving,))
            self._serving.result()

    async def start(
        self,
        handler: Handler,
        *args: Any,
        workflow_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> RunHandle:
        """Start a run, and return its handle.

        Args:
            handler: A workflow or a function of this worker.
            *args: Its arguments, without the context.
            workflow_id: Its id. A run of that id with this handler and input is taken as it is, and the span that is
                current here has a link to it; `None` makes an id.
            headers: What `ctx.headers()` returns there, such as those of a request; what authorises is dropped.
            **kwargs: Its arguments by name.

        Raises:
            RunExistsError: if a run of that id has another handler or input.
            TypeError: if the arguments do not fit.
            CodecError: if one of them has no form in JSON.
            WorkflowUseError: if this worker does not have the handler, or in a body without *workflow_id*.
        """
        if not isinstance(cast("Any", handler), Handler) or handler.kind in ("write", "read"):
            raise TypeError(f"Cannot start {handler!r}: give a function decorated with `@workflow` or `@function`.")
        run_id = started_id(workflow_id)
        target = Target(handler.service or self.service_name, handler.name)
        if self._handlers.get((target.service, target.handler)) is None:
            raise WorkflowUseError(
                f"Worker {self.service_name!r} does not have {handler.kind} {handler.name}, and would never run it. "
                f"Name its module in `modules=`."
            )
        payload = handler.input_of(args, kwargs)
        stored = start_headers(headers, run_id, span_name(handler.kind, handler.name))
        link_caller(run_id, stored, await self.engine.start(target, payload, stored, run_id=run_id))
        return RunHandle(self.engine, run_id, handler, self._host)

    async def _invoke(self, run: Run, target: Target, payload: Json) -> Outcome:
        if target.service == APPROVALS:
            return await invoke_approvals(run, target, payload)
        handler = self._handlers[target.service, target.handler]
        return await Body(self._host, run, handler, payload).outcome(payload)

    def _call_in_thread(self, function: Callable[[], Any]) -> Awaitable[Any]:
        context = contextvars.copy_context()
        return self._pool.call(partial(context.run, function))


async def _ended(serving: asyncio.Task[None]) -> None:
    """Cancel a task, wait for its end, and raise what it failed with."""
    serving.cancel()
    try:
        await asyncio.wait((serving,))
    except asyncio.CancelledError:  # who leaves the worker is cancelled: steps get no more time
        serving.cancel()
        await asyncio.wait((serving,))
        raise
    if not serving.cancelled():
        serving.result()
