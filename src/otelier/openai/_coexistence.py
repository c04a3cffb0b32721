"""Coexistence with other instrumentations of openai: they report their calls, and get our identity on their spans."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any, Final

from opentelemetry.context import Context, attach, create_key, get_current

from otelier import names
from otelier.faults import report_fault
from otelier.fields import SPAN, stamp_call
from otelier.openai._call import with_call_state
from otelier.openai.operations._operation import CALL_ATTRIBUTES, Kind, Operation, is_llm_span
from otelier.openai.reading._fields import Arguments
from otelier.patches import is_patch
from otelier.telemetry import LLM_CALL, LLM_REPORTER, suppressed

_OPERATION, _SPAN_KIND, _REQUEST_TYPE = CALL_ATTRIBUTES
_OFFICIAL: Final = "opentelemetry.instrumentation.genai.openai"
_KNOWN: Final = (
    _OFFICIAL,
    "opentelemetry.instrumentation.openai_v2",  # its predecessor
    "opentelemetry.instrumentation.openai",  # Traceloop's
    "openinference.instrumentation.openai",
)
"""Packages of instrumentations; their tracers are named after them too."""
_AROUND: Final = (names.INVOKE_AGENT, names.EXECUTE_TOOL)
"""Operations of spans that an agent's calls are made below; a closer look at each would take 15 us."""
_MAX_WRAPPERS = 32
_DEFERRED: Final = create_key("otelier-deferred-call")
"""Key of the innermost call that is left to another instrumentation."""

_covered: list[Callable[[], object]] = []


def when_covered(callback: Callable[[], object]) -> None:
    """Let *callback* run when another instrumentation is found around a patch of ours: the patches stand above us."""
    _covered.append(callback)


def nobody_else_reports(wrapped: Any, resource: Any, kind: Kind, current: Context) -> bool:
    """Tell at once that only we report a call, as for most; where this is `False`, `reporter` takes a closer look.

    Every call passes here: 0.3 us.
    """
    try:
        client = resource._client.__class__
        if type(wrapped) is not MethodType or type(client.request) is not FunctionType:
            return False
        # Private names, listed in `telemetry/_sdk.py`: a function there would take a tenth of the time of this one.
        attributes: Any = getattr(current.get(SPAN), "_attributes", None)
        if attributes is not None:
            started = attributes._dict  # read only; the public view is 0.5 us dearer
            if started.get(_OPERATION, _AROUND[0]) not in _AROUND or _SPAN_KIND in started or _REQUEST_TYPE in started:
                return False
        return is_patch(getattr(resource.__class__, wrapped.__name__)) and kind.suppressors.isdisjoint(current)
    except AttributeError:
        return False


def is_suppressed(resource: Any, current: Context) -> bool:
    """Tell whether we report nothing: telemetry is suppressed, or a patch of ours further out reports this call."""
    if suppressed(current):
        return True
    return current.get(LLM_CALL) is resource


def reporter(wrapped: Any, resource: Any, kind: Kind, current: Context) -> str | None:
    """Return who else reports a call: its package, empty when that is not known; `None` when nobody does."""
    above = _package_above(wrapped, resource)
    below = package_in(wrapped) or package_in(getattr(getattr(resource, "_client", None), "request", None))
    if above is not None or below is not None:
        return above or below
    by_context = is_llm_span(current.get(SPAN), kind) or suppressed(current, kind.suppressors - {LLM_CALL})
    return "" if by_context else None


def package_in(method: Any, *, above_ours: bool = False) -> str | None:
    """Return the known package whose wrapper is around *method* and active, maybe only down to a patch of ours."""
    for layer in _layers(method):
        if above_ours and is_patch(layer):
            return None
        package = known_package(_module_of(layer))
        if package is not None and _is_active(package):
            return package
    return None


def defers_to(module: str) -> bool:
    """Return whether calls are left to the instrumentation in *module*; its spans then get the fields and the agent.

    Example:
        >>> defers_to("opentelemetry.instrumentation.genai.openai")
        True
        >>> defers_to("acme.openai_tracing")
        False
    """
    return known_package(module) is not None


def known_package(module: str) -> str | None:
    """Return the package of *module* when it is an instrumentation of openai that ours lives with."""
    return next((one for one in _KNOWN if module == one or module.startswith(f"{one}.")), None)


def _package_above(wrapped: Any, resource: Any) -> str | None:
    """Return the package whose wrapper came around ours, and put a patch of ours around that for the calls to come."""
    name = getattr(wrapped, "__name__", "")
    method = next((vars(owner)[name] for owner in type(resource).__mro__ if name in vars(owner)), None)
    package = package_in(method, above_ours=True)
    if package is not None:
        for callback in _covered:
            callback()
    return package


def _layers(method: Any) -> Iterator[Any]:
    for _ in range(_MAX_WRAPPERS):
        if method is None:
            return
        yield method
        method = getattr(method, "__wrapped__", None)


def _module_of(layer: Any) -> str:
    """Return the module that a wrapper comes from; `functools.wraps` gives it the name of what it wraps."""
    wrapper: Callable[..., Any] = getattr(layer, "_self_wrapper", None) or getattr(layer, "__func__", layer)
    if isinstance(wrapper, FunctionType):
        found: Any = wrapper.__globals__.get("__name__")
    else:
        found = type(wrapper).__module__
    return found if isinstance(found, str) else ""


def _is_active(package: str) -> bool:
    """Tell whether a wrapper that is there does anything: the official ones stay and let calls through when off."""
    if package != _OFFICIAL:
        return True
    instrumentor: Any = getattr(sys.modules.get(package), "OpenAIInstrumentor", None)
    return instrumentor is None or bool(instrumentor().is_instrumented_by_opentelemetry)  # one object for the process


class DeferredCall:
    """A call that another instrumentation reports: its agent and fields go onto their span, and we emit nothing.

    Their span starts in a context that has the state of the call, so the processor stamps it; where it is open
    already it is stamped here.
    """

    __slots__ = ("_former",)

    def __init__(
        self, operation: Operation, resource: Any, arguments: Arguments, current: Context, reporter: str
    ) -> None:
        self._former = current
        inside = with_call_state(current, operation.fingerprint, arguments)
        span = current.get(SPAN)
        if is_llm_span(span, operation.kind):
            stamp_call(span, inside)
        inside = Context({**inside, LLM_CALL: resource, LLM_REPORTER: reporter, _DEFERRED: self})
        # Nothing may fail from here on: what is attached must be taken back.
        attach(inside)

    def leave(self, *, asynchronous: bool) -> None:
        """Make the caller's context current again, if this still runs inside the call's own."""
        try:
            # By the call and not by its resource: it may be closed inside another call of the same one.
            if not asynchronous or get_current().get(_DEFERRED) is self:
                attach(self._former)
        except Exception as exc:
            report_fault("openai.context", exc)

    def fail(self, error: BaseException, *, asynchronous: bool) -> None:
        """Leave; the other instrumentation reports the failure."""
        self.leave(asynchronous=asynchronous)
