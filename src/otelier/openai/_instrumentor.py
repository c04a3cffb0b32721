"""The OpenAI instrumentation: wrappers around the client's methods, the places they are put, and the switch.

The client's method runs exactly once, whatever happens in a wrapper.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, Protocol, cast

from opentelemetry.context import get_current
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from otelier.faults import on_fork, on_reset, report_fault
from otelier.openai._call import Call
from otelier.openai._coexistence import (
    DeferredCall,
    is_suppressed,
    nobody_else_reports,
    package_in,
    reporter,
    when_covered,
)
from otelier.openai._telemetry import Telemetry, make_telemetry, switch
from otelier.openai.operations._operation import (
    CHAT,
    EMBEDDINGS,
    FETCH,
    IMAGES,
    RESPONSES,
    SPEECHES,
    TEXT_COMPLETION,
    TRANSCRIPTS,
    Operation,
)
from otelier.openai.reading._fields import Arguments, is_left_to_caller
from otelier.openai.streams._body import follow_unread
from otelier.openai.streams._follow import ask_for_usage, exit_block, follow
from otelier.patches import Patches, PatchPoint, Wrapper, is_patch
from otelier.settings import patches_allowed


class StartedCall(Protocol):
    """A call between its start and its end, whoever reports it."""

    def leave(self, *, asynchronous: bool) -> None:
        """Make the caller's context current again."""
        ...

    def fail(self, error: BaseException, *, asynchronous: bool) -> None:
        """Leave, and end the call as failed by *error*, which the caller goes on to see."""
        ...


def start_call(
    telemetry: Telemetry, operation: Operation, resource: Any, arguments: Arguments, wrapped: Any
) -> StartedCall | None:
    """Start a call and make its context current: with our span, or with our fields for another instrumentation's span.

    Args:
        telemetry: Where our signals go.
        operation: What kind of call it is.
        resource: The client's object whose method is called.
        arguments: What it is called with.
        wrapped: The method as it is below our patch; wrappers that others put around it show who else reports the call.
    """
    try:
        current, kind = get_current(), operation.kind
        if not nobody_else_reports(wrapped, resource, kind, current):
            if is_suppressed(resource, current):
                return None
            other = reporter(wrapped, resource, kind, current)
            if other is not None:
                return DeferredCall(operation, resource, arguments, current, other)
        call = Call(telemetry, operation, resource, arguments, current)
    except Exception as exc:
        report_fault("openai.start", exc)
        return None
    if call.streamed and telemetry.stream_usage and operation.usage_on_request:
        call.hides_usage = _ask_for_usage(arguments)
    return call


def _ask_for_usage(arguments: Arguments) -> bool:
    try:
        return not is_left_to_caller(arguments) and ask_for_usage(cast("dict[str, Any]", arguments))
    except Exception as exc:
        report_fault("openai.usage", exc)
        return False


def reporting(operation: Operation, first: str | None = None) -> Wrapper:
    """Return the wrapper of a method that makes calls of *operation*.

    Args:
        operation: What kind of calls they are.
        first: Name of the one argument that may be given by its place; without it a call is not reported. `None` for
            methods that take all by name.
    """

    def report(wrapped: Callable[..., Any], resource: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        telemetry = switch.telemetry
        arguments = kwargs if first is None else _arguments_by_name(first, args, kwargs)
        if telemetry is None or arguments is None:
            return wrapped(*args, **kwargs)
        call = start_call(telemetry, operation, resource, arguments, wrapped)
        if call is None:
            return wrapped(*args, **kwargs)
        try:
            answer = wrapped(*args, **kwargs)
        except BaseException as exc:
            call.fail(exc, asynchronous=False)
            raise
        call.leave(asynchronous=False)
        if not isinstance(call, Call):
            return answer
        if call.streamed:
            return follow(call, answer, asynchronous=False)
        if call.finish(answer):
            follow_unread(call, answer, asynchronous=False)
        return answer

    return report


def reporting_async(operation: Operation, first: str | None = None) -> Wrapper:
    """Return the wrapper of a coroutine method that makes calls of *operation*; *first* as for `reporting`."""

    async def report(wrapped: Callable[..., Any], resource: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        telemetry = switch.telemetry
        arguments = kwargs if first is None else _arguments_by_name(first, args, kwargs)
        if telemetry is None or arguments is None:
            return await wrapped(*args, **kwargs)
        call = start_call(telemetry, operation, resource, arguments, wrapped)
        if call is None:
            return await wrapped(*args, **kwargs)
        try:
            answer = await wrapped(*args, **kwargs)
        except BaseException as exc:
            call.fail(exc, asynchronous=True)
            raise
        call.leave(asynchronous=True)
        if not isinstance(call, Call):
            return answer
        if call.streamed:
            return follow(call, answer, asynchronous=True)
        if call.finish(answer):
            follow_unread(call, answer, asynchronous=True)
        return answer

    return report


def _arguments_by_name(first: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Return the arguments by name; `None` without the one that a call is nothing without."""
    arguments = {first: args[0], **kwargs} if args else kwargs
    return arguments if isinstance(arguments.get(first), str) else None


def _call_patches(
    module: str, owner: str, operation: Operation, *methods: str, first: str | None = None
) -> Iterator[PatchPoint]:
    for method in methods:
        yield PatchPoint(module, owner, method, reporting(operation, first))
        yield PatchPoint(module, f"Async{owner}", method, reporting_async(operation, first))


def _block_patches(module: str, owner: str) -> Iterator[PatchPoint]:
    yield PatchPoint(module, owner, "__exit__", exit_block)
    yield PatchPoint(module, f"Async{owner}", "__aexit__", exit_block)


PATCH_POINTS: Final = (
    *_call_patches("openai.resources.chat.completions", "Completions", CHAT, "create", "parse"),
    *_call_patches("openai.resources.beta.chat.completions", "Completions", CHAT, "parse"),  # until 1.92
    *_call_patches("openai.resources.responses", "Responses", RESPONSES, "create", "parse"),
    *_call_patches("openai.resources.responses", "Responses", FETCH, "retrieve", first="response_id"),
    *_call_patches("openai.resources.beta.responses", "Responses", RESPONSES, "create"),  # of late releases
    *_call_patches("openai.resources.beta.responses", "Responses", FETCH, "retrieve", first="response_id"),
    *_call_patches("openai.resources.embeddings", "Embeddings", EMBEDDINGS, "create"),
    *_call_patches("openai.resources.completions", "Completions", TEXT_COMPLETION, "create"),
    *_call_patches("openai.resources.images", "Images", IMAGES, "generate", "edit", "create_variation"),
    *_call_patches("openai.resources.audio.speech", "Speech", SPEECHES, "create"),
    *_call_patches("openai.resources.audio.transcriptions", "Transcriptions", TRANSCRIPTS, "create"),
    *_call_patches("openai.resources.audio.translations", "Translations", TRANSCRIPTS, "create"),
    *_block_patches("openai._streaming", "Stream"),
    *_block_patches("openai._response", "ResponseContextManager"),
    *_block_patches("openai.lib.streaming.chat._completions", "ChatCompletionStreamManager"),
    *_block_patches("openai.lib.streaming.responses._responses", "ResponseStreamManager"),
)


class _OutermostPatches(Patches):
    """Patches that go around what another instrumentation of openai put around ours.

    What that starts before or after it calls us is to have the call's agent too. The one inside then lets the call
    through.
    """

    def wants(self, function: Any) -> bool:
        return super().wants(function) or (not is_patch(function) and package_in(function, above_ours=True) is not None)

    def holder(self, function: Any) -> None:
        return None


_patches: Final = _OutermostPatches(PATCH_POINTS, place="openai")


def apply_patches() -> None:
    """Patch the modules that are loaded, and the others when they are."""
    _patches.apply()


def remove_patches() -> None:
    """Put the client's own methods back; a patch that somebody wrapped stays, and lets every call through."""
    _patches.remove()


when_covered(apply_patches)


_lock = threading.Lock()


class OpenAIInstrumentor(BaseInstrumentor):
    """Reports calls of the openai client as GenAI spans and metrics, with the fields of their context.

    It covers chat completions, Responses, embeddings, legacy completions, images and audio, synchronous, asynchronous
    and streamed. The caller's results and the requests to the provider are the same as without it. Content is recorded
    only if `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` enables it; `instrument` reads the environment.

    `otelier.init` and `opentelemetry-instrument` switch it on; use it by itself for only the spans and metrics.

    Example:
        >>> from otelier.openai import OpenAIInstrumentor
        >>> OpenAIInstrumentor().instrument()
        >>> OpenAIInstrumentor().uninstrument()

    See: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
    """

    _choices: Mapping[str, Any] = {}
    """What `instrument` was given besides providers, while it is on."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the supported openai releases."""
        return ("openai >= 1.66, < 4",)

    def instrument(self, **kwargs: Any) -> None:
        """Switch it on; if patches are disabled, this does nothing.

        Another call while it is on only puts its patches around those that other instrumentations of openai have
        applied since.

        Args:
            **kwargs: `tracer_provider`, `meter_provider` and `logger_provider`: `None` is the global one, also if it is
                set later. `stream_usage=True` requests usage in streams from the provider, and hides the chunk with the
                usage from the caller; `None` uses `OTELIER_OPENAI_STREAM_USAGE`. `completion_hook` is a
                `CompletionHook` of `opentelemetry-util-genai`; `None` uses the one that
                `OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK` names.
        """
        with _lock:
            if not patches_allowed():
                return
            if self.is_instrumented_by_opentelemetry:
                apply_patches()
            else:
                super().instrument(**kwargs)

    def uninstrument(self, **kwargs: Any) -> None:
        """Switch it off: remove the patches from the client. Open streams still report the end of their calls."""
        with _lock:
            super().uninstrument(**kwargs)

    def move_to(self, **providers: Any) -> None:
        """Report to other providers from now on, with all else as `instrument` was given it; nothing while it is off.

        Args:
            **providers: `tracer_provider`, `meter_provider` and `logger_provider`, as `instrument` takes them.
        """
        with _lock:
            if self.is_instrumented_by_opentelemetry:
                self._instrument(**self._choices, **providers)

    def _instrument(self, **kwargs: Any) -> None:
        self._choices = {name: kwargs.get(name) for name in ("stream_usage", "completion_hook")}
        switch.telemetry = make_telemetry(
            kwargs.get("tracer_provider"),
            kwargs.get("meter_provider"),
            kwargs.get("logger_provider"),
            stream_usage=kwargs.get("stream_usage"),
            hook=kwargs.get("completion_hook"),
        )
        apply_patches()

    def _uninstrument(self, **kwargs: Any) -> None:
        self._choices = {}
        switch.telemetry = None
        remove_patches()


@on_fork
def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


@on_reset
def _switch_off() -> None:
    if OpenAIInstrumentor().is_instrumented_by_opentelemetry:
        OpenAIInstrumentor().uninstrument()
