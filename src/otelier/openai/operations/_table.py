"""The instrumented operations, each as one value."""

from __future__ import annotations

from typing import Final

from otelier import names
from otelier.openai.content._chat import chat_answer_content, chat_request_content
from otelier.openai.content._responses import fetched_content, responses_answer_content, responses_request_content
from otelier.openai.operations._chunks import ChatChunks, TextChunks, text_answer_content, text_request_content
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
from otelier.openai.operations._operation import EMBEDDING, FETCHING, INFERENCE, Content, Operation, Templates
from otelier.openai.operations._responses import (
    FetchChunks,
    ResponsesChunks,
    created_answer,
    fetch_answer,
    fetch_request,
)
from otelier.openai.reading._answer import chat_answer, embeddings_answer
from otelier.openai.reading._request import (
    chat_fingerprint,
    chat_request,
    embeddings_request,
    responses_fingerprint,
    responses_request,
)

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
