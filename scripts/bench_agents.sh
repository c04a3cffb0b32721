#!/usr/bin/env bash
# Measure a step of an agent beside the frameworks that others use, in an environment of their own.
#   scripts/bench_agents.sh BIN      BIN: the bin folder of the development environment
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$bin/python" -m venv "$work/env"
export VIRTUAL_ENV=$work/env
"$bin/uv" pip install --quiet . \
  "openai-agents>=0.6" "pydantic-ai-slim[openai]>=2" "openinference-instrumentation-openai-agents>=2"
"$bin/uv" pip list 2>/dev/null | grep -E '^(openai|openai-agents|opentelemetry-sdk|openinference-.*-agents|pydantic-ai-slim) '
uptime
"$work/env/bin/python" benchmarks/steps.py
uptime
