#!/usr/bin/env bash
# Run the tests of the openai room on the last release of openai 2; `make floor` has the oldest, `make test` the newest.
#   scripts/openai.sh BIN       BIN: the bin folder of the development environment
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$bin/uv" export --frozen --quiet --no-dev --group test --extra demo --no-hashes --no-emit-package openai \
  --no-emit-project >"$work/locked.txt"
"$bin/python" -m venv "$work/env"
export VIRTUAL_ENV=$work/env
"$bin/uv" pip install --quiet --requirements "$work/locked.txt" "openai>=2,<3"
"$bin/uv" pip install --quiet --no-deps .
"$bin/uv" pip list 2>/dev/null | grep -E '^(openai|httpx2?) '
scripts/quick.sh "$work/env/bin/python" tests/openai
