#!/usr/bin/env bash
# Run the tests beside other instrumentations of openai and inside agent frameworks, each as a user would install it.
#   scripts/beside.sh BIN       BIN: the bin folder of the development environment
#
# They would all report the calls of every other test, so they live in an environment of their own. There the metadata
# of each stands in a folder apart, and a test that puts the folder on PYTHONPATH has the package installed.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$bin/python" -m venv "$work/env"
export VIRTUAL_ENV=$work/env
"$bin/uv" pip install --quiet . \
  "openai-agents>=0.6" "pydantic-ai-slim[openai]>=1" "logfire>=4" \
  "opentelemetry-instrumentation-genai-openai==1.3b0" "opentelemetry-instrumentation-openai>=0.62" \
  "openinference-instrumentation-openai>=0.1.60" "openinference-instrumentation-openai-agents>=2" \
  "opentelemetry-instrumentation-genai-openai-agents==1.3b0" "opentelemetry-instrumentation-openai-agents>=0.62" \
  "opentelemetry-instrumentation-httpx>=0.60b0" "opentelemetry-instrumentation-sqlalchemy>=0.60b0" "httpx>=0.27" "sqlalchemy>=2,<2.1"
"$bin/uv" pip list 2>/dev/null | grep -E '^(openai|openai-agents|opentelemetry-(sdk|instrumentation)|openinference-.*|opentelemetry-instrumentation-.*openai(-agents)?|pydantic-ai-slim|logfire) '

apart() { # apart NAME PACKAGE: put the package's metadata into a folder of its own
  mkdir -p "$work/installed/$1"
  mv "$work"/env/lib/python3.*/site-packages/"$2"-*.dist-info "$work/installed/$1"
}
apart official opentelemetry_instrumentation_genai_openai
apart traceloop opentelemetry_instrumentation_openai
apart openinference openinference_instrumentation_openai
apart openinference-agents openinference_instrumentation_openai_agents
apart official-agents opentelemetry_instrumentation_genai_openai_agents
apart traceloop-agents opentelemetry_instrumentation_openai_agents
apart httpx opentelemetry_instrumentation_httpx
apart sqlalchemy opentelemetry_instrumentation_sqlalchemy
apart otelier otelier

OTELIER_BESIDE=$work "$bin/python" -m pytest -q -m beside -n auto --dist worksteal tests/beside
