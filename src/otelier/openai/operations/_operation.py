"""Instrumented operations, each as one value: its spans, and the readers of its requests, answers and streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from opentelemetry.util.types import AttributeValue

from otelier import names
from otelier.openai._telemetry import CallPoint
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
from otelier.openai.operations._responses import (
    FetchChunks,
    ResponsesChunks,
    created_answer,
    fetch_answer,
    fetch_request,
)
from otelier.openai.reading._answer import chat_answer, embeddings_answer
from otelier.openai.reading._fields import Arguments, Attributes, Facts, is_mapping
from otelier.openai.reading._request import (
    chat_fingerprint,
    chat_request,
    embeddings_request,
    responses_fingerprint,
    responses_request,
)
from otelier.telemetry import (
    CALL_SUPPRESSORS,
    Failure,
    fit_text,
)

OPENAI: Final = "openai"
AZURE: Final = "azure.ai.openai"
HTTPS_PORT: Final = 443

_AZURE_CLIENT = "BaseAzureClient"
_AZURE_HOSTS = ".openai.azure.com"

# Models and clients are the application's; both are few in any sane process, and rebuilding a template costs 2 us.
_MAX_SERVERS = 64
_MAX_MODELS = 256
_LONGEST_MODEL = 256  # a longer one is none, and is not kept: 256 texts of a megabyte would be


@dataclass(frozen=True, slots=True)
class Template:
    """Shared by spans and metric points, so it is never changed; the SDK copies what it is given."""

    name: str
    """The span's name."""
    start: dict[str, AttributeValue]
    """What the span starts with, all that a sampler may look at; metrics carry the same."""


@dataclass(frozen=True, slots=True)
class _ServerTemplates:
    url: Any
    """Held, so that its id stays its own."""
    start: dict[str, AttributeValue]
    address: dict[str, AttributeValue]
    templates: dict[str | None, Template] = field(default_factory=dict[str | None, Template])


class Templates:
    """The templates of one operation."""

    __slots__ = ("_operation", "_servers")

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self._servers: dict[int, _ServerTemplates] = {}

    def of(self, resource: Any, model: Any) -> Template:
        """Return the template for a call of *resource*'s client that asks for *model*."""
        try:
            url = resource._client._base_url  # the public property imports a module each time, 1 us since openai 3
        except AttributeError:
            url = getattr(getattr(resource, "_client", None), "base_url", None)  # `None` for a mocked client
        # By identity: an URL is hashed and parsed anew each time, its `host` alone takes 1 us.
        server = self._servers.get(id(url))
        if server is None:
            server = self._add(url, resource)
        if type(model) is not str:
            model = _model_text(model)
        template = server.templates.get(model)
        return self._make(server, model) if template is None else template

    def _add(self, url: Any, resource: Any) -> _ServerTemplates:
        if len(self._servers) >= _MAX_SERVERS:
            self._servers.clear()
        provider = _provider(getattr(resource, "_client", None), url)
        start: dict[str, AttributeValue] = {names.OPERATION: self._operation, names.PROVIDER: provider}
        server = self._servers[id(url)] = _ServerTemplates(url, start, _server_attributes(url))
        return server

    def _make(self, server: _ServerTemplates, model: str | None) -> Template:
        start, shown = dict(server.start), ""
        if model is not None:
            start[names.REQUEST_MODEL] = shown = fit_text(model) or ""
        start.update(server.address)
        template = Template(f"{self._operation} {shown}" if shown else self._operation, start)
        if model is None or len(model) <= _LONGEST_MODEL:
            if len(server.templates) >= _MAX_MODELS:
                server.templates.clear()
            server.templates[model] = template
        return template


def _provider(client: Any, url: Any) -> str:
    """Return the provider, as far as client and host show it; of others that speak the API the span has the host."""
    if any(base.__name__ == _AZURE_CLIENT for base in type(client).__mro__):
        return AZURE
    return AZURE if str(getattr(url, "host", "")).endswith(_AZURE_HOSTS) else OPENAI


def _server_attributes(url: Any) -> dict[str, AttributeValue]:
    host, port = getattr(url, "host", None), getattr(url, "port", None)
    found: dict[str, AttributeValue] = {}
    if isinstance(host, str) and host:
        found[names.SERVER_ADDRESS] = host
    if isinstance(port, int) and port not in (0, HTTPS_PORT):
        found[names.SERVER_PORT] = port
    return found


def _model_text(model: Any) -> str | None:
    """Return members of a `str` Enum as their text; the client's marks for "not given" are nothing."""
    return str.__str__(model) if isinstance(model, str) else None


_SPAN_KIND: Final = "openinference.span.kind"
_REQUEST_TYPE: Final = "llm.request.type"
CALL_ATTRIBUTES: Final = (names.OPERATION, _SPAN_KIND, _REQUEST_TYPE)
"""Attributes that mark spans as calls to a model: the conventions', openinference's and Traceloop's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of call."""

    suppressors: frozenset[str]
    """Keys of the OpenTelemetry Context; one that is set there means that the call is reported already. Ours is among
    them, so that asking for it costs a call nothing more."""
    span_values: Mapping[str, frozenset[str]]
    """Values that mark a span as such a call, by attribute."""


INFERENCE: Final = Kind(
    suppressors=CALL_SUPPRESSORS["inference"],
    span_values={
        names.OPERATION: frozenset(("chat", "generate_content", "text_completion")),
        _SPAN_KIND: frozenset(("LLM",)),
        _REQUEST_TYPE: frozenset(("chat", "completion")),
    },
)
EMBEDDING: Final = Kind(
    suppressors=CALL_SUPPRESSORS["embedding"],
    span_values={
        names.OPERATION: frozenset(("embeddings",)),
        _SPAN_KIND: frozenset(("EMBEDDING",)),
        _REQUEST_TYPE: frozenset(("embedding",)),
    },
)
FETCHING: Final = Kind(
    suppressors=CALL_SUPPRESSORS["fetch_response"],
    span_values={names.OPERATION: frozenset(("fetch_response",))},
)


def is_llm_span(span: Any, kind: Kind) -> bool:
    """Tell whether *span* is a recording one of somebody else's that stands for a call of *kind*."""
    there: Any = getattr(span, "attributes", None)
    if not is_mapping(there) or not span.is_recording():
        return False
    if not any(
        isinstance(value := there.get(name), str) and value in values for name, values in kind.span_values.items()
    ):
        return False
    scope = getattr(getattr(span, "instrumentation_scope", None), "name", None) or ""
    return scope.partition(".")[0] != names.SCOPE


class Chunks(Protocol):
    """The chunks of one stream."""

    model: str | None
    """Model that answers, as soon as a chunk names it."""

    def observer(self) -> Callable[[Any], bool]:
        """Return a function that takes one chunk and returns whether it is the last that counts."""
        ...

    def write_to(self, attributes: Attributes, point: CallPoint) -> Failure | None:
        """Add the attributes that were observed; return the operation's failure, if it has one."""
        ...

    def awaits_usage(self) -> bool:
        """Tell whether the answer has come to its end, or may have, and its usage has not."""
        ...

    def content(self) -> Mapping[str, list[Any]]:
        """Return the content that was seen, by attribute."""
        ...


class _MakeChunks(Protocol):
    def __call__(self, *, content: bool) -> Chunks: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Readers of an operation's content."""

    sent: Callable[[Arguments], Mapping[str, list[Any]]]
    """Content of the arguments, by attribute."""
    received: Callable[[Any], Mapping[str, list[Any]]]
    """Content of an answer, by attribute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One kind of call."""

    templates: Templates
    kind: Kind
    """Marks by which another instrumentation shows that it reports the call."""
    read_request: Callable[[Arguments, Attributes], None]
    read_answer: Callable[[Facts, Attributes, CallPoint], Failure | None]
    fingerprint: Callable[[Arguments], str | None] | None = None
    """Fingerprint of the call's system prompt; `None` when such calls have none."""
    chunks: _MakeChunks | None = None
    """Collector of a stream's chunks; `None` when there are no streams."""
    content: Content | None = None
    """`None` for operations without content; they emit no event either."""
    inference: bool = True
    """Whether a model works: then there is an event, and a span has the time to its first chunk."""
    usage_on_request: bool = False
    """Whether a stream has usage only when asked for it."""
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


def _media_operation(output_type: str) -> Operation:
    return Operation(
        templates=Templates(names.GENERATE_CONTENT),
        kind=INFERENCE,
        read_request=media_request(output_type),
        read_answer=media_answer,
        chunks=MediaChunks,
        content=Content(sent=media_request_content, received=media_answer_content),
    )


IMAGES: Final = _media_operation(IMAGE)
SPEECHES: Final = _media_operation(SPEECH)
TRANSCRIPTS: Final = _media_operation(TEXT)
