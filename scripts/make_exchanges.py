"""Make `src/otelier/testing/exchanges/*.json` from a folder of recorded cassettes.

    python scripts/make_exchanges.py CASSETTE_FOLDER

The cassettes are those of opentelemetry-instrumentation-genai-openai (sdist, `tests/cassettes`). At most a dozen
exchanges are taken, and of their headers only those an OpenAI client shows its user.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

TARGET = Path(__file__).resolve().parent.parent / "src" / "otelier" / "testing" / "exchanges"
KEPT_HEADERS = ("content-type", "openai-processing-ms", "openai-version", "x-request-id")
LIMIT_BYTES = 100_000
CHOSEN = {
    "chat": ("test_chat_completion_with_content.yaml", 0),
    "chat_stream": ("test_chat_completion_streaming_not_complete.yaml", 0),
    "chat_stream_usage": ("test_chat_completion_streaming.yaml", 0),
    "chat_tools": ("test_chat_completion_tool_calls_with_content.yaml", 0),
    "chat_tools_answer": ("test_chat_completion_tool_calls_with_content.yaml", 1),
    "chat_tools_stream": ("test_chat_completion_multiple_tools_streaming_with_content.yaml", 0),
    "chat_unknown_model": ("test_chat_completion_404.yaml", 0),
    "responses": ("test_responses_create_basic[content_mode0].yaml", 0),
    "responses_stream": ("test_responses_create_streaming[content_mode0].yaml", 0),
    "responses_tools": ("test_responses_create_captures_tool_call_content[content_mode0].yaml", 0),
    "responses_fetch": ("test_responses_retrieve_basic[content_mode0].yaml", 0),
    "embeddings": ("test_embeddings_with_encoding_format.yaml", 0),
}


def exchange(interaction: dict[str, Any]) -> dict[str, Any]:
    """Return what matters of one recorded interaction."""
    request, response = interaction["request"], interaction["response"]
    headers = {name.lower(): value for name, value in response["headers"].items()}
    taken: dict[str, Any] = {
        "method": request["method"],
        "path": urlsplit(request["uri"]).path,
        "request": json.loads(request["body"]) if request["body"] else None,
        "status": response["status"]["code"],
        "headers": {name: headers[name][0] for name in KEPT_HEADERS if name in headers},
    }
    text = response["body"]["string"]
    if headers["content-type"][0].startswith("text/event-stream"):
        taken["events"] = [event(frame) for frame in text.strip().split("\n\n")]
    else:
        taken["body"] = json.loads(text)
    return taken


def event(frame: str) -> dict[str, Any]:
    """Return one server-sent event as its fields; `data` is parsed where it is JSON."""
    fields = dict(line.split(": ", 1) for line in frame.splitlines())
    data = fields["data"]
    fields["data"] = json.loads(data) if data.startswith("{") else data
    return fields


def main() -> None:
    """Write the files, and refuse when they grow beyond the limit."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("cassettes", type=Path, help="folder of the recorded cassettes")
    folder: Path = parser.parse_args().cassettes
    texts: dict[str, str] = {}
    for name, (file, index) in CHOSEN.items():
        interactions = yaml.safe_load((folder / file).read_text(encoding="utf-8"))["interactions"]
        taken = {"source": file, **exchange(interactions[index])}
        texts[name] = json.dumps(taken, indent=1, ensure_ascii=False) + "\n"
    size = sum(len(text.encode()) for text in texts.values())
    if size >= LIMIT_BYTES:
        raise SystemExit(f"The exchanges take {size} bytes: the package may carry {LIMIT_BYTES}. Choose smaller ones.")
    for name, text in texts.items():
        (TARGET / f"{name}.json").write_text(text, encoding="utf-8")
    print(f"{len(texts)} exchanges, {size} bytes, in {TARGET.name}/")


if __name__ == "__main__":
    main()
