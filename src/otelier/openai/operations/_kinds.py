"""Kinds of calls to a model, and how somebody else says that they report one: by a key in the context, or by a span."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from otelier import names
from otelier.openai.reading._fields import is_mapping
from otelier.telemetry import EMBEDDING_SUPPRESSORS, FETCH_SUPPRESSORS, INFERENCE_SUPPRESSORS, LLM_CALL

_SPAN_KIND: Final = "openinference.span.kind"
_REQUEST_TYPE: Final = "llm.request.type"
SAYING: Final = (names.OPERATION, _SPAN_KIND, _REQUEST_TYPE)
"""Attributes by which spans say that they are calls to a model: the conventions', openinference's and Traceloop's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of call."""

    suppressors: frozenset[str]
    """Keys of the OpenTelemetry Context; one that is set there means that the call is reported already. Ours is among
    them, so that asking for it costs a call nothing more."""
    said: Mapping[str, frozenset[str]]
    """What a span says that stands for such a call, by attribute."""


INFERENCE: Final = Kind(
    suppressors=INFERENCE_SUPPRESSORS | {LLM_CALL},
    said={
        names.OPERATION: frozenset(("chat", "generate_content", "text_completion")),
        _SPAN_KIND: frozenset(("LLM",)),
        _REQUEST_TYPE: frozenset(("chat", "completion")),
    },
)
EMBEDDING: Final = Kind(
    suppressors=EMBEDDING_SUPPRESSORS | {LLM_CALL},
    said={
        names.OPERATION: frozenset(("embeddings",)),
        _SPAN_KIND: frozenset(("EMBEDDING",)),
        _REQUEST_TYPE: frozenset(("embedding",)),
    },
)
FETCHING: Final = Kind(
    suppressors=FETCH_SUPPRESSORS | {LLM_CALL},
    said={names.OPERATION: frozenset(("fetch_response",))},
)


def is_llm_span(span: Any, kind: Kind) -> bool:
    """Tell whether *span* is a recording one of somebody else's that stands for a call of *kind*."""
    there: Any = getattr(span, "attributes", None)
    if not is_mapping(there) or not span.is_recording():
        return False
    if not any(isinstance(said := there.get(name), str) and said in values for name, values in kind.said.items()):
        return False
    scope = getattr(getattr(span, "instrumentation_scope", None), "name", None) or ""
    return scope.partition(".")[0] != names.SCOPE
