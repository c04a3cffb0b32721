#!/usr/bin/env bash
# Run the quick tests on every other Python from 3.10 to 3.14 that is at hand. Those that `make test` and
# `make coverage` use are left to them.
#   scripts/matrix.sh BIN       BIN: the bin folder of the development environment
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1
. scripts/interpreters.sh

covered=$(measured)
failed=0 summary=""
for version in 3.10 3.11 3.12 3.13 3.14; do
  if [ "$version" = "$ours" ]; then
    summary+="  $version  left out: \`make test\` runs on it"$'\n'
    continue
  fi
  if [ "$version" = "$covered" ]; then
    summary+="  $version  left out: \`make coverage\` runs on it"$'\n'
    continue
  fi
  python=$(interpreter "$version")
  if [ -z "$python" ]; then
    summary+="  $version  skipped: no such interpreter on the PATH, nor with pyenv or uv"$'\n'
    continue
  fi
  echo "--- Python $version ---"
  if UV_PROJECT_ENVIRONMENT=.envs/$version "$uv" sync --frozen --quiet --python "$python" &&
    scripts/quick.sh ".envs/$version/bin/python"; then
    summary+="  $version  passed"$'\n'
  else
    summary+="  $version  FAILED"$'\n'
    failed=1
  fi
done
printf '%s' "$summary"
exit $failed
