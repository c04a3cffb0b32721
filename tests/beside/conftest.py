"""Children in the environment that scripts/beside.sh made, with what is installed there chosen by each test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otelier.testing import OpenAIServer, OtlpReceiver
from tests.programs import environment, exporting_to

PROGRAMS = Path(__file__).parent / "programs"
SCOPES = {
    "official": "opentelemetry.instrumentation.genai.openai",
    "traceloop": "opentelemetry.instrumentation.openai",
    "openinference": "openinference.instrumentation.openai",
}
"""The instrumentations of openai, by the name scripts/beside.sh gives them; module and prefix of their scopes."""


@dataclass(frozen=True)
class Told:
    """What a program exported."""

    spans: list[Any]
    metrics: list[Any]
    logs: list[Any]

    def requests(self) -> dict[str, list[Any]]:
        """All spans below each root, by the root's name."""
        found = self.by_root("")
        return {root: [span for span in spans if span.parent_id is not None] for root, spans in found.items()}

    def by_root(self, prefix: str) -> dict[str, list[Any]]:
        """The spans of the scopes that begin with *prefix*, by the name of their trace's root."""
        found: dict[str, list[Any]] = {span.name: [] for span in self.spans if span.parent_id is None}
        roots = {span.trace_id: span.name for span in self.spans if span.parent_id is None}
        for span in self.spans:
            if f"{span.scope}.".startswith(prefix):
                found[roots[span.trace_id]].append(span)
        return found

    def says_nothing_of_ours(self) -> bool:
        """Whether no span, metric or event of the calls comes from otelier."""
        records = [*self.spans, *self.metrics, *self.logs]
        return not [record for record in records if record.scope == "otelier.openai"]


@pytest.fixture(scope="session")
def folder() -> Path:
    """The environment."""
    return Path(os.environ["OTELIER_BESIDE"])


@pytest.fixture
def run(folder: Path) -> Callable[..., Told]:
    """Run a program with what is *installed*, in that order, and return what it exported; *script* tells the model."""

    def run(
        program: str,
        *arguments: str,
        installed: list[str],
        by_hand: bool = False,
        script: Callable[[OpenAIServer], None] | None = None,
        **given: str,
    ) -> Told:
        with OtlpReceiver() as receiver, OpenAIServer() as model:
            if script is not None:
                script(model)
            variables = environment(
                **exporting_to(receiver.url),
                OPENAI_BASE_URL=model.base_url,
                OPENAI_API_KEY="sk-none",
                OTEL_SERVICE_NAME="shop",
                # What a package registers is found where its metadata is: the order of the path is that of the finding.
                PYTHONPATH=os.pathsep.join(str(folder / "installed" / name) for name in installed),
                **given,
            )
            command = [str(folder / "env/bin/python"), str(PROGRAMS / program), *arguments]
            if not by_hand:
                command.insert(0, str(folder / "env/bin/opentelemetry-instrument"))
            done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)
            assert (done.returncode, done.stdout.strip()) == (0, '"done"'), done.stderr
            assert "Traceback" not in done.stderr, done.stderr
            return Told(list(receiver.spans), list(receiver.metrics), list(receiver.logs))

    return run
