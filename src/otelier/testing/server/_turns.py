"""Texts, tool calls and usage for requests without a recording, the same in each run."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otelier.testing.server._replies import Reply
from otelier.testing.server._requests import Json, OpenAIRequest, part, text_of

# The dated names that the recorded answers have.
DATED = {"gpt-4": "gpt-4-0613", "gpt-4o-mini": "gpt-4o-mini-2024-07-18"}
_ASKING = frozenset({"input", "message", "prompt", "query", "question", "request", "task", "text"})
_SAYINGS = (
    (r"triag|rout(e|ing)", r"bill|charge|invoice|refund|pay", "This is a billing question. Handing over."),
    (r"triag|rout(e|ing)", r"error|crash|broken|slow|log ?in", "This is a technical question. Handing over."),
    (r"triag|rout(e|ing)", r"", "This is a general question. It can be answered here."),
    (r"billing", r"refund|twice|double", "The charge was taken twice. One is refunded within five working days."),
    (r"billing", r"", "The last invoice is 42.00 EUR, due at the end of the month. Nothing else is open."),
    (r"audit", r"", "Twelve payments of 42.00 EUR in a year. All came on time, and none is open."),
    (r"", r"^(hello|hi|good (morning|evening))\b", "Hello! How can I help you today?"),
    (r"", r"\bplan\b|\bsteps?\b", "First collect what is known, then check it, then write down what follows."),
    (r"", r"summar", "In short: nothing unusual happened, and no action is needed."),
)
"""Patterns in the instructions and in the prompt, and what is said where both are found; the first one counts."""
CREATED = 1731456000
"""Time at which answers without a recording were made, in seconds since 1970."""
DEEPEST_SAMPLE = 16
"""Levels of what is made up for a schema."""


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What the model says, before it takes the shape of one endpoint."""

    text: str | None
    calls: tuple[Call, ...]
    usage: Mapping[str, int]
    finish_reason: str
    model: str
    ids: Ids


class Ids:
    """Ids that are new for each request, and the same in each run."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._count = 0

    def next(self, prefix: str, length: int = 29) -> str:
        """Return the next id: *prefix* and *length* hexadecimal digits."""
        self._count += 1
        return prefix + hashlib.sha256(f"{self._seed}/{self._count}".encode()).hexdigest()[:length]


def make_turn(request: OpenAIRequest, reply: Reply, ids: Ids) -> Turn:
    """Return the turn that answers *request*: as *reply* gives it, and for the rest what fits the request."""
    calls = tuple(Call(ids.next("call_", 24), name, _arguments(value)) for name, value in reply.tool_calls)
    text = reply.text
    if text is None and not calls:
        calls = _offered_call(request, ids)
        text = None if calls else _text(request)
    written = (text or "") + "".join(call.arguments for call in calls)
    read = json.dumps(request.asked.get("tools") or "") + request.instructions + text_of(request.messages)
    usage = {
        "input_tokens": len(read) // 4 + 3,
        "output_tokens": len(written) // 4 + 1,
        "cached_tokens": 0,
        "reasoning_tokens": 0,
        **(reply.usage or {}),
    }
    reason = reply.finish_reason or ("tool_calls" if calls else "stop")
    model = reply.model or DATED.get(request.model, request.model)
    return Turn(text, calls, usage, reason, model, ids)


def pieces(text: str) -> list[str]:
    """Return *text* as a stream sends it: word by word."""
    return re.findall(r"\s*\S+|\s+$", text)


def _text(request: OpenAIRequest) -> str:
    wanted = part(request.asked, "response_format") or part(part(request.asked, "text"), "format")
    prompt = request.prompt
    if wanted.get("type") == "json_schema":
        schema = part(part(wanted, "json_schema") or wanted, "schema")
        return json.dumps(_sample(schema, schema, "", prompt))
    short = prompt if len(prompt) <= 60 else prompt[:57].rstrip() + "..."
    if wanted.get("type") == "json_object":
        return json.dumps({"answer": short})
    if request.answers_tool:
        return f"According to the tool: {short}"
    for instructions, asked, saying in _SAYINGS:
        if re.search(instructions, request.instructions, re.IGNORECASE) and re.search(asked, prompt, re.IGNORECASE):
            return saying
    return f"Here is a short answer to: {short}" if short else "Here is a short answer."


def _offered_call(request: OpenAIRequest, ids: Ids) -> tuple[Call, ...]:
    """Return a call of the tool that must be called, else of the first one; none when a tool has just answered."""
    choice: Any = request.asked.get("tool_choice")
    if choice == "none" or request.answers_tool:
        return ()
    tools: list[Json] = request.asked.get("tools") or []
    offered = [{**tool, **part(tool, "function")} for tool in tools]
    functions = [tool for tool in offered if tool.get("type") == "function"]
    if isinstance(choice, dict):
        forced = part(request.asked, "tool_choice")
        wanted = forced.get("name") or part(forced, "function").get("name")
        functions = [tool for tool in functions if tool["name"] == wanted]
    if not functions:
        return ()
    schema = part(functions[0], "parameters")
    arguments = json.dumps(_sample(schema, schema, "", request.prompt))
    return (Call(ids.next("call_", 24), functions[0]["name"], arguments),)


def _arguments(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _sample(schema: Json, root: Json, name: str, prompt: str, depth: int = 0) -> Any:
    """Return a value that *schema* allows; a text that asks for something repeats the prompt.

    What refers to itself ends at a depth, if its schema lets it.
    """
    is_deep = depth > DEEPEST_SAMPLE
    if reference := schema.get("$ref"):
        found = root if reference == "#" else root.get("$defs", {}).get(reference.rpartition("/")[2], {})
        return _sample(found, root, name, prompt, depth + 1)
    for key in ("enum", "anyOf", "oneOf", "allOf"):
        if schema.get(key):
            first = {"type": "null"} if is_deep and {"type": "null"} in schema[key] else schema[key][0]
            return first if key == "enum" else _sample(first, root, name, prompt, depth + 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    kind = schema.get("type")
    if kind == "object" or (kind is None and "properties" in schema):
        fields: Json = schema.get("properties", {})
        wanted = schema.get("required", list(fields))
        return {key: _sample(fields[key], root, key, prompt, depth + 1) for key in wanted if key in fields}
    if kind == "array":
        return [] if is_deep else [_sample(schema.get("items", {}), root, name, prompt, depth + 1)]
    if kind == "string" or kind is None:
        return prompt if name in _ASKING else name or "text"
    return {"integer": 1, "number": 1.0, "boolean": True}.get(str(kind))
