#!/usr/bin/env bash
# Run the quick tests on every other Python from 3.10 to 3.14 that is at hand: on the PATH, or where pyenv and uv keep
# them. The one that `make test` uses is left to it.
#   scripts/matrix.sh BIN       BIN: the bin folder of the development environment
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$PWD/$1/uv
ours=$("$1/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

interpreter() { # the path of a Python $1 that starts, or nothing
  local found
  for found in "$(command -v "python$1" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python \
    "$("$uv" python find --system --no-project "$1" 2>/dev/null || true)"; do
    if [ "$("$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$1" ]; then
      echo "$found"
      return
    fi
  done
}

failed=0 summary=""
for version in 3.10 3.11 3.12 3.13 3.14; do
  if [ "$version" = "$ours" ]; then
    summary+="  $version  left out: \`make test\` runs on it"$'\n'
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
