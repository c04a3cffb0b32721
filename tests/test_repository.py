"""What is committed: nothing that only one machine has, and no file without a licence to be there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

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


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def targets():
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_can_be_run(path):
    """A workflow is valid YAML, names each action by its commit, and calls what is there."""
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    for action in (step["uses"] for step in steps if "uses" in step):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
    commands = "\n".join(step["run"] for step in steps if "run" in step)
    assert set(re.findall(r"\bmake ([a-z-]+)", commands)) <= targets()
    assert all((ROOT / script).exists() for script in re.findall(r"^\.\w+/\w+$", commands, re.MULTILINE))


def test_ci_runs_what_make_check_runs():
    """Whoever has run `make check` is not surprised by CI."""
    steps = re.findall(r"^step make ([a-z-]+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    check = re.search(r"^check: ([a-z -]+) ##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert check is not None
    assert steps == check[1].split()


def test_the_publishing_workflow_is_the_trusted_one():
    """RELEASING.md registers this workflow and environment with PyPI; nothing else may ask for a token."""
    page = (ROOT / "RELEASING.md").read_text(encoding="utf-8")
    assert [path.name for path in WORKFLOWS if "id-token" in path.read_text(encoding="utf-8")] == ["publish.yml"]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text(encoding="utf-8"))
    environment = workflow["jobs"]["publish"]["environment"]["name"]
    assert f"workflow `publish.yml`, environment `{environment}`" in page
    # `on` is a boolean to YAML 1.1.
    assert workflow[True] == {"push": {"tags": ["v*"]}}


def test_a_release_uses_targets_that_are_there():
    """Each command of RELEASING.md is a target."""
    page = (ROOT / "RELEASING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^ *make ([a-z-]+)$", page, re.MULTILINE))
    assert {"check", "build"} <= named <= targets()


def test_hooks_are_what_lint_runs():
    """pre-commit runs tools of the locked environment only, each of them one that `make lint` or a test runs too."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    lint = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nlint:")[2].partition("\n\n")[0]
    for hook in hooks[0]["hooks"]:
        assert hook["entry"].startswith(".venv/bin/")
        words = hook["entry"].removeprefix(".venv/bin/").split()
        assert f"$(BIN)/{words[0]}" in lint or (ROOT / words[1]).exists()


def test_ci_runs_what_check_names():
    """`make check` is what CI runs, as CONTRIBUTING.md says."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (check,) = re.findall(r"^check: (.+?) ##", makefile, re.MULTILINE)
    steps = re.findall(r"^step make ([a-z-]+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(steps) == sorted(check.split())


def test_contributing_names_what_is_there():
    """Each path that the map of the house names leads somewhere."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = {
        path for path in re.findall(r"`([\w.-]+/[\w./-]*|\w+\.(?:py|md|toml|lock))`", text) if path != "_private.py"
    }
    inside = [ROOT, ROOT / "src", ROOT / "src" / "otelier", ROOT / "src" / "otelier" / "openai"]
    made = {".envs/running", "build/restate", "build/site", "dist/"}
    assert len(paths) > 30
    assert sorted(path for path in paths - made if not any((folder / path).exists() for folder in inside)) == []
