"""What the comments of `collector-config/` promise, read from the files; `make test-backends` runs them for real."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG = Path(__file__).parents[1] / "collector-config"
FILES = ("collector.yaml", "jaeger.yaml", "prometheus.yaml")
ADDRESS = re.compile(r"\b(?:\d{1,3}(?:\.\d{1,3}){3}|localhost):(\d+)")


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIG / name).read_text())


@pytest.mark.parametrize("pipeline", ["traces", "metrics", "logs"])
def test_every_pipeline_limits_memory_first_and_batches_last(pipeline: str) -> None:
    """Data is refused before any work is done on it, and batched when no more of it falls away."""
    processors = load("collector.yaml")["service"]["pipelines"][pipeline]["processors"]
    assert (processors[0], processors[-1]) == ("memory_limiter", "batch")


@pytest.mark.parametrize("name", FILES)
def test_every_address_is_loopback(name: str) -> None:
    """Nobody but this machine can reach what these files start, unless a variable says so."""
    settings = yaml.safe_dump(load(name))
    addresses = [found.group(0) for found in ADDRESS.finditer(settings)]
    assert addresses
    assert [address for address in addresses if not address.startswith("127.0.0.1:")] == []


def test_the_files_fit_together() -> None:
    """Collector and Jaeger take no port twice, and each is looked for where it is."""
    collector, jaeger, prometheus = ((CONFIG / name).read_text() for name in FILES)
    assert "COLLECTOR_JAEGER:-127.0.0.1:14317" in collector
    assert "JAEGER_OTLP_GRPC:-127.0.0.1:14317" in jaeger
    assert "COLLECTOR_PROMETHEUS:-127.0.0.1:8889" in collector
    assert '"127.0.0.1:8889"' in prometheus
    listening = ADDRESS.findall(yaml.safe_dump({**load("collector.yaml"), "exporters": None}))
    listening += ADDRESS.findall(yaml.safe_dump(load("jaeger.yaml")))
    assert len(listening) == len(set(listening))


def test_the_readme_lists_every_variable() -> None:
    """Each variable a file reads stands in the README with its default, and no other does."""
    read = {
        (name, default)
        for file in FILES
        for name, default in re.findall(r"\$\{env:(\w+):-([^}]*)\}", (CONFIG / file).read_text())
    }
    listed = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", (CONFIG / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(read)
