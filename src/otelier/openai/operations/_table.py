"""The operations that are instrumented, each as one value: what to read where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from otelier import names
from otelier.openai._point import CallPoint
from otelier.openai.content._chat import chat_answer_content, chat_request_content
from otelier.openai.content._responses import fetched_content, responses_answer_content, responses_request_content
from otelier.openai.operations._chunks import ChatChunks, Chunks, TextChunks, text_answer_content, text_request_content
from otelier.openai.operations._kinds import EMBEDDING, FETCHING, INFERENCE, Kind
from otelier.openai.operations._media import (
    IMAGE,
    SPEECH,
    TEXT,
    MediaChunks,
    media_answer,
    media_answer_content,
    media_request,
    media_request_content,
)
from otelier.openai.operations._responses_chunks import FetchChunks, ResponsesChunks, fetch_answer, fetch_request
from otelier.openai.operations._started import created_answer
from otelier.openai.operations._templates import Templates
from otelier.openai.reading._answer import chat_answer, embeddings_answer
from otelier.openai.reading._fields import Arguments, Attributes, Facts
from otelier.openai.reading._prompt import chat_fingerprint, responses_fingerprint
from otelier.openai.reading._request import chat_request, embeddings_request, responses_request
from otelier.telemetry import Failure


class _MakeChunks(Protocol):
    def __call__(self, *, content: bool) -> Chunks: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """How an operation's content is read."""

    sent: Callable[[Arguments], Mapping[str, list[Any]]]
    """What the arguments send, by attribute."""
    received: Callable[[Any], Mapping[str, list[Any]]]
    """What an answer holds, by attribute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One kind of call."""

    templates: Templates
    kind: Kind
    """By what it is known that somebody else reports the call."""
    read_request: Callable[[Arguments, Attributes], None]
    read_answer: Callable[[Facts, Attributes, CallPoint], Failure | None]
    fingerprint: Callable[[Arguments], str | None] | None = None
    """What knows an agent by the call's prompt; `None` when such calls have none."""
    chunks: _MakeChunks | None = None
    """What gathers a stream; `None` when there are no streams."""
    content: Content | None = None
    """`None` for what has none that is worth telling; it emits no event either."""
    inference: bool = True
    """Whether a model works: then there is an event, and a span says that it streamed and how soon it began."""
    usage_on_request: bool = False
    """Whether a stream tells its usage only when asked to."""
    names_served_model: bool = False
    """Whether a header may name the model that really answered."""


CHAT: Final = Operation(
    templates=Templates(names.CHAT),
    kind=INFERENCE,
    read_request=chat_request,
    read_answer=chat_answer,
    fingerprint=chat_fingerprint,
    chunks=ChatChunks,
    content=Content(sent=chat_request_content, received=chat_answer_content),
    usage_on_request=True,
)
RESPONSES: Final = Operation(
    templates=Templates(names.CHAT),
    kind=INFERENCE,
    read_request=responses_request,
    read_answer=created_answer,
    fingerprint=responses_fingerprint,
    chunks=ResponsesChunks,
    content=Content(sent=responses_request_content, received=responses_answer_content),
    names_served_model=True,
)
FETCH: Final = Operation(
    templates=Templates(names.FETCH_RESPONSE),
    kind=FETCHING,
    read_request=fetch_request,
    read_answer=fetch_answer,
    chunks=FetchChunks,
    content=Content(sent=lambda _: {}, received=fetched_content),
    inference=False,
    names_served_model=True,
)
EMBEDDINGS: Final = Operation(
    templates=Templates(names.EMBEDDINGS),
    kind=EMBEDDING,
    read_request=embeddings_request,
    read_answer=embeddings_answer,
)
TEXT_COMPLETION: Final = Operation(
    templates=Templates(names.TEXT_COMPLETION),
    kind=INFERENCE,
    read_request=chat_request,
    read_answer=chat_answer,
    chunks=TextChunks,
    content=Content(sent=text_request_content, received=text_answer_content),
    usage_on_request=True,
)


def _media(output_type: str) -> Operation:
    return Operation(
        templates=Templates(names.GENERATE_CONTENT),
        kind=INFERENCE,
        read_request=media_request(output_type),
        read_answer=media_answer,
        chunks=MediaChunks,
        content=Content(sent=media_request_content, received=media_answer_content),
    )


IMAGES: Final = _media(IMAGE)
SPEECHES: Final = _media(SPEECH)
TRANSCRIPTS: Final = _media(TEXT)
