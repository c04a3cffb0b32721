"""The JSON border: what otelier stores or sends as JSON passes here, and comes back with its types.

`to_json` writes strict JSON, which any reader takes: no `NaN`, no keys but text, no half of a UTF-16 pair. What has no
form in JSON is refused with its place, and nothing is lost in silence. `from_json` reads it, and gives a value its
type back where one is named. Exceptions travel as data, see `error_to_json`; no class is imported on the way.

Pydantic is loaded with the first value that needs it.
"""

from __future__ import annotations

from otelier.codec._errors import error_from_json, error_to_json
from otelier.codec._strict import read_json, whole_text
from otelier.codec._values import MAX_BYTES, check_size, from_json, from_plain, to_json, to_plain

__all__ = [
    "MAX_BYTES",
    "check_size",
    "error_from_json",
    "error_to_json",
    "from_json",
    "from_plain",
    "read_json",
    "to_json",
    "to_plain",
    "whole_text",
]
