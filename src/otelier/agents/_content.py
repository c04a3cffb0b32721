"""What a run and a call of a tool say, in the form of the conventions; it goes through the content gate only.

See: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans/
"""

from __future__ import annotations

import json
from typing import Any, cast

from pydantic import BaseModel

from otelier import names
from otelier.agents._read_only import begins_with_prompt
from otelier.agents._run import Run


def run_content(run: Run, output: object) -> dict[str, list[dict[str, Any]]]:
    """Return by attribute what the run was asked and told, and what it came to; `None` is nothing yet."""
    found = {names.INPUT_MESSAGES: [{"role": "user", "parts": _parts(run.task.content)}]}
    if begins_with_prompt(run.messages) and isinstance(run.messages[0].get("content"), str):
        found[names.SYSTEM_INSTRUCTIONS] = _text(run.messages[0]["content"])
    if run.offers and run.questions:  # not of a run that ended before it offered any
        found[names.TOOL_DEFINITIONS] = [
            {"type": names.FUNCTION, **offer.to_param()["function"]} for offer in run.offers.values()
        ]
    if output is not None:
        said = output.model_dump_json() if isinstance(output, BaseModel) else str(output)
        found[names.OUTPUT_MESSAGES] = [
            {"role": "assistant", "parts": _text(said), "finish_reason": run.finish_reason or "stop"}
        ]
    return found


def result_content(told: str) -> dict[str, Any]:
    """Return a result as the object that the conventions ask for: itself if it is one, else as `result`."""
    try:
        result = json.loads(told)
    except (ValueError, RecursionError):  # a tool may return `[[[[…`
        result = None
    if isinstance(result, dict):
        return cast("dict[str, Any]", result)
    return {"result": result if isinstance(result, list) else told}


def _parts(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return _text(content)
    return [_text(str(part.get("text")))[0] if part["type"] == "text" else part for part in content]


def _text(content: str) -> list[dict[str, Any]]:
    return [{"type": "text", "content": content}]
