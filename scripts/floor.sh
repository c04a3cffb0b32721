#!/usr/bin/env bash
# Run the quick tests on the oldest releases that pyproject.toml allows.
#   scripts/floor.sh BIN        BIN: the bin folder of the development environment
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$bin/uv" build --quiet --wheel --out-dir "$work" .
"$bin/python" -m venv "$work/env"
export VIRTUAL_ENV=$work/env
"$bin/uv" pip install --quiet --resolution lowest-direct --requirements pyproject.toml --extra demo --group test
"$bin/uv" pip install --quiet --no-deps "$work"/otelier-*.whl
"$bin/uv" pip list 2>/dev/null | grep -E '^(openai|opentelemetry-(sdk|instrumentation)|wrapt|fastapi|pytest) '
scripts/quick.sh "$work/env/bin/python" tests
