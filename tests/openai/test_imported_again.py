"""openai imported more than once in a process."""

from __future__ import annotations

from otelier.testing import OpenAIServer
from tests.programs import run

PROGRAM = """
import importlib, json, sys
import otelier
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
otelier.init(tracer_provider=provider)
calls = []
for _ in range(3):
    openai = importlib.import_module("openai")
    with openai.OpenAI(max_retries=0) as client:
        client.chat.completions.create(model="gpt-4.1-mini", messages=[{"role": "user", "content": "Hello"}])
        list(client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hello"}], stream=True))
    for name in [name for name in sys.modules if name.split(".")[0] == "openai"]:
        del sys.modules[name]
print(json.dumps([span.name for span in exporter.get_finished_spans()]))
"""


def test_openai_that_is_dropped_and_imported_again():
    """A process that drops openai from its modules and imports it anew, as reloaders and some tests do, is told on."""
    with OpenAIServer() as server:
        ran = run(PROGRAM, OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY="sk-none")
    assert ran.answer == ["chat gpt-4.1-mini", "chat m"] * 3
