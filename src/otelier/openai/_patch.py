"""What is patched in openai, and how it comes out again.

Each point is optional: the list has both ends of openai in mind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from otelier.openai._wrappers import reporting, reporting_async
from otelier.openai.beside._rivals import package_in, when_covered
from otelier.openai.operations._table import (
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
from otelier.openai.streams._follow import leaving
from otelier.signals import Patches, PatchPoint, is_patch


def _calls(
    module: str, owner: str, operation: Operation, *methods: str, first: str | None = None
) -> Iterator[PatchPoint]:
    for method in methods:
        yield PatchPoint(module, owner, method, reporting(operation, first))
        yield PatchPoint(module, f"Async{owner}", method, reporting_async(operation, first))


def _blocks(module: str, owner: str) -> Iterator[PatchPoint]:
    yield PatchPoint(module, owner, "__exit__", leaving)
    yield PatchPoint(module, f"Async{owner}", "__aexit__", leaving)


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
