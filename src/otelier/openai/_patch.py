"""What is patched in openai, and how it comes out again.

Each point is optional and independent: what a release of openai does not have is left out. openai is not imported;
hooks wait for its modules. A hook that has not fired cannot be taken back from wrapt, so there is one per module
and process, and it does nothing while instrumentation is off.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import wrapt

from otelier.openai._operations import (
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
from otelier.openai._rivals import Patch, is_below, package_in, when_covered
from otelier.openai._stream import leaving
from otelier.openai._telemetry import switch
from otelier.openai._wrappers import Wrapper, reporting, reporting_async
from otelier.signals import report_fault


@dataclass(frozen=True, slots=True)
class _PatchPoint:
    module: str
    owner: str
    method: str
    wrapper: Wrapper


def _calls(
    module: str, owner: str, operation: Operation, *methods: str, first: str | None = None
) -> Iterator[_PatchPoint]:
    for method in methods:
        yield _PatchPoint(module, owner, method, reporting(operation, first))
        yield _PatchPoint(module, f"Async{owner}", method, reporting_async(operation, first))


def _blocks(module: str, owner: str) -> Iterator[_PatchPoint]:
    yield _PatchPoint(module, owner, "__exit__", leaving)
    yield _PatchPoint(module, f"Async{owner}", "__aexit__", leaving)


PATCH_POINTS: Final = (
    *_calls("openai.resources.chat.completions", "Completions", CHAT, "create", "parse"),
    *_calls("openai.resources.beta.chat.completions", "Completions", CHAT, "parse"),  # until 1.92
    *_calls("openai.resources.responses", "Responses", RESPONSES, "create", "parse"),
    *_calls("openai.resources.responses", "Responses", FETCH, "retrieve", first="response_id"),
    *_calls("openai.resources.beta.responses", "Responses", RESPONSES, "create"),  # of late releases
    *_calls("openai.resources.beta.responses", "Responses", FETCH, "retrieve", first="response_id"),
    *_calls("openai.resources.embeddings", "Embeddings", EMBEDDINGS, "create"),
    *_calls("openai.resources.completions", "Completions", TEXT_COMPLETION, "create"),
    *_calls("openai.resources.images", "Images", IMAGES, "generate", "edit", "create_variation"),
    *_calls("openai.resources.audio.speech", "Speech", SPEECHES, "create"),
    *_calls("openai.resources.audio.transcriptions", "Transcriptions", TRANSCRIPTS, "create"),
    *_calls("openai.resources.audio.translations", "Translations", TRANSCRIPTS, "create"),
    *_blocks("openai._streaming", "Stream"),
    *_blocks("openai._response", "ResponseContextManager"),
    *_blocks("openai.lib.streaming.chat._completions", "ChatCompletionStreamManager"),
    *_blocks("openai.lib.streaming.responses._responses", "ResponseStreamManager"),
)


_hooked: set[str] = set()
_applied: list[tuple[type, str, Patch]] = []


def apply_patches() -> None:
    """Patch the modules that are loaded, and the others when they are.

    A second patch goes around what another instrumentation of openai put around ours: what it starts before or after
    it calls us is to have the call's agent too. The one inside then lets the call through.
    """
    for name in dict.fromkeys(point.module for point in PATCH_POINTS):
        module = sys.modules.get(name)
        if module is not None:
            _patch(module)
        elif name not in _hooked:
            _hooked.add(name)
            wrapt.register_post_import_hook(_on_import, name)


def remove_patches() -> None:
    """Put the client's own methods back; a patch that somebody wrapped stays, and lets every call through."""
    for owner, method, patch in _applied:
        if vars(owner).get(method) is patch:
            setattr(owner, method, patch.__wrapped__)
    _applied.clear()


def _on_import(module: ModuleType) -> None:
    # An exception here would make the import of openai fail.
    try:
        _hooked.discard(module.__name__)
        if switch.telemetry is not None:
            _patch(module)
    except Exception as exc:
        report_fault("openai.import_hook", exc)


def _patch(module: ModuleType) -> None:
    for point in PATCH_POINTS:
        if point.module == module.__name__:
            try:
                _apply(point, getattr(module, point.owner, None))
            except Exception as exc:
                report_fault("openai.patch", exc)


def _apply(point: _PatchPoint, owner: Any) -> None:
    method: Callable[..., Any] | None = vars(owner).get(point.method) if isinstance(owner, type) else None
    if method is None or (is_below(method) and not _has_rival_above(method)):
        return
    patch = Patch(method, point.wrapper)
    setattr(owner, point.method, patch)
    _applied.append((owner, point.method, patch))


def _has_rival_above(method: Any) -> bool:
    return type(method) is not Patch and package_in(method, Patch) is not None


when_covered(apply_patches)
