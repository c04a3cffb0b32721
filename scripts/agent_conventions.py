"""Write what the conventions say about the signals of agents, as the tests read it: `tests/agents/conventions.json`.

    python scripts/agent_conventions.py REGISTRY.json

The registry is the conventions as data; names, types, levels and bounds are taken, and no text.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "tests" / "agents" / "conventions.json"
SPANS = {"invoke_agent": "gen_ai.invoke_agent.internal", "execute_tool": "gen_ai.execute_tool.internal"}
METRICS = ("gen_ai.invoke_agent.", "gen_ai.execute_tool.")
NEWER = {"execute_tool": {"gen_ai.conversation.id": "conditionally_required"}}
"""Additions to the conventions since the registry was copied."""


def _levels(signal: dict[str, Any]) -> dict[str, str]:
    return {one["id"]: one["requirement"]["level"] for one in signal["attributes"]}


def table(registry: dict[str, Any]) -> dict[str, Any]:
    """The types of all attributes, and for each signal of agents what it may and must carry."""
    signals = registry["signals"]
    spans = {one["type"]: one for one in signals["spans"]}
    return {
        "types": {
            one["id"]: one["type"].removeprefix("enum:")
            for one in sorted(registry["attributes"], key=lambda one: one["id"])
            if one["id"].startswith(("gen_ai.", "error.", "user.", "session."))
        },
        "spans": {
            name: {"kind": spans[kind]["kind"], "attributes": {**_levels(spans[kind]), **NEWER.get(name, {})}}
            for name, kind in SPANS.items()
        },
        "metrics": {
            one["name"]: {"unit": one["unit"], "buckets": one["buckets"], "attributes": _levels(one)}
            for one in signals["metrics"]
            if one["name"].startswith(METRICS)
        },
    }


if __name__ == "__main__":
    read = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    TARGET.write_text(json.dumps(table(read), indent=1) + "\n", encoding="utf-8")
