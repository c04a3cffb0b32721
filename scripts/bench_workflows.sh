#!/usr/bin/env bash
# Measure workflows beside DBOS on SQLite, which gets an environment of its own.
#   scripts/bench_workflows.sh BIN [OPTION...]      BIN: the bin folder of the development environment
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$bin/python" -m venv "$work/env"
VIRTUAL_ENV=$work/env "$bin/uv" pip install --quiet "dbos==3.4.0"
uptime
"$bin/python" benchmarks/workflows.py --dbos "$work/env/bin/python" "$@"
uptime
