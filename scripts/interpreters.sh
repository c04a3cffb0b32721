#!/usr/bin/env bash
# To be sourced: the Pythons at hand, on the PATH or where pyenv and uv keep them. `bin` is the bin folder of the
# development environment.
uv=$bin/uv
ours=$("$bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

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

measured() { # the version that coverage is measured on: the newest with sys.monitoring, which costs little; or ours
  local version
  for version in 3.14 3.13 3.12; do
    if [ "$version" != "$ours" ] && [ -n "$(interpreter "$version")" ]; then
      echo "$version"
      return
    fi
  done
  echo "$ours"
}
