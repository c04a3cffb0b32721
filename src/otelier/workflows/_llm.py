"""Models and tools of a body: each answer and each call of a tool is one step, and so is paid for once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, cast

from otelier import llm, names
from otelier.workflows._body import CURRENT_STEP, Body
from otelier.workflows._calls import Call
from otelier.workflows._payloads import to_payload
from otelier.workflows._steps import make_step
from otelier.workflows._streams import StreamCall, open_stream
from otelier.workflows.engines.protocol import Json

_GENERATE = "llm.generate"
_STREAM = "llm.stream"


class Models:
    """Asks models: `await ctx.llm.generate(...)` is one step, `async for chunk in await ctx.llm.stream(...)` too.

    Inside a step both are what `otelier.llm.generate` and `otelier.llm.stream` are.
    """

    def __init__(self, body: Body) -> None:
        self._body = body

    def generate(
        self,
        prompt: str | Iterable[Mapping[str, Any]] | None = None,
        model: str | None = None,
        *,
        schema: Any = None,
        tools: Any = None,
        **options: Any,
    ) -> Call[llm.Answer[Any]]:
        """Ask a model, and return its answer: a run that is resumed gets it again without asking.

        Args:
            prompt: A question, or messages as chat completions have them.
            model: The model that is to answer.
            schema: What `object` of the answer is to be: a pydantic model class, or a JSON schema.
            tools: Tools that `ctx.tools.register` returned, `ctx.tools` itself, or whatever else `otelier.llm.generate`
                takes.
            options: Whatever else `otelier.llm.generate` takes: `messages`, `client`, `temperature`, `timeout`.

        Raises:
            AnswerError: when waited for, as `otelier.llm.generate` does; a `StepError` of that type where the class is
                not imported in the handler's module. So are errors of the client.
            WorkflowUseError: in another task than the body's.
        """
        asked = _request(prompt, model, schema, tools, options)
        ask = functools.partial(llm.generate, **asked)
        if CURRENT_STEP.get() is not None:
            return cast("Call[llm.Answer[Any]]", ask())
        self._body.check("ctx.llm.generate")
        return make_step(
            self._body, _GENERATE, ask, timeout_s=None, retries=0, backoff=1.0, dump=_stored,
            load=functools.partial(llm.Answer.from_json, schema=schema),
        )  # fmt: skip

    def stream(
        self,
        prompt: str | Iterable[Mapping[str, Any]] | None = None,
        model: str | None = None,
        *,
        schema: Any = None,
        tools: Any = None,
        **options: Any,
    ) -> StreamCall:
        """Ask a model, and return its answer as it comes; a replay yields the same chunks, without asking.

        Until the loop over it has ended the body does nothing else of the context. A loop that is left early ends the
        step: what was read is recorded, and nothing more.

        Args:
            prompt: As for `generate`, like all other arguments.
            model: The model that is to answer.
            schema: What `object` of the collected answer is to be.
            tools: Tools that the model may call.
            options: Whatever else `otelier.llm.stream` takes.

        Raises:
            WorkflowUseError: in another task than the body's.
        """
        asked = _request(prompt, model, schema, tools, options)
        ask = functools.partial(llm.stream, **asked)
        if CURRENT_STEP.get() is not None:
            return cast("StreamCall", ask())
        self._body.check("ctx.llm.stream")
        return open_stream(self._body, _STREAM, ask, schema)


def _request(prompt: Any, model: str | None, schema: Any, tools: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments as they are now: they are used when the step is waited for."""
    given = {"prompt": prompt, "schema": schema, "tools": tools, **options}
    kept = {
        name: list(cast("Iterable[Any]", value)) if isinstance(value, (list, llm.Tools)) else value
        for name, value in given.items()
        if value is not None or name in options
    }
    return {**kept, "model": model}


def _stored(answer: llm.Answer[Any]) -> Json:
    return to_payload(answer.to_json(), what="the answer of a model")


class RunTools(llm.Tools):
    """Tools of a run: `register` adds one, and a call of what `handler` returns is one step.

    Tools are code: a body registers them anew each time it runs.
    """

    def __init__(self, body: Body) -> None:
        super().__init__()
        self._body = body

    def handler(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Return an async function that calls the handler registered under *name*, in a step of that name.

        Raises:
            UnknownToolError: if there is none; models make names up.
        """
        handler = super().handler(name)

        def call(*args: Any, **kwargs: Any) -> Awaitable[Any]:
            bound = functools.partial(handler, *args, **kwargs)
            if CURRENT_STEP.get() is not None:
                return self._called(bound)
            self._body.check(f"ctx.tools.handler({name!r})")
            attributes = {names.TOOL_NAME: name}
            return make_step(
                self._body, name, bound, timeout_s=None, retries=0, backoff=1.0, attributes=attributes
            )  # fmt: skip

        return call

    async def _called(self, bound: functools.partial[Any]) -> Any:
        """Call it as a step would: what blocks, in a thread."""
        if inspect.iscoroutinefunction(bound.func):
            return await bound()
        value = await self._body.host.call_in_thread(bound)
        return await value if inspect.isawaitable(value) else value
