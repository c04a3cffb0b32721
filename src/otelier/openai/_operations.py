"""The operations that are instrumented, each as one value: what to read where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from otelier import names
from otelier.openai._chat_content import chat_messages, chat_request_content
from otelier.openai._chunks import ChatChunks, Chunks, ResponsesChunks
from otelier.openai._parts import Message
from otelier.openai._point import CallPoint
from otelier.openai._prompt import chat_fingerprint, responses_fingerprint
from otelier.openai._reading import Arguments, Attributes, Facts
from otelier.openai._request import chat_request, embeddings_request, responses_request
from otelier.openai._response import chat_answer, embeddings_answer, responses_answer
from otelier.openai._responses_content import response_messages, responses_request_content
from otelier.openai._templates import Templates
from otelier.signals import EMBEDDING_SUPPRESSORS, INFERENCE_SUPPRESSORS, Failure


class _MakeChunks(Protocol):
    def __call__(self, *, content: bool) -> Chunks: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """How an operation's content is read; one that has none emits no event either."""

    sent: Callable[[Arguments], Mapping[str, list[Any]]]
    """What the arguments send, by attribute."""
    received: Callable[[Any], list[Message]]
    """What an answer holds, as output messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One kind of call."""

    templates: Templates
    suppressors: frozenset[str]
    """Keys of the OpenTelemetry Context; one that is set there means that somebody else reports the call."""
    read_request: Callable[[Arguments, Attributes], None]
    read_answer: Callable[[Facts, Attributes, CallPoint], Failure | None]
    fingerprint: Callable[[Arguments], str | None] | None = None
    """What knows an agent by the call's prompt; `None` when such calls have none."""
    chunks: _MakeChunks | None = None
    """What gathers a stream; `None` when there are no streams."""
    content: Content | None = None


CHAT: Final = Operation(
    templates=Templates(names.CHAT),
    suppressors=INFERENCE_SUPPRESSORS,
    read_request=chat_request,
    read_answer=chat_answer,
    fingerprint=chat_fingerprint,
    chunks=ChatChunks,
    content=Content(sent=chat_request_content, received=chat_messages),
)
RESPONSES: Final = Operation(
    templates=Templates(names.CHAT),
    suppressors=INFERENCE_SUPPRESSORS,
    read_request=responses_request,
    read_answer=responses_answer,
    fingerprint=responses_fingerprint,
    chunks=ResponsesChunks,
    content=Content(sent=responses_request_content, received=response_messages),
)
EMBEDDINGS: Final = Operation(
    templates=Templates(names.EMBEDDINGS),
    suppressors=EMBEDDING_SUPPRESSORS,
    read_request=embeddings_request,
    read_answer=embeddings_answer,
)
