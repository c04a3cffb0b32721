"""Look at an installation without extras: what the wheel holds, what an import loads, what a missing extra says.

python scripts/check_minimal.py otelier-*.whl
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import zipfile
from pathlib import Path

EXTRAS = ("typer", "rich", "fastapi", "uvicorn")
HEAVY = ("openai", "wrapt", "pydantic", "jsonschema", "opentelemetry.sdk", "opentelemetry.instrumentation")
MAX_EXCHANGES = 12
MAX_EXCHANGES_BYTES = 100_000


def main() -> None:
    """Run the checks; the first that fails ends the run."""
    bin_folder = Path(sys.executable).parent
    _wheel(Path(sys.argv[1]))
    installed = {found.name.lower() for found in importlib.metadata.distributions()}
    _hold("no extra is installed", not installed.intersection(EXTRAS))

    loaded = json.loads(_python("import json, sys, otelier; print(json.dumps(sorted(sys.modules)))"))
    heavy = [name for name in loaded if name.startswith(HEAVY)]
    _hold("`import otelier` loads the OpenTelemetry API only", not heavy, heavy)
    names = "import otelier; print([name for name in otelier.__all__ if getattr(otelier, name, None) is None])"
    _hold("every name of `otelier.__all__` resolves", _python(names).strip() == "[]")
    _python("import otelier; otelier.init(app='minimal'); otelier.shutdown()")
    _hold("`init` and `shutdown` run", True)

    demo = subprocess.run([bin_folder / "otelier", "demo"], capture_output=True, text=True, check=False, timeout=60)
    said = demo.stdout + demo.stderr
    line = 'pip install "otelier['
    _hold("`otelier demo` without its extra prints the install line", demo.returncode != 0 and line in said, said)
    _hold("... and no traceback", "Traceback" not in said, said)

    program = [bin_folder / "opentelemetry-instrument", "--traces_exporter", "none", "--metrics_exporter", "none"]
    program += ["--logs_exporter", "none", sys.executable, "-c", "from otelier.setup import activate; print('ran')"]
    run = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    _hold("`opentelemetry-instrument` starts a program quietly", run.stdout == "ran\n" and not run.stderr, run.stderr)


def _wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    exchanges = [name for name in sizes if name.startswith("otelier/testing/exchanges/") and name.endswith(".json")]
    size = sum(sizes[name] for name in exchanges)
    _hold(f"the wheel holds {len(exchanges)} recorded exchanges, {size} bytes", 0 < len(exchanges) <= MAX_EXCHANGES)
    _hold("... under 100 kB", size < MAX_EXCHANGES_BYTES)
    _hold("... with their licence note", "otelier/testing/exchanges/LICENSE" in sizes)
    _hold("the wheel holds `py.typed`", "otelier/py.typed" in sizes)
    strangers = [name for name in sizes if not name.startswith(("otelier/", "otelier-"))]
    _hold("the wheel holds nothing else", not strangers, strangers)


def _python(code: str) -> str:
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=60)
    if run.returncode:
        raise SystemExit(f"FAILED  {code}\n{run.stderr}")
    return run.stdout


def _hold(what: str, holds: bool, found: object = "") -> None:
    if not holds:
        raise SystemExit(f"FAILED  {what}\n{found}")
    print(f"  ok  {what}")


if __name__ == "__main__":
    main()
