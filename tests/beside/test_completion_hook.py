"""A completion hook with the real `opentelemetry-util-genai`: it gets what the official instrumentation gives it."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.beside

HOOK = """
import dataclasses, json
from opentelemetry.util.genai.types import InputMessage, OutputMessage

class Hook:
    def on_completion(self, *, inputs, outputs, system_instruction, tool_definitions=None, span=None, log_record=None):
        assert all(type(message) is InputMessage for message in inputs)
        assert all(type(message) is OutputMessage for message in outputs)
        given = [*inputs, *outputs, *system_instruction, *(tool_definitions or ())]
        span.set_attribute("acme.given", json.dumps([dataclasses.asdict(one) for one in given]))
"""
PROGRAM = """
import openai
client = openai.OpenAI()
messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
tool = {"type": "function", "function": {"name": "search", "description": "Finds.", "parameters": {"type": "object"}}}
client.chat.completions.create(model="gpt-4.1", messages=messages, tools=[tool])
list(client.chat.completions.create(model="gpt-4.1", messages=messages, stream=True))
client.responses.create(model="gpt-4.1", input=messages, instructions="Be kind.")
print('"done"')
"""


def test_the_same_as_the_official(run, tmp_path):
    """The hook that the environment names is called for each call, with equal data of the same types."""
    (tmp_path / "acme_hook.py").write_text(HOOK)
    (tmp_path / "program.py").write_text(PROGRAM)
    metadata = tmp_path / "acme_hook-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-hook\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[opentelemetry_genai_completion_hook]\nacme = acme_hook:Hook\n")
    given = []
    for instrumentation in ("official", "otelier"):
        told = run(
            str(tmp_path / "program.py"),
            installed=[instrumentation, str(tmp_path)],
            OTEL_INSTRUMENTATION_GENAI_COMPLETION_HOOK="acme",
        )
        assert [span for span in told.spans if "gen_ai.input.messages" in span.attributes] == []
        given.append([json.loads(span.attributes["acme.given"]) for span in told.spans])
    theirs, ours = given
    assert ours == theirs
    assert len(ours) == 3
