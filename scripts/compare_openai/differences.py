"""Differences between two lists of signals, and the intended ones."""

from __future__ import annotations

import ast
import base64
import collections
import difflib
import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

from exchanges import LAZY

CHUNK_METRICS = ("gen_ai.client.operation.time_to_first_chunk", "gen_ai.client.operation.time_per_output_chunk")

MORE = frozenset(
    (
        "gen_ai.input.messages",
        "gen_ai.output.messages",
        "gen_ai.response.finish_reasons",
        "gen_ai.response.id",
    )
)
"""Attributes that only ours may have."""
LEAVING = ("stream closed", "stream dropped", "stream failed", "stream closed_async", "stream failed_async")
"""Ends of the labels of streams whose consumer leaves before their end."""
RESULTS = ("response", "arguments", "output", "result")

KNOWN: dict[str, str] = {
    "embedding dimensions": "of a base64 embedding we count the numbers, not the characters",
    "raw embeddings": "what `with_raw_response` holds of an embeddings answer is read, as for the other endpoints",
    "left to the caller": "an answer that the caller reads itself ends its call, and tells what it says, once it is",
    "bytes": "images, sounds and files in content are told by the hash and size of their bytes, not by the bytes",
    "names": "a message without a name has none, instead of one that is null",
    "results": "what a tool gave, or a provider's tool was called with, is JSON once, not JSON quoted in JSON",
    "whole": "what they leave out of answers, requests and tools is told, and the id of a stream that is left early",
    "facts": "the status of what failed tells facts of the exception, and its message where content goes onto spans",
    "left": "a consumer that leaves a stream early is no error",
    "chunks": "their times carry the model that answered also when only a later chunk names it",
}


def known(label: str, kind: str, theirs: list[Any], ours: list[Any]) -> set[str | None]:
    """Return the keys in `KNOWN` of what two lists of signals differ in, `None` among them for anything else."""
    if "embedding" in label and label.endswith(("raw", "raw async")):
        return {"raw embeddings"}
    changed, theirs, ours = _made_alike(label, kind, theirs, ours)
    if theirs == ours:
        return changed
    if kind != "points" and _is_within(theirs, ours):
        return {*changed, "whole"}
    if label.endswith(f" {LAZY}") and not label.endswith(f" stream {LAZY}") and _tells_more(kind, theirs, ours):
        return {LAZY}
    if kind == "points" and _without_model_of_chunks(theirs) == _without_model_of_chunks(ours):
        return {"chunks"}
    if len(theirs) != len(ours):
        return {None}
    return {_known(kind, one, other) for one, other in zip(theirs, ours) if one != other}


def _made_alike(
    label: str, kind: str, theirs: list[Any], ours: list[Any]
) -> tuple[set[str | None], list[Any], list[Any]]:
    """Return both without what is meant, and its keys in `KNOWN`."""
    changed: set[str | None] = set()
    if kind == "spans":
        before, theirs = theirs, _with_facts(theirs, ours)
        changed |= {"facts"} if theirs != before else set()
    if label.endswith(LEAVING):
        left = _left(kind, theirs), _left(kind, ours)
        changed |= {"left"} if left != (theirs, ours) else set()
        theirs, ours = left
    if kind != "points":
        for reason, change in _CHANGES.items():
            before, theirs = theirs, _changed(kind, theirs, change)
            changed |= {reason} if theirs != before else set()
    return changed, theirs, ours


def _with_facts(theirs: list[Any], ours: list[Any]) -> list[Any]:
    """Return their spans with our descriptions, where both say of one that it failed with the same error."""
    if len(theirs) != len(ours):
        return theirs
    return [
        {**one, "description": other["description"]}
        if one["status"] == other["status"] == "ERROR"
        and one["attributes"].get("error.type") == other["attributes"].get("error.type")
        else one
        for one, other in zip(theirs, ours)
    ]


def _left(kind: str, signals: list[Any]) -> list[Any]:
    """Return what is told of a stream that its consumer left, without whether that is an error."""
    told = ("error.type", "otelier.cancelled")
    if kind == "points":
        return [[*one[:-1], {key: value for key, value in one[-1].items() if key not in told}] for one in signals]
    if kind == "contents":
        return signals
    status = {"status": "UNSET", "description": None} if kind == "spans" else {}
    return [
        {**one, **status, "attributes": {key: value for key, value in one["attributes"].items() if key not in told}}
        for one in signals
    ]


def _known(kind: str, theirs: Any, ours: Any) -> str | None:
    if kind == "spans":
        dimensions = "gen_ai.embeddings.dimension.count"
        one, other = dict(theirs["attributes"]), dict(ours["attributes"])
        if one.pop(dimensions, None) != other.pop(dimensions, None) and one == other:
            return "embedding dimensions"
    return None


def _changed(kind: str, signals: list[Any], change: Callable[..., Any]) -> list[Any]:
    """Return signals with *change* made to each content in them, be it JSON or data."""
    if kind == "contents":  # the types of hooks have no size
        if change is _without_names:  # nor can their messages be without one
            return signals
        return _hashed(signals, sized=False) if change is _hashed else change(signals)

    def changed(kind: str, value: Any) -> list[Any]:
        if isinstance(value, str) and value.startswith("[{"):
            data = json.loads(value)
            value = value if change(data) == data else json.dumps(change(data), separators=(",", ":"))
        else:
            value = change(value)
        return [kind, value]

    return [
        {**one, "attributes": {key: changed(*given) for key, given in one["attributes"].items()}} for one in signals
    ]


def _without_names(value: Any) -> Any:
    """Return nested data with messages that have no name without their `"name": null`."""
    if isinstance(value, dict):
        is_message = value.get("name", "") is None and "parts" in value
        return {key: _without_names(each) for key, each in value.items() if not (is_message and key == "name")}
    return [_without_names(each) for each in value] if isinstance(value, list) else value


def _with_results(value: Any) -> Any:
    """Return nested data with what a tool gave as data, where it is the JSON of an object or a list."""
    if isinstance(value, dict):
        return {key: _result(each) if key in RESULTS else _with_results(each) for key, each in value.items()}
    return [_with_results(each) for each in value] if isinstance(value, list) else value


def _result(value: Any) -> Any:
    try:
        return json.loads(value) if value.lstrip().startswith(("{", "[")) else value
    except (AttributeError, ValueError):
        return _with_results(value)


def _hashed(value: Any, *, sized: bool = True) -> Any:
    """Return nested data with a hash in the place of each blob, and its size where that is told."""
    if isinstance(value, dict) and value.get("type") == "blob":
        said = value["content"]  # base64 in JSON, and else the bytes, which have been made text
        content = ast.literal_eval(said) if said.startswith(("b'", 'b"')) else base64.b64decode(said)
        kept = {key: value[key] for key in ("mime_type", "modality")}
        size = {"size": len(content)} if sized else {}
        return {**kept, "uri": f"sha256:{hashlib.sha256(content).hexdigest()}", **size, "type": "uri"}
    if isinstance(value, str) and value.startswith("data:image/png;base64,"):
        content = base64.b64decode(value.partition(",")[2])
        return f"[bytes: image/png, size {len(content)}, sha256:{hashlib.sha256(content).hexdigest()}]"
    if isinstance(value, dict):
        return {key: _hashed(each, sized=sized) for key, each in value.items()}
    return [_hashed(each, sized=sized) for each in value] if isinstance(value, list) else value


def _is_within(less: Any, more: Any) -> bool:
    """Whether *more* is *less* with something added: fields of mappings, items of lists, attributes of `MORE`."""
    if isinstance(less, dict) and isinstance(more, dict):
        if "attributes" in less and not more["attributes"].keys() - less["attributes"].keys() <= MORE:
            return False
        return all(key in more and _is_within(value, more[key]) for key, value in less.items())
    if isinstance(less, list) and isinstance(more, list):
        others = iter(more)
        return all(any(_is_within(one, other) for other in others) for one in less)
    if isinstance(less, str) and isinstance(more, str) and less.startswith("[{") and more.startswith("[{"):
        return _is_within(json.loads(less), json.loads(more))
    return less == more


def _tells_more(kind: str, theirs: list[Any], ours: list[Any]) -> bool:
    """Whether all that they tell is told by us too, and more."""

    def said(one: Any) -> Any:
        if kind == "contents":
            return {name: content for name, content in one.items() if content}
        return one[-1] if kind == "points" else one["attributes"]

    return all(any(_is_within(said(one), said(other)) for other in ours) for one in theirs)


def _without_model_of_chunks(points: list[Any]) -> dict[str, int]:
    """Return how often each point came, with the points of chunks in one, whether or not they name a model."""
    counts: collections.Counter[str] = collections.Counter()
    for name, *shape, count, tokens, exemplars, attributes in points:
        unsaid = "gen_ai.response.model" if name in CHUNK_METRICS else None
        said = {key: value for key, value in attributes.items() if key != unsaid}
        counts[json.dumps([name, shape, tokens, exemplars, said])] += count
    return counts


_CHANGES: dict[str, Callable[..., Any]] = {"bytes": _hashed, "names": _without_names, "results": _with_results}


def print_difference(label: str, kind: str, theirs: list[Any], ours: list[Any]) -> None:
    """Print what only one side has."""
    print(f"\n{label}: {kind}")
    lines = difflib.ndiff(json.dumps(theirs, indent=1).splitlines(), json.dumps(ours, indent=1).splitlines())
    for line in [line for line in lines if line[0] in "+-"][:12]:
        print(f"  {line[:400]}")
    sys.stdout.flush()
