#!/usr/bin/env bash
# Run the quick tests and tell which lines of src no test runs: a floor of pyproject.toml must be reached.
#   scripts/coverage.sh BIN     BIN: the bin folder of the development environment
# It stands in for one Python of `make matrix`, so that CI runs no test twice for it.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1
. scripts/interpreters.sh

version=$(measured)
python=$bin/python
if [ "$version" != "$ours" ]; then
  UV_PROJECT_ENVIRONMENT=.envs/$version "$uv" sync --frozen --quiet --python "$(interpreter "$version")"
  python=.envs/$version/bin/python
fi
echo "--- coverage, on Python $version ---"
rm -f .coverage .coverage.*
case $version in 3.10 | 3.11) ;; *) export COVERAGE_CORE=sysmon ;; esac
MEASURED=1 scripts/quick.sh "$python"
"$python" -m coverage combine --quiet
"$python" -m coverage report
