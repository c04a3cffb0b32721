"""Recorded exchanges that ship with the package, and the one that answers a request word for word."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from otelier.testing.server._requests import Json, part


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One recorded request and its answer."""

    method: str
    path: str
    request: Json | None
    status: int
    headers: Mapping[str, str]
    body: Json | None = None
    """The whole answer; `None` for a streamed one."""
    events: tuple[Json, ...] = ()
    """Fields of each server-sent event; `data` is JSON, or the text `[DONE]`."""


@cache
def recorded() -> Mapping[str, Exchange]:
    """Return the recorded exchanges by name."""
    folder = files("otelier.testing") / "exchanges"
    found: dict[str, Exchange] = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".json"):
            fields: Json = json.loads(file.read_text(encoding="utf-8"))
            fields.pop("source")
            fields["events"] = tuple(fields.get("events", ()))
            found[file.name.removesuffix(".json")] = Exchange(**fields)
    return found


def template(name: str) -> Json:
    """Return a fresh copy of a recorded answer's body, to be adapted."""
    body = recorded()[name].body
    assert body is not None, name
    return deepcopy(body)


def exact(method: str, path: str, request: Json | None) -> Exchange | None:
    """Return the exchange recorded for this request, if there is one."""
    return _by_signature().get(_signature(method, path, request))


@cache
def _by_signature() -> Mapping[str, Exchange]:
    return {_signature(one.method, one.path, one.request): one for one in recorded().values()}


def _signature(method: str, path: str, request: Json | None) -> str:
    """Return what makes two requests the same: what shapes the answer, and the last message."""
    asked = request or {}
    said: Any = asked.get("messages") or asked.get("input")
    tools: list[Json] = asked.get("tools") or []
    shape: list[Any] = [
        method,
        path,
        asked.get("model"),
        said[-1] if isinstance(said, list) else said,
        bool(asked.get("stream")),
        bool(part(asked, "stream_options").get("include_usage")),
        [tool.get("name") or part(tool, "function").get("name") for tool in tools],
        asked.get("n") or 1,
        asked.get("response_format") or asked.get("text"),
        asked.get("encoding_format") or "float",
        asked.get("dimensions"),
    ]
    return json.dumps(shape, sort_keys=True)
