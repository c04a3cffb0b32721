#!/usr/bin/env bash
# Build the wheel, install it with pip and without extras into a fresh environment, and look at it there.
#   scripts/minimal.sh BIN      BIN: the bin folder of the development environment
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1 root=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$bin/uv" build --quiet --wheel --out-dir "$work" .
"$bin/python" -m venv "$work/env"
"$work/env/bin/python" -m pip install --quiet "$work"/otelier-*.whl
cd "$work" # away from the sources, so that only what was installed can be found
"$work/env/bin/python" -I "$root/scripts/check_minimal.py" "$work"/otelier-*.whl
