#!/usr/bin/env bash
# How many tests of workflows run on each engine: `scripts/count_engines.sh [PYTHON]`.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
collect() { "$python" -m pytest --collect-only -q -n0 "$@" tests/workflows tests/seeds/test_agnt5.py | grep '::'; }

all=$(collect)
on() { grep -cE "\[([^]]*-)?$1(-[^]]*)?\]$" <<<"$all"; }
printf 'memory\t%s\nfile\t%s\nrestate\t%s\n' "$(on memory)" "$(on file)" "$(on restate)"
printf 'restate alone\t%s\n' "$(($(collect -m restate | wc -l) - $(on restate)))"
printf 'all\t%s\n' "$(wc -l <<<"$all")"
