"""What is committed: nothing that only one machine has, and no file without a licence to be there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Written in pieces, so that this file does not find itself.
LOCAL = re.compile(
    "|".join(["/" + "work/", "/" + "root/", "/" + r"home/\w+/", r"\.pyenv/versions/\d", "/" + "opt/wheels"])
)


def committed():
    """Every text file under version control."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a clone")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_nothing_committed_names_a_machine():
    """Paths of one machine mean nothing on another."""
    found = []
    for path in committed():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in LOCAL.finditer(text)]
    assert found == []


def test_the_lock_names_the_public_index_only():
    """Whoever locks behind a mirror must not commit the mirror's address."""
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text(encoding="utf-8")))
    assert hosts <= {"pypi.org", "files.pythonhosted.org"}


def test_scripts_can_be_run():
    """What the Makefile and CI call is executable and parses."""
    for path in [ROOT / ".ci" / "run", *(ROOT / "scripts").glob("*.sh")]:
        assert os.access(path, os.X_OK), path.name
        subprocess.run(["bash", "-n", str(path)], check=True)


def test_the_licences_are_there():
    """The whole text of Apache-2.0, and the note of the recorded exchanges."""
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    note = (ROOT / "src" / "otelier" / "testing" / "exchanges" / "LICENSE").read_text(encoding="utf-8")
    for part in ("Apache-2.0", "The OpenTelemetry Authors", "opentelemetry-instrumentation-genai-openai 1.3b0"):
        assert part in note
