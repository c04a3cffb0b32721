#!/usr/bin/env bash
# Compare redaction with detect-secrets and presidio on the corpus of the tests, in an environment of its own.
#   scripts/redaction_compared.sh BIN       BIN: the bin folder of the development environment
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$bin/python" -m venv "$work/env"
VIRTUAL_ENV=$work/env "$bin/uv" pip install --quiet . "detect-secrets==1.5.0" "presidio-analyzer==2.2.366"
"$work/env/bin/python" benchmarks/redaction_compared.py
