"""The backends' own APIs, as far as the tests ask them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from otelier import names

Span = dict[str, Any]
"""A span as Jaeger gives it, but its tags as a dict."""


@dataclass(frozen=True, kw_only=True)
class Jaeger:
    """A running Jaeger, through its query API."""

    query: str
    otlp_grpc: str
    otlp_http: str

    def traces(self, service: str, tags: str = "{}") -> list[list[Span]]:
        """Return the traces of *service* in which one span has all *tags*, each as its spans by start."""
        found = httpx.get(f"{self.query}/api/traces", params={"service": service, "limit": "1000", "tags": tags})
        return [
            sorted(map(_with_tags, trace["spans"]), key=lambda span: span["startTime"])
            for trace in found.json()["data"]
        ]


def _with_tags(span: Span) -> Span:
    return {**span, "tags": {tag["key"]: tag["value"] for tag in span["tags"]}}


def model_calls(traces: Iterable[Iterable[Span]]) -> list[Span]:
    """Return the spans that are calls to a model."""
    return [span for trace in traces for span in trace if names.OPERATION in span["tags"]]


def tree(trace: Sequence[Span], keys: Iterable[str]) -> str:
    """Return *trace* as lines of text, each below its parent, with those of the tags *keys* that it has."""
    known = {span["spanID"] for span in trace}

    def lines(parent: str | None, depth: int) -> Iterable[str]:
        for span in trace:
            above = [reference["spanID"] for reference in span["references"] if reference["spanID"] in known]
            if above == ([parent] if parent else []):
                tags = " ".join(f"{key}={span['tags'][key]}" for key in keys if key in span["tags"])
                yield f"{'  ' * depth}{span['operationName']}  {tags}".rstrip() + "\n"
                yield from lines(span["spanID"], depth + 1)

    return "".join(lines(None, 0))


@dataclass(frozen=True, kw_only=True)
class Collector:
    """A running Collector that exports to `jaeger`."""

    otlp_http: str
    scrape_target: str
    own_target: str
    file: Path

    def records(self, kind: str, service: str) -> list[dict[str, Any]]:
        """Return what stands in the file of *kind* (`Spans`, `Metrics` or `Logs`) and comes from *service*."""
        scopes, records = {"Logs": ("scopeLogs", "logRecords")}.get(kind, (f"scope{kind}", kind.lower()))
        lines = [json.loads(line) for line in self.file.read_text().splitlines()]
        return [
            record
            for line in lines
            for resource in line.get(f"resource{kind}", ())
            if _service(resource) == service
            for scope in resource[scopes]
            for record in scope[records]
        ]


def _service(resource: dict[str, Any]) -> str:
    attributes = {each["key"]: each["value"] for each in resource["resource"]["attributes"]}
    return attributes["service.name"]["stringValue"]


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """A running Prometheus that scrapes `collector` every second, through its HTTP API."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}).json()
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def series(self) -> list[dict[str, str]]:
        return httpx.get(f"{self.url}/api/v1/series", params={"match[]": '{__name__=~".+"}'}).json()["data"]

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        now_s = time.time()
        params = {"query": expression, "start": f"{now_s - 600:.0f}", "end": f"{now_s + 60:.0f}"}
        return httpx.get(f"{self.url}/api/v1/query_exemplars", params=params).json()["data"]
