"""The real programs accept the files of `collector-config/`."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.backends.programs import CONFIG, environment, program


def test_collector_validates_its_configuration() -> None:
    """`otelcol validate` finds no fault in collector.yaml, and nothing deprecated."""
    checked = subprocess.run(
        [program("otelcol"), "validate", f"--config={CONFIG / 'collector.yaml'}"],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_collector_names_the_variable_it_cannot_read(tmp_path: Path) -> None:
    """A wrong value in a variable stops the Collector before it starts, with the place in the file."""
    checked = subprocess.run(
        [program("otelcol"), "validate", f"--config={CONFIG / 'collector.yaml'}"],
        env=environment(COLLECTOR_MEMORY_MIB="plenty"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode != 0
    assert "limit_mib" in checked.stderr


def test_prometheus_accepts_its_configuration() -> None:
    """`promtool check config` finds no fault in prometheus.yaml."""
    checked = subprocess.run(
        [program("promtool"), "check", "config", str(CONFIG / "prometheus.yaml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
