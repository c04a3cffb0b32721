"""What is patched in openai, and how it comes out again.

Each point is optional: the list has both ends of openai in mind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otelier.openai._operations import CHAT, EMBEDDINGS, RESPONSES, Operation
from otelier.openai._stream import leaving
from otelier.openai._wrappers import reporting, reporting_async
from otelier.signals import Patches, PatchPoint


def _calls(module: str, owner: str, operation: Operation, *methods: str) -> Iterator[PatchPoint]:
    for method in methods:
        yield PatchPoint(module, owner, method, reporting(operation))
        yield PatchPoint(module, f"Async{owner}", method, reporting_async(operation))


def _blocks(module: str, owner: str) -> Iterator[PatchPoint]:
    yield PatchPoint(module, owner, "__exit__", leaving)
    yield PatchPoint(module, f"Async{owner}", "__aexit__", leaving)


PATCH_POINTS: Final = (
    *_calls("openai.resources.chat.completions", "Completions", CHAT, "create", "parse"),
    *_calls("openai.resources.beta.chat.completions", "Completions", CHAT, "parse"),  # until 1.92
    *_calls("openai.resources.responses", "Responses", RESPONSES, "create", "parse"),
    *_calls("openai.resources.embeddings", "Embeddings", EMBEDDINGS, "create"),
    *_blocks("openai._streaming", "Stream"),
    *_blocks("openai.lib.streaming.chat._completions", "ChatCompletionStreamManager"),
    *_blocks("openai.lib.streaming.responses._responses", "ResponseStreamManager"),
)


_patches: Final = Patches(PATCH_POINTS, place="openai")


def apply_patches() -> None:
    """Patch the modules that are loaded, and the others when they are."""
    _patches.apply()


def remove_patches() -> None:
    """Put the client's own methods back; a patch that somebody wrapped stays, and lets every call through."""
    _patches.remove()
