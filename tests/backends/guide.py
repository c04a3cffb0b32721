"""The blocks of `docs/jaeger.md`, run as a reader would run them."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from otelier.testing import OpenAIServer
from tests.backends.programs import ROOT, environment, eventually, running

PAGE = (ROOT / "docs" / "jaeger.md").read_text()
ADDRESS = "http://127.0.0.1:8000"
START = "opentelemetry-instrument uvicorn app:app"


def blocks(language: str) -> list[str]:
    """Return the page's blocks in *language*."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def block(language: str, containing: str) -> str:
    """Return the page's one block in *language* that contains *containing*."""
    found = [text for text in blocks(language) if containing in text]
    assert len(found) == 1, f"docs/jaeger.md has {len(found)} blocks of {language} with {containing!r}, not one"
    return found[0]


def moved(text: str, places: Mapping[str, str]) -> str:
    """Return *text* with what the page says replaced by what this run uses; each must be there."""
    for told, used in places.items():
        assert told in text, told
        text = text.replace(told, used)
    return text


def rows(heading: str) -> dict[str, str]:
    """Return the first two columns of the table below *heading*, without their backticks."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", section, re.MULTILINE))


@contextmanager
def service(
    start: str, port: int, folder: Path, *, source: str = "", stop: signal.Signals = signal.SIGINT
) -> Iterator[str]:
    """Run the page's service by the shell block *start* until *stop*; give its address.

    It asks a local model. *source* is a block of the page that follows the service's own.
    """
    (folder / "app.py").write_text(block("python", "@app.post") + source)
    # `exec`, so that the signal reaches the service and not the shell.
    script = moved(start, {START: f"exec {START} --port {port}"})
    with OpenAIServer() as model:
        env = environment(OPENAI_BASE_URL=model.base_url)
        with running(["bash", "-ec", script], folder=folder, env=env, name="service", stop=stop):
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: httpx.get(f"{url}/openapi.json").status_code == 200, "the start of the service")
            yield url
