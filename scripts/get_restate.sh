#!/usr/bin/env bash
# Get Restate's server by npm, for tests of workflows on it: 216 MB, half a minute.
#
#   OTELIER_RESTATE  where it goes (default: build/restate)
#
# The server is under the Business Source License 1.1, which allows to run it for one's own services. It is a program
# that tests start on loopback: nothing of otelier ships or imports it. What is there in the right version is kept.
set -euo pipefail

VERSION=1.7.12

cd "$(dirname "$0")/.."
place=${OTELIER_RESTATE:-build/restate}
say() { printf '%s\n' "restate: $*"; }

mkdir -p "$place"
cd "$place"
if [ "$(cat .version 2>/dev/null || true)" = "$VERSION" ] && ls node_modules/@restatedev/restate-server-*/bin/restate-server >/dev/null 2>&1; then
    exit 0
fi
if ! command -v npm >/dev/null; then
    say "skipped, no server: there is no npm here. Install Node.js (https://nodejs.org), then run 'make restate' again."
    exit 0
fi
say "getting @restatedev/restate-server $VERSION (Business Source License 1.1) into $place ..."
if ! npm install --no-save --no-audit --no-fund --ignore-scripts --prefix . "@restatedev/restate-server@$VERSION" >npm.log 2>&1; then
    say "skipped, no server: npm could not get it, such as without a network. Its words:"
    head -n 5 npm.log >&2
    exit 0
fi
printf '%s\n' "$VERSION" >.version
