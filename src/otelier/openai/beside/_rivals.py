"""Who else reports a call: another instrumentation's wrapper around the method, or what the context says.

A call that somebody else reports gets our identity and fields on their span, and nothing else of ours.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FunctionType, MethodType
from typing import Any, Final

from opentelemetry.context import Context

from otelier import names
from otelier.fields import SPAN
from otelier.openai.operations._kinds import SAYING, Kind, is_llm_span
from otelier.patches import is_patch
from otelier.telemetry import LLM_CALL, suppressed

_OPERATION, _SPAN_KIND, _REQUEST_TYPE = SAYING
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

_covered: list[Callable[[], object]] = []


def when_covered(callback: Callable[[], object]) -> None:
    """Let *callback* run when another instrumentation is found around a patch of ours: the patches stand above us."""
    _covered.append(callback)


def is_plain(wrapped: Any, resource: Any, kind: Kind, current: Context) -> bool:
    """Tell at once whether a call is nobody's but ours, as most are; anything else takes a closer look (`reporter`).

    Every call passes here: 0.3 us.
    """
    try:
        client = resource._client.__class__
        if type(wrapped) is not MethodType or type(client.request) is not FunctionType:
            return False
        attributes: Any = getattr(current.get(SPAN), "_attributes", None)
        if attributes is not None:
            started = attributes._dict  # read only; the public view is 0.5 us dearer
            if started.get(_OPERATION, _AROUND[0]) not in _AROUND or _SPAN_KIND in started or _REQUEST_TYPE in started:
                return False
        return is_patch(getattr(resource.__class__, wrapped.__name__)) and kind.suppressors.isdisjoint(current)
    except AttributeError:
        return False


def is_silenced(resource: Any, current: Context) -> bool:
    """Tell whether nothing at all is to be reported, or this call is being reported by a patch of ours further out."""
    if suppressed(current):
        return True
    return current.get(LLM_CALL) is resource


def reporter(wrapped: Any, resource: Any, kind: Kind, current: Context) -> str | None:
    """Return who else reports a call: its package, empty when that is not known; `None` when nobody does."""
    above = _package_above(wrapped, resource)
    below = package_in(wrapped) or package_in(getattr(getattr(resource, "_client", None), "request", None))
    if above is not None or below is not None:
        return above or below
    told = is_llm_span(current.get(SPAN), kind) or suppressed(current, kind.suppressors - {LLM_CALL})
    return "" if told else None


def package_in(method: Any, *, above_ours: bool = False) -> str | None:
    """Return the known package whose wrapper is around *method* and active, maybe only down to a patch of ours."""
    for layer in _layers(method):
        if above_ours and is_patch(layer):
            return None
        package = known_package(_module_of(layer))
        if package is not None and _is_active(package):
            return package
    return None


def gives_way_to(module: str) -> bool:
    """Tell whether calls that the instrumentation in *module* reports are left to it, with the identity on its spans.

    Example:
        >>> gives_way_to("opentelemetry.instrumentation.genai.openai")
        True
        >>> gives_way_to("acme.openai_tracing")
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
    return getattr(getattr(instrumentor, "_instance", None), "_is_instrumented_by_opentelemetry", True)
