"""The bytes that answer a request: recorded, adapted from a recording, or an error."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from otelier.testing import _loopback
from otelier.testing.server._exchanges import exact
from otelier.testing.server._media_answers import (
    embeddings_body,
    image_body,
    image_events,
    speech,
    speech_events,
    transcript_body,
    transcript_events,
)
from otelier.testing.server._refusals import refusal
from otelier.testing.server._replies import BreakMode, Reply, failure
from otelier.testing.server._requests import Json, OpenAIRequest, form_fields
from otelier.testing.server._text_answers import (
    chat_body,
    chat_events,
    completion_body,
    completion_events,
    queued_response,
    replayed_events,
    response_body,
    response_events,
)
from otelier.testing.server._turns import Ids, Turn, make_turn

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
EMBEDDINGS = "/v1/embeddings"
COMPLETIONS = "/v1/completions"
SPEECH = "/v1/audio/speech"
TEXTS_OF_AUDIO = ("/v1/audio/transcriptions", "/v1/audio/translations")
IMAGES = ("/v1/images/generations", "/v1/images/edits", "/v1/images/variations")
UNKNOWN_MODEL = "this-model-does-not-exist"

_JSON = {"content-type": "application/json"}
_HTML = {"content-type": "text/html; charset=utf-8"}
_TEXT = {"content-type": "text/plain; charset=utf-8"}
_SSE = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
# What Azure puts before a path, with the name of a deployment or without.
_AZURE = re.compile(r"^/openai(/deployments/[^/]+|/v1)?(?=/)")
_PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1><hr>proxy</body></html>\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    frames: tuple[bytes, ...] | None = None
    """Server-sent events; `None` for an answer in one piece."""
    drops: bool = False
    """Whether the connection breaks after the last frame."""
    stored: Json | None = None
    """A response that can be fetched again."""


def read(received: _loopback.HttpRequest) -> tuple[OpenAIRequest, Reply | None]:
    """Return the request, and the error it deserves when its body is no JSON object."""
    fault: Reply | None = None
    body: Any = None
    if received.headers.get("content-type", "").startswith("multipart/form-data"):
        body = form_fields(received.headers["content-type"], received.body)
    elif received.body:
        try:
            body = json.loads(received.body)
        except ValueError:
            fault = failure(400, message="We could not parse the JSON body of your request.")
    if body is not None and not isinstance(body, dict):
        body, fault = None, failure(400, message="The body of your request must be a JSON object.")
    request = OpenAIRequest(
        method=received.method,
        path=received.path,
        query=received.query,
        headers=received.headers,
        body=cast("Json | None", body),
    )
    return request, fault


def refused(request: OpenAIRequest) -> Reply | None:
    """Return the error that the API has for a request as this one; `None` where it would answer."""
    endpoint = {CHAT: "chat", RESPONSES: "responses", EMBEDDINGS: "embeddings"}.get(_AZURE.sub("/v1", request.path))
    if endpoint is None or request.method != "POST" or not request.model:
        return None
    return refusal(endpoint, request.asked)


def answer(request: OpenAIRequest, reply: Reply | None, ids: Ids, stored: Json | None) -> Answer:
    """Return the answer: *reply*'s, else the recorded one, else a recorded one adapted to the request."""
    headers = {"x-request-id": ids.next("req_", 32), "openai-version": "2020-10-01", **(reply.headers if reply else {})}
    if reply is not None and (reply.html or reply.body is not None):
        return _whole(reply.status, headers, _PAGE.format(reply.status) if reply.html else reply.body)
    if reply is not None and reply.events is not None:
        return _stream(headers, [{"data": event} for event in reply.events], reply.break_mode, reply.break_after)
    path = _AZURE.sub("/v1", request.path)
    if reply is None and not request.query and (found := exact(request.method, path, request.body)):
        if found.body is None:
            return _stream({**headers, **found.headers}, list(found.events), None, 0)
        kept = found.body if path == RESPONSES else None
        return _whole(found.status, {**headers, **found.headers}, found.body, stored=kept)
    return _adapted(path, request, reply or Reply(), ids, stored, headers)


def _adapted(
    path: str, request: OpenAIRequest, reply: Reply, ids: Ids, stored: Json | None, headers: dict[str, str]
) -> Answer:
    if request.method == "GET" and path.startswith(RESPONSES + "/"):
        if stored is None:
            return _error(404, f"Response with id {path.rpartition('/')[2]!r} not found.", ids)
        if request.stream:
            return _stream(headers, replayed_events(request, stored), reply.break_mode, reply.break_after)
        return _whole(200, headers, stored)
    known = (CHAT, RESPONSES, EMBEDDINGS, COMPLETIONS, SPEECH, *TEXTS_OF_AUDIO, *IMAGES)
    if request.method != "POST" or path not in known:
        return _error(404, f"Invalid URL ({request.method} {request.path})", ids)
    if not request.model and path not in IMAGES:
        return _error(400, "You must provide a model parameter.", ids)
    if request.model == UNKNOWN_MODEL:
        return _error(404, f"The model `{request.model}` does not exist or you do not have access to it.", ids)
    turn = make_turn(request, reply, ids)
    if path in (SPEECH, *TEXTS_OF_AUDIO):
        return _of_audio(path, request, turn, reply, headers)
    if path == EMBEDDINGS:
        return _whole(200, headers, embeddings_body(request, turn))
    if path == RESPONSES:
        body = response_body(request, turn)
        kept = None if request.asked.get("store") is False else body
        if request.stream:
            return _stream(headers, response_events(body), reply.break_mode, reply.break_after, stored=kept)
        now = queued_response(body) if request.asked.get("background") else body
        return _whole(200, headers, now, stored=kept)
    body_of, events_of = _SHAPES.get(path, (image_body, image_events))
    if request.stream:
        return _stream(headers, events_of(request, turn), reply.break_mode, reply.break_after)
    return _whole(200, headers, body_of(request, turn))


_SHAPES: Final = {CHAT: (chat_body, chat_events), COMPLETIONS: (completion_body, completion_events)}
"""Functions that make an answer as one body or as the events of a stream, by path; all others are of images."""


def _of_audio(path: str, request: OpenAIRequest, turn: Turn, reply: Reply, headers: dict[str, str]) -> Answer:
    if path != SPEECH:
        if request.stream:
            return _stream(headers, transcript_events(turn), reply.break_mode, reply.break_after)
        return _whole(200, headers, transcript_body(request, turn))
    if request.asked.get("stream_format") == "sse":
        return _stream(headers, speech_events(request, turn), reply.break_mode, reply.break_after)
    kind, spoken = speech(request)
    return Answer(status=200, headers={"content-type": kind, **headers}, body=spoken)


def _error(status: int, message: str, ids: Ids) -> Answer:
    return _whole(status, {"x-request-id": ids.next("req_", 32)}, failure(status, message=message).body)


def _whole(status: int, headers: Mapping[str, str], body: Any, *, stored: Json | None = None) -> Answer:
    text = body if isinstance(body, str) else json.dumps(body)
    kind = _JSON if not isinstance(body, str) or text.startswith(("{", "[")) else _HTML if "<html" in text else _TEXT
    return Answer(status=status, headers={**kind, **headers}, body=text.encode(), stored=stored)


def _stream(
    headers: Mapping[str, str], events: list[Json], mode: BreakMode | None, after: int, *, stored: Json | None = None
) -> Answer:
    named = any("event" in event for event in events)
    if mode is not None:
        del events[after:]
    if mode == "invalid_json":
        events.append({**({"event": "response.output_text.delta"} if named else {}), "data": '{"broken": '})
    if mode == "error":
        events.append(_error_event(named, after))
    frames = tuple(_frame(event) for event in events)
    return Answer(status=200, headers={**_SSE, **headers}, frames=frames, drops=mode == "drop", stored=stored)


def _error_event(named: bool, number: int) -> Json:
    """Return the event that says the stream failed: one shape for Responses, another for chat."""
    error: Json = failure(500).body["error"]
    if named:
        data = {"type": "error", "code": "server_error", "message": error["message"], "param": None}
        return {"event": "error", "data": {**data, "sequence_number": number}}
    return {"data": {"error": error}}


def _frame(event: Json) -> bytes:
    data = event["data"] if isinstance(event["data"], str) else json.dumps(event["data"], separators=(",", ":"))
    head = f"event: {event['event']}\n" if "event" in event else ""
    return f"{head}data: {data}\n\n".encode()
