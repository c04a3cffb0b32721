"""The context of a body, `ctx`: all that a workflow, a function or an entity's method may ask for."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from typing_extensions import TypeVar

from otelier.errors import WorkflowUseError
from otelier.workflows._body import CURRENT_STEP, Body
from otelier.workflows._calls import Call
from otelier.workflows._checks import checked_count, checked_name, checked_seconds, checked_service
from otelier.workflows._configuration import Config, Secrets
from otelier.workflows._handlers import Handler
from otelier.workflows._human import Human
from otelier.workflows._llm import Models, RunTools
from otelier.workflows._observability import RunLogger, RunMetrics, Tracing
from otelier.workflows._parallel import make_parallel, named
from otelier.workflows._payloads import to_payload
from otelier.workflows._steps import make_step
from otelier.workflows._waits import EntityProxy, Handle, Signals, call_target, make_timer, wait_for
from otelier.workflows.engines.protocol import Target

if TYPE_CHECKING:
    from pydantic import BaseModel

    from otelier.agents import Agent, AgentResult, RunContext

AgentOutput = TypeVar("AgentOutput", bound="BaseModel | str", default=str)
_MISSING: Final = object()


class Context:
    """What a body asks its engine for: steps, tasks, waits, state, and the facts of its run.

    A worker makes it, and gives it to each handler as the first parameter. Calls that return a `Call` do nothing
    before they are waited for, by `await`, `parallel` or `gather`.

    Example:
        >>> import asyncio
        >>> from otelier import workflow
        >>> @workflow
        ... async def order(ctx, order_id: str):
        ...     return await ctx.step("charge", lambda: f"charged {order_id}")
        >>> asyncio.run(order("o-1"))
        'charged o-1'
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self.signal: Final = Signals(body)
        """Waits for a signal: `await ctx.signal(name)`; `await ctx.signal.emit(name, payload)` sends one."""
        self.human: Final = Human(body)
        """Asks a person: `await ctx.human.approval(name)`."""
        self.llm: Final = Models(body)
        """Asks models: `await ctx.llm.generate(prompt=..., model=...)`, `await ctx.llm.stream(...)`."""
        self.tools: Final = RunTools(body)
        """Tools for models: `ctx.tools.register(name, handler)`, and `await ctx.tools.handler(name)(...)`."""

    def __repr__(self) -> str:
        return f"<Context of {self._body.handler.name} in {self.run_id}>"

    # --- facts ---------------------------------------------------------------------------------------------------
    @property
    def run_id(self) -> str:
        """The workflow id of this run."""
        return self._body.run.id

    @property
    def step_id(self) -> str | None:
        """Id of the step that is executed, the same in every attempt and every life; `None` outside of steps."""
        scope = CURRENT_STEP.get()
        return None if scope is None else scope.step_id

    @property
    def attempt(self) -> int:
        """Number of the attempt, from 1: in a step with `retries` its own, else that of the handler."""
        scope = CURRENT_STEP.get()
        return self._body.attempt if scope is None else scope.attempt

    @property
    def component_type(self) -> str:
        """`workflow`, `function` or `entity`."""
        kind = self._body.handler.kind
        return "entity" if kind in ("write", "read") else kind

    @property
    def object_id(self) -> str | None:
        """Key of the entity; `None` in workflows and functions."""
        return self._body.run.target.key

    @property
    def method_name(self) -> str | None:
        """Name of the entity's method; `None` in workflows and functions."""
        return self._body.handler.name.partition(".")[2] if self.component_type == "entity" else None

    @property
    def version(self) -> int:
        """Version of the worker that started this run: new code branches on it for runs that are still open."""
        return self._body.run.version

    @property
    def replaying(self) -> bool:
        """Whether an earlier life of this body has been here: what it reported is not to be reported again."""
        return self._body.run.replaying()

    @property
    def idempotency_key(self) -> str:
        """Key of the step that is executed, the same whenever it is executed again: give it to whoever is called.

        Raises:
            WorkflowUseError: outside of a step.
        """
        scope = CURRENT_STEP.get()
        if scope is None:
            raise WorkflowUseError(
                "`ctx.idempotency_key` belongs to a step, which may be executed twice: read it inside the function "
                "that `ctx.step` is given."
            )
        return f"{self.run_id}:{scope.step_id}"

    def headers(self) -> Mapping[str, str]:
        """Return the headers that the run was started with; keys are found in any case."""
        return self._body.spans.headers

    # --- observability and configuration -------------------------------------------------------------------------
    def log(self) -> RunLogger:
        """Return a logger for this run: silent where an earlier life of the body has logged."""
        return RunLogger(self._body)

    def metrics(self) -> RunMetrics:
        """Return what records metrics: `increment(name)` and `observe(name, value)`, once for all lives."""
        return RunMetrics(self._body)

    def trace_span(self) -> Tracing:
        """Return what opens spans: `with ctx.trace_span().start(name):`."""
        return Tracing(self._body)

    def secrets(self) -> Secrets:
        """Return what reads secrets: `ctx.secrets().get("openai_api_key")`."""
        return Secrets()

    def config(self) -> Config:
        """Return what reads flags and values: `ctx.config().get(key, default=...)`, `.variant(key, default=...)`."""
        return Config(self._body)

    # --- orchestration -------------------------------------------------------------------------------------------
    def step(
        self,
        name: str,
        fn: Callable[[], Any],
        *,
        timeout_s: float | None = None,
        retries: int = 0,
        backoff: float = 1.0,
    ) -> Call[Any]:
        """Do something once, and record its result: at least once, until that is recorded.

        Args:
            name: Names the step; the second of a name is `{name}#2`.
            fn: What to do. A coroutine function runs on the event loop, any other in a thread.
            timeout_s: Seconds that an attempt may take; `None` for no limit.
            retries: How often it is tried again after a failure.
            backoff: Seconds before the first retry; each later one waits twice as long.

        Returns:
            A call whose value is what *fn* returned, as JSON holds it, or as *fn* is annotated.

        Raises:
            TypeError: if *fn* cannot be called.
            ValueError: if a time is negative or infinite.
            WorkflowUseError: inside another step, or in another task than the body's.
        """
        checked_name(name, "a step's name")
        if not callable(fn):
            raise TypeError(
                f"ctx.step({name!r}) was given a {type(fn).__name__}: give the function itself, or "
                f"`lambda: function(argument)`, so that a replay need not call it."
            )
        self._body.check(f"ctx.step({name!r})")
        return make_step(
            self._body,
            name,
            fn,
            timeout_s=None if timeout_s is None else checked_seconds(timeout_s, "timeout_s"),
            retries=checked_count(retries, "retries"),
            backoff=checked_seconds(backoff, "backoff"),
        )

    def task(self, service_name: str, handler_name: str, input: Any = None) -> Call[Any]:
        """Run a handler of a service, and wait for its result.

        Args:
            service_name: Name of the service.
            handler_name: Name of a workflow or a function there.
            input: A dict whose keys fit its parameters is passed by name, anything else as the one argument.

        Raises:
            CodecError: if *input* has no form in JSON.
            WorkflowUseError: inside a step, or in another task than the body's.
        """
        given = cast("Any", service_name)
        if isinstance(given, Handler):
            raise TypeError(
                f"ctx.task was given the handler {given.name!r}: give the names of its service and of it, "
                f"`ctx.task('SERVICE', {given.name!r}, input)`, or call it in this body: `{given.name}(ctx, ...)`."
            )
        service = checked_service(service_name)
        target = Target(
            self._body.host.service_of(service, handler_name), checked_name(handler_name, "a handler's name")
        )
        self._body.check(f"ctx.task({service_name!r}, {handler_name!r})")
        return call_target(self._body, target, to_payload(input, what=f"the input of {handler_name}"))

    async def agent(
        self,
        agent: Agent[AgentOutput],
        query: str | Sequence[Mapping[str, Any]],
        *,
        context: RunContext | Mapping[str, Any] | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> AgentResult[AgentOutput]:
        """Run an agent: each of its thoughts and each of its tools' calls is a step, recorded when it is done.

        After a crash it goes on where it was: an answer that was received is not asked for again, and no tool is
        called again but those that were cut. Arguments, result, limits and spans are those of `Agent.run`. Agents that
        it delegates to run inside the step of that call, live.

        Of the interceptors' `state`, text and interceptors may be keys, and what JSON holds may be values. Changes of
        the context that tools make are not recorded.

        Raises:
            CodecError: if something that is to be recorded has no form in JSON.
            WorkflowUseError: inside a step, or in another task than the body's, as in `ctx.parallel`: spawn a function
                for each of several agents at once.
            Exception: what the run raises; where its class cannot be made again, a `StepError`.
        """
        from otelier.workflows._agents import run_agent

        return await run_agent(self._body, agent, query, context=context, messages=messages, settings=settings)

    def spawn(self, fn: Handler, *args: Any, key: str | None = None, **kwargs: Any) -> Handle:
        """Start a handler, and go on at once.

        Args:
            fn: A workflow or a function of this worker.
            *args: Its arguments, without the context.
            key: Makes its workflow id, `{run}.{key}`: a second child with it is the same one. `None` numbers it.
            **kwargs: Its arguments by name.

        Returns:
            A handle: `await handle.result()` waits for the result.

        Raises:
            TypeError: if *fn* is no handler, or the arguments do not fit it.
            WorkflowUseError: inside a step, or in another task than the body's.
        """
        if not isinstance(cast("Any", fn), Handler) or fn.kind in ("write", "read"):
            raise TypeError(
                f"ctx.spawn was given {fn!r}: give a function decorated with `@workflow` or `@function`. "
                f"`ctx.step` does other functions, `ctx.entity` calls entities."
            )
        self._body.check(f"ctx.spawn({fn.name})")
        target = Target(fn.service or self._body.host.service, fn.name)
        run_id = self._body.child_id(None if key is None else checked_name(key, "`key`"), fn.name)
        return Handle(self._body, target, fn.input_of(args, kwargs), run_id, fn)

    def parallel(
        self,
        *calls: Call[Any],
        max_concurrency: int | None = None,
        return_exceptions: bool = False,
        timeout_s: float | None = None,
    ) -> Call[list[Any]]:
        """Wait for several calls side by side, and return their values in their order.

        After a failure nothing more begins, tasks are cancelled, and steps that run end; then the failure is raised,
        several as an `ExceptionGroup`.

        Args:
            *calls: What `ctx.step`, `ctx.task` and the others return.
            max_concurrency: How many go on at once; `None` for all.
            return_exceptions: Let failures stand among the values.
            timeout_s: Seconds for all of them; `None` for no limit.
        """
        return make_parallel(self._body, "ctx.parallel", calls, max_concurrency, return_exceptions, timeout_s)

    def gather(
        self,
        *,
        max_concurrency: int | None = None,
        return_exceptions: bool = False,
        timeout_s: float | None = None,
        **calls: Call[Any],
    ) -> Call[dict[str, Any]]:
        """Wait for several calls side by side, and return their values by name; else as `parallel`."""
        given = list(calls.values())
        inner = make_parallel(self._body, "ctx.gather", given, max_concurrency, return_exceptions, timeout_s)
        return Call(self._body, "ctx.gather", named(list(calls), inner.taken()))

    # --- waits ---------------------------------------------------------------------------------------------------
    def sleep(self, seconds: float) -> Call[None]:
        """Wait for some seconds, also over a crash."""
        seconds = checked_seconds(seconds, "seconds")
        self._body.check("ctx.sleep")
        return wait_for(self._body, self._body.run.sleep(seconds), "ctx.sleep", "timer")

    def timer(self, delay_ms: float | None = None, *, cron: str | None = None, tz: str = "UTC") -> Call[None]:
        """Wait for some milliseconds, or until the next time that a cron line names.

        Args:
            delay_ms: Milliseconds.
            cron: Five fields, such as `0 0 * * *` for midnight; needs the extra `workflows`.
            tz: Time zone of *cron*.

        Raises:
            TypeError: if not one of both is given.
            ValueError: if *cron* or *tz* cannot be read.
            MissingExtraError: if *cron* is given and the extra is not installed.
        """
        return make_timer(self._body, delay_ms, cron, tz)

    # --- state of entities ---------------------------------------------------------------------------------------
    def get(self, key: str, default: Any = None) -> Awaitable[Any]:
        """Return a value of the entity's state, *default* where there is none; changing it changes no state.

        Raises:
            WorkflowUseError: outside of entities, inside a step, or in another task than the body's.
        """
        self._entity(f"ctx.get({key!r})")
        return self._value_of(checked_name(key, "a key of state"), default)

    async def _value_of(self, key: str, default: Any) -> Any:
        held = self._body.changes.get(key, _MISSING)
        if held is _MISSING:
            held = await self._body.run.get(key)
        return default if held is None else copy.deepcopy(held[0])

    def set(self, key: str, value: Any) -> None:
        """Set a value of the entity's state; it is saved when the method succeeds.

        Raises:
            CodecError: if it has no form in JSON.
            WorkflowUseError: in a method that reads, inside a step, or in another task than the body's.
        """
        self._writing(f"ctx.set({key!r})")
        # In a list, since `None` is a value, too.
        self._body.changes[checked_name(key, "a key of state")] = [to_payload(value, what=f"the state {key!r}")]

    def delete(self, key: str) -> None:
        """Remove a value from the entity's state, if there is one; it is saved when the method succeeds."""
        self._writing(f"ctx.delete({key!r})")
        self._body.changes[checked_name(key, "a key of state")] = None

    def entity(self, type: str, key: str) -> EntityProxy:
        """Return the entity of a type and key: `await ctx.entity("Counter", "k").add(1)` calls its method."""
        return EntityProxy(
            self._body, checked_name(type, "an entity's type"), checked_name(str(key), "an entity's key")
        )

    def _entity(self, what: str) -> None:
        if self.component_type != "entity":
            raise WorkflowUseError(
                f"{what} stands in the {self._body.handler.kind} {self._body.handler.name}, which has no state. Put "
                f"it into a method of an entity, and call that by `ctx.entity(type, key)`."
            )
        self._body.check(what)

    def _writing(self, what: str) -> None:
        self._entity(what)
        if self._body.handler.kind == "read":
            raise WorkflowUseError(
                f"{what} stands in {self._body.handler.name}, which only reads. Decorate it with `write`."
            )
