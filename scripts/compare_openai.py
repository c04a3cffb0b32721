"""Compare the signals of `otelier.openai` with those of the official instrumentation, span by span.

    uv run --with opentelemetry-instrumentation-genai-openai==1.3b0 scripts/compare_openai.py CASSETTE_FOLDER
                                                                        [--semconv FOLDER]

Every recorded exchange is replayed under both, in each content mode, sync and async, and streams with each ending.
Spans, metric points and events are compared whole: names, attributes, types of values, status, buckets, counts. What
differs on purpose is in `KNOWN`, with the reason; anything else makes the command fail. With `--semconv` every
attribute, value and piece of content of ours is also held against the conventions as data (`semconv.py`).
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import base64
import collections
import contextlib
import difflib
import gc
import hashlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import openai
import yaml
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor as Official
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from semconv import Conventions

from otelier.openai import OpenAIInstrumentor as Ours

try:
    import httpx2 as httpx
except ImportError:  # openai before 3
    import httpx

MODES = ("no_content", "span_only", "event_only", "span_and_event")
CHUNK_METRICS = ("gen_ai.client.operation.time_to_first_chunk", "gen_ai.client.operation.time_per_output_chunk")
TIMES = frozenset(("gen_ai.response.time_to_first_chunk",))
METHODS = {
    "/v1/chat/completions": "chat.completions.create",
    "/v1/responses": "responses.create",
    "/v1/embeddings": "embeddings.create",
}
FETCH = "/v1/responses/"
GIVEN_UP_AFTER = 3
RAW = "with_raw_response"
LAZY = "left to the caller"
Signals = dict[str, list[Any]]

KNOWN: dict[str, str] = {
    "embedding dimensions": "of a base64 embedding we count the numbers, not the characters",
    "raw embeddings": "what `with_raw_response` holds of an embeddings answer is read, as for the other endpoints",
    "left to the caller": "an answer that the caller reads itself ends its call, and tells what it says, once it is",
    "bytes": "images, sounds and files in content are told by the hash and size of their bytes, not by the bytes",
    "chunks": "their times carry the model that answered also when only a later chunk names it",
}


class Recording:
    """The signals that one instrumentor sends, case by case."""

    def __init__(self, instrumentor: Any) -> None:
        self.spans, self.logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
        self.reader = InMemoryMetricReader({Histogram: AggregationTemporality.DELTA})
        self.instrumentor = instrumentor
        self.tracers, self.loggers = TracerProvider(), LoggerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.loggers.add_log_record_processor(SimpleLogRecordProcessor(self.logs))
        self.meters = MeterProvider([self.reader])

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Instrument while the block runs."""
        self.instrumentor.instrument(
            tracer_provider=self.tracers, meter_provider=self.meters, logger_provider=self.loggers, skip_dep_check=True
        )
        try:
            yield
        finally:
            self.instrumentor.uninstrument()

    def take(self) -> Signals:
        """Return what came since the last time, as plain data without times and ids."""
        spans = [
            {
                "name": span.name,
                "kind": span.kind.name,
                "status": span.status.status_code.name,
                "description": span.status.description,
                "schema": span.instrumentation_scope.schema_url,
                "events": [event.name for event in span.events],
                "attributes": typed(span.attributes or {}),
            }
            for span in self.spans.get_finished_spans()
        ]
        events = [
            {"name": log.log_record.event_name, "attributes": typed(log.log_record.attributes or {})}
            for log in self.logs.get_finished_logs()
        ]
        self.spans.clear()
        self.logs.clear()
        return {"spans": spans, "events": events, "points": sorted(self._points(), key=json.dumps)}

    def _points(self) -> Iterator[Any]:
        data = self.reader.get_metrics_data()
        for scope in (
            scope for resource in (data.resource_metrics if data else ()) for scope in resource.scope_metrics
        ):
            for metric in scope.metrics:
                if not metric.name.startswith("gen_ai."):
                    continue
                for point in metric.data.data_points:
                    tokens = point.sum if metric.name.endswith("token.usage") else None
                    exemplars = len(point.exemplars) > 0
                    bounds, attributes = list(point.explicit_bounds), typed(point.attributes)
                    yield [metric.name, metric.unit, bounds, point.count, tokens, exemplars, attributes]


def typed(attributes: Any) -> dict[str, Any]:
    """Return attributes with the types of their values, which JSON alone would not tell apart."""
    return {
        key: [type(value).__name__, "a time" if key in TIMES else json.loads(json.dumps(value, default=str))]
        for key, value in sorted(attributes.items())
    }


class Replay(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers every request with one recorded answer."""

    def __init__(self, response: dict[str, Any]) -> None:
        headers = {name.lower(): values[0] for name, values in response["headers"].items()}
        for name in ("content-encoding", "content-length", "transfer-encoding"):
            headers.pop(name, None)
        self._status, self._headers = response["status"]["code"], headers
        body = response["body"]["string"]
        self._body = body if isinstance(body, bytes) else body.encode()

    def handle_request(self, request: Any) -> Any:
        return httpx.Response(self._status, headers=self._headers, stream=Body(self._body), request=request)

    async def handle_async_request(self, request: Any) -> Any:
        return self.handle_request(request)


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in small pieces."""

    def __init__(self, body: bytes) -> None:
        self._pieces = [body[at : at + 512] for at in range(0, len(body), 512)]

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    async def __aiter__(self) -> Any:
        for piece in self._pieces:
            yield piece


class ConsumerError(Exception):
    """What a consumer raises in the middle of a stream."""


def method_of(client: Any, path: str, way: str = "", name: str | None = None) -> Any:
    """Return the method that asks for *path*, or one of its siblings by *name*; *way* is one to get a raw response."""
    *resources, method = (METHODS.get(path) or "responses.retrieve").split(".")
    for resource in (*resources, *([way] if way else [])):
        client = getattr(client, resource)
    return getattr(client, name or method, None)


def fitted(client: Any, path: str, request: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a recorded request; those that an old client does not have go past it."""
    known = inspect.signature(method_of(client, path)).parameters
    newer = {name: value for name, value in request.items() if name not in known}
    older = {name: value for name, value in request.items() if name in known}
    return {**older, "extra_body": newer} if newer else older


def drained(stream: Any) -> None:
    """Read to the end."""
    for _ in stream:
        pass


def closed(stream: Any) -> None:
    """Close after some chunks."""
    for _ in range(GIVEN_UP_AFTER):
        next(stream, None)
    stream.close()


def dropped(stream: Any) -> None:
    """Drop after some chunks."""
    for _ in range(GIVEN_UP_AFTER):
        next(stream, None)


def failed(stream: Any) -> None:
    """Fail in the block that reads."""
    with stream:
        for number, _ in enumerate(stream):
            if number == GIVEN_UP_AFTER:
                raise ConsumerError("the consumer's own")


async def drained_async(stream: Any) -> None:
    """Read to the end."""
    async for _ in stream:
        pass


async def closed_async(stream: Any) -> None:
    """Close after some chunks."""
    for _ in range(GIVEN_UP_AFTER):
        await anext(stream, None)
    await stream.close()


async def failed_async(stream: Any) -> None:
    """Fail in the block that reads."""
    number = 0
    async with stream:
        async for _ in stream:
            number += 1
            if number == GIVEN_UP_AFTER:
                raise ConsumerError("the consumer's own")


def client_for(response: dict[str, Any]) -> openai.OpenAI:
    """Return a client whose every request is answered by *response*."""
    return openai.OpenAI(api_key="k", max_retries=0, http_client=httpx.Client(transport=Replay(response)))


@dataclass(frozen=True)
class Recorded:
    """One recorded call, and the ways to make it; each leaves nothing behind."""

    path: str
    request: dict[str, Any]
    response: dict[str, Any]

    def sync(self, ending: Callable[[Any], None] | None = None, way: str = "") -> None:
        """Call, and end a stream with *ending*."""
        client = client_for(self.response)
        with contextlib.suppress(openai.APIError, ConsumerError):
            answer = method_of(client, self.path, way)(**fitted(client, self.path, self.request))
            if way:
                answer = answer.parse()
            if ending is not None:
                ending(answer)
        answer = None
        gc.collect(1)

    def run_async(self, ending: Callable[[Any], Any] | None = None, way: str = "") -> None:
        """The same with an asynchronous client."""

        async def run() -> None:
            http = httpx.AsyncClient(transport=Replay(self.response))
            client = openai.AsyncOpenAI(api_key="k", max_retries=0, http_client=http)
            with contextlib.suppress(openai.APIError, ConsumerError):
                answer = await method_of(client, self.path, way)(**fitted(client, self.path, self.request))
                if way:
                    answer = answer.parse()
                if ending is not None:
                    await ending(answer)

        asyncio.run(run())
        gc.collect(1)

    def left_to_caller(self) -> None:
        """Call for a response whose body the caller reads."""
        client = client_for(self.response)
        method = method_of(client, self.path, "with_streaming_response")
        with contextlib.suppress(openai.APIError), method(**fitted(client, self.path, self.request)) as response:
            answer = response.parse()
            if self.request.get("stream"):
                drained(answer)
        gc.collect(1)

    def helper(self) -> None:
        """Stream with the client's helper."""
        client = client_for(self.response)
        arguments = {**fitted(client, self.path, self.request)}
        arguments.pop("stream", None)
        method = method_of(client, self.path, name="stream")
        with contextlib.suppress(openai.APIError, TypeError), method(**arguments) as stream:
            drained(stream)
        gc.collect(1)

    def parsed(self) -> None:
        """Let the client parse what the model says."""
        client = client_for(self.response)
        with contextlib.suppress(openai.APIError, ValueError, TypeError):
            method_of(client, self.path, name="parse")(**fitted(client, self.path, self.request))

    def has(self, name: str) -> bool:
        """Tell whether this release of the client has a sibling of the method by *name*."""
        return self.path in METHODS and method_of(client_for(self.response), self.path, name=name) is not None

    def ways(self) -> Iterator[tuple[str, Callable[[], None]]]:
        """Yield the ways to make the call, each with its name."""
        if not self.request.get("stream"):
            yield "sync", self.sync
            yield "async", self.run_async
            yield "raw", lambda: self.sync(way=RAW)
            yield "raw async", lambda: self.run_async(way=RAW)
            yield LAZY, self.left_to_caller
            if self.has("parse"):
                yield "parse", self.parsed
            return
        for ending in (drained, closed, dropped, failed):
            yield f"stream {ending.__name__}", lambda ending=ending: self.sync(ending)
        for ending in (drained_async, closed_async, failed_async):
            yield f"stream {ending.__name__}", lambda ending=ending: self.run_async(ending)
        yield "stream raw", lambda: self.sync(drained, RAW)
        yield "stream raw async", lambda: self.run_async(drained_async, RAW)
        yield f"stream {LAZY}", self.left_to_caller
        if self.has("stream"):
            yield "stream helper", self.helper


def exchanges(folder: Path) -> Iterator[tuple[str, Recorded]]:
    """Yield the recorded calls of the endpoints that are instrumented."""
    for file in sorted(folder.glob("*.yaml")):
        for number, one in enumerate(yaml.safe_load(file.read_text(encoding="utf-8"))["interactions"]):
            where = urlsplit(one["request"]["uri"])
            if one["request"]["method"] == "POST" and where.path in METHODS:
                asked = json.loads(one["request"]["body"])
                yield f"{file.stem}#{number}", Recorded(where.path, asked, one["response"])
            elif one["request"]["method"] == "GET" and where.path.startswith(FETCH):
                asked = {name: json.loads(value) for name, value in parse_qsl(where.query)}
                fetched = {"response_id": where.path.removeprefix(FETCH), **asked}
                yield f"{file.stem}#{number}", Recorded(where.path, fetched, one["response"])


def known(label: str, kind: str, theirs: list[Any], ours: list[Any]) -> set[str | None]:
    """Return the keys in `KNOWN` of what two lists of signals differ in, `None` among them for anything else."""
    if "embedding" in label and label.endswith(("raw", "raw async")):
        return {"raw embeddings"}
    if kind != "points":
        theirs = _with_hashes(theirs)
        if theirs == ours:
            return {"bytes"}
    if label.endswith(f" {LAZY}") and not label.endswith(f" stream {LAZY}") and _tells_more(kind, theirs, ours):
        return {LAZY}
    if kind == "points" and _without_model_of_chunks(theirs) == _without_model_of_chunks(ours):
        return {"chunks"}
    if len(theirs) != len(ours):
        return {None}
    return {_known(kind, one, other) for one, other in zip(theirs, ours) if one != other}


def _known(kind: str, theirs: Any, ours: Any) -> str | None:
    if kind == "spans":
        dimensions = "gen_ai.embeddings.dimension.count"
        one, other = dict(theirs["attributes"]), dict(ours["attributes"])
        if one.pop(dimensions, None) != other.pop(dimensions, None) and one == other:
            return "embedding dimensions"
    return None


def _with_hashes(signals: list[Any]) -> list[Any]:
    """Return what they tell with a hash in the place of each blob."""

    def hashed(value: Any) -> Any:
        if isinstance(value, dict) and value.get("type") == "blob":
            said = value["content"]  # base64 in JSON, and in an event the bytes, which `typed` has made text
            content = ast.literal_eval(said) if said.startswith(("b'", 'b"')) else base64.b64decode(said)
            uri = f"sha256:{hashlib.sha256(content).hexdigest()}"
            kept = {key: value[key] for key in ("mime_type", "modality")}
            return {**kept, "uri": uri, "size": len(content), "type": "uri"}
        if isinstance(value, dict):
            return {key: hashed(each) for key, each in value.items()}
        return [hashed(each) for each in value] if isinstance(value, list) else value

    def replaced(kind: str, value: Any) -> list[Any]:
        is_json = isinstance(value, str) and '"type":"blob"' in value
        return [kind, json.dumps(hashed(json.loads(value)), separators=(",", ":")) if is_json else hashed(value)]

    return [
        {**one, "attributes": {key: replaced(*given) for key, given in one["attributes"].items()}} for one in signals
    ]


def _tells_more(kind: str, theirs: list[Any], ours: list[Any]) -> bool:
    """Whether all that they tell is told by us too, and more."""

    def attributes(one: Any) -> Any:
        return (one[-1] if kind == "points" else one["attributes"]).items()

    return all(any(attributes(one) <= attributes(other) for other in ours) for one in theirs)


def _without_model_of_chunks(points: list[Any]) -> dict[str, int]:
    """Return how often each point came, with the points of chunks in one, whether or not they name a model."""
    counts: collections.Counter[str] = collections.Counter()
    for name, *shape, count, tokens, exemplars, attributes in points:
        unsaid = "gen_ai.response.model" if name in CHUNK_METRICS else None
        said = {key: value for key, value in attributes.items() if key != unsaid}
        counts[json.dumps([name, shape, tokens, exemplars, said])] += count
    return counts


def asked() -> argparse.Namespace:
    """The command's arguments."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("cassettes", type=Path, help="folder of the recorded cassettes")
    parser.add_argument("--only", default="", help="part of the names of the exchanges to replay")
    parser.add_argument("--modes", default=",".join(MODES), help="content modes to replay in")
    parser.add_argument("--show", type=int, default=10, help="differences to print")
    parser.add_argument("--semconv", type=Path, help="folder of registry.json and schemas/, to check ours against")
    return parser.parse_args()


def main() -> int:
    """Replay everything and print the table."""
    options = asked()
    conventions = Conventions(options.semconv)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    shown = 0
    calls = [call for call in exchanges(options.cassettes) if options.only in call[0]]
    print(f"{len(calls)} exchanges, openai {openai.__version__}", flush=True)
    modes = options.modes.split(",")
    gc.freeze()
    for mode in modes:
        os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = mode
        results: list[list[Signals]] = []
        for recording in (Recording(Official()), Recording(Ours())):
            with recording.on():
                results.append([])
                for _, call in calls:
                    for _, run in call.ways():
                        run()
                        results[-1].append(recording.take())
        labels = [f"{mode} {name} {way}" for name, call in calls for way, _ in call.ways()]
        for label, theirs, ours in zip(labels, *results):
            counts["cases", mode] += 1
            counts["invalid", mode] += conventions.look(ours)
            for kind in ("spans", "points", "events"):
                counts[kind, mode] += len(theirs[kind])
                if theirs[kind] == ours[kind]:
                    continue
                reasons = known(label, kind, theirs[kind], ours[kind])
                if None not in reasons:
                    counts["known", mode] += 1
                    continue
                counts["different", mode] += 1
                if shown < options.show:
                    shown += 1
                    print_difference(label, kind, theirs[kind], ours[kind])
    rows = ("cases", "spans", "points", "events", "known", "different", "invalid")
    print(f"{'':12}" + "".join(f"{mode:>16}" for mode in modes))
    for row in rows:
        print(f"{row:12}" + "".join(f"{counts[row, mode]:>16}" for mode in modes))
    print("".join(f"\nknown: {name}: {reason}" for name, reason in KNOWN.items()))
    print(f"\n{conventions.checked} values held against the conventions")
    print("".join(f"invalid, {count} times: {fault}\n" for fault, count in conventions.found.most_common()), end="")
    return 1 if any(counts[row, mode] for mode in modes for row in ("different", "invalid")) else 0


def print_difference(label: str, kind: str, theirs: list[Any], ours: list[Any]) -> None:
    """Print what only one side has."""
    print(f"\n{label}: {kind}")
    lines = difflib.ndiff(json.dumps(theirs, indent=1).splitlines(), json.dumps(ours, indent=1).splitlines())
    for line in [line for line in lines if line[0] in "+-"][:12]:
        print(f"  {line[:400]}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
