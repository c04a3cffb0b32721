"""Checks of signals against the semantic conventions: attributes, metrics and content.

It reads a folder with `registry.json` (attributes and metrics as data) and `schemas/` (the conventions' JSON schemas).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

OURS = ("otelier.", "compared.")
"""What no convention has to know: our own, and the mark of the hook that the comparison puts in."""
NEWER = {
    "gen_ai.usage.cache_write.input_tokens": "int",
    "gen_ai.usage.text.input_tokens": "int",
    "gen_ai.usage.text.output_tokens": "int",
    "gen_ai.usage.image.input_tokens": "int",
    "gen_ai.usage.image.output_tokens": "int",
    "gen_ai.usage.audio.input_tokens": "int",
    "gen_ai.usage.audio.output_tokens": "int",
    "openai.api.type": "string",
}
"""Attributes that joined the conventions after the registry was taken."""
TYPES: dict[str, set[str]] = {
    "string": {"str"},
    "int": {"int"},
    "double": {"float"},
    "boolean": {"bool"},
    "string[]": {"tuple", "list"},
}


class Conventions:
    """The conventions in *folder*; without one nothing is looked at."""

    def __init__(self, folder: Path | None) -> None:
        self.checked = 0
        """Attributes looked at so far."""
        self.found: Counter[str] = Counter()
        """What was wrong so far."""
        self._known = folder is not None
        if folder is None:
            return
        registry = json.loads((folder / "registry.json").read_text(encoding="utf-8"))
        self._types = {one["id"]: one["type"].removeprefix("enum:") for one in registry["attributes"]} | NEWER
        self._metrics = {one["name"]: (one["unit"], one["buckets"]) for one in registry["signals"]["metrics"]}
        self._schemas = {
            file.stem: Draft202012Validator(json.loads(file.read_text(encoding="utf-8")))
            for file in (folder / "schemas").glob("*.json")
        }

    def look(self, signals: dict[str, list[Any]]) -> int:
        """Look at the signals of one call; return how much is wrong in them."""
        faults = list(self._faults(signals)) if self._known else []
        self.found.update(faults)
        return len(faults)

    def _faults(self, signals: dict[str, list[Any]]) -> Iterator[str]:
        for span in signals["spans"]:
            yield from self._attributes(span["attributes"], on_span=True)
        for event in signals["events"]:
            yield from self._attributes(event["attributes"], on_span=False)
        for name, unit, bounds, *_, attributes in signals["points"]:
            if self._metrics.get(name) != (unit, bounds):
                yield f"metric {name} in {unit}, {bounds}: the conventions have {self._metrics.get(name)}"
            yield from self._attributes(attributes, on_span=False)

    def _attributes(self, attributes: dict[str, Any], *, on_span: bool) -> Iterator[str]:
        for key, (kind, value) in attributes.items():
            self.checked += 1
            wanted = self._types.get(key)
            if wanted is None:
                if not key.startswith(OURS):
                    yield f"{key}: not in the conventions"
            elif wanted != "any":
                if kind not in TYPES[wanted] or (
                    wanted == "string[]" and not all(isinstance(one, str) for one in value)
                ):
                    yield f"{key}: {kind} {str(value)[:40]!r}, not {wanted}"
            elif on_span and kind != "str":
                yield f"{key}: {kind} on a span, not JSON"
            else:
                schema = self._schemas[key.replace("_", "-").replace(".", "-")]
                for error in schema.iter_errors(json.loads(value) if on_span else value):
                    yield f"{key}: {error.json_path} {error.message[:160]}"
