#!/usr/bin/env bash
# Run the quick tests, as many at once as there are cores.
#   scripts/quick.sh PYTHON [WHERE...]       PYTHON: of an environment with the tests' packages
set -euo pipefail
cd "$(dirname "$0")/.."
exec "$1" -m pytest -q -m "not slow and not backends and not beside" -n auto --dist worksteal "${@:2}"
