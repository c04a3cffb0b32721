#!/usr/bin/env bash
# Run the quick tests, as many at once as there are cores.
#   scripts/quick.sh PYTHON [WHERE...]       PYTHON: of an environment with the tests' packages
#   MEASURED=1                               keeps which lines ran, for coverage.py
# Nothing here is a matter of time: a busy machine takes longer, and fails nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

cores=$("$1" -c 'import os; print(os.cpu_count())')
if [ $# -eq 1 ]; then
    echo "Some 10,000 tests on $cores cores: about $((10 / cores + 1)) minutes where nothing else runs."
fi
status=0
"$1" ${MEASURED:+-m coverage run} -m pytest -q -m "not slow and not backends and not beside and not restate" -n auto --dist worksteal "${@:2}" || status=$?
echo "It took $((SECONDS / 60)) min $((SECONDS % 60)) s."
exit "$status"
