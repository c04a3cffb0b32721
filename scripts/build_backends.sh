#!/bin/sh
# Build the backends that `make test-backends` runs against: Collector, Jaeger, Prometheus. Needs Go, not root.
#
#   OTELIER_BACKENDS  where the programs go (default: build/backends)
#
# What is there in the right version is kept, so a second run takes no time. Cold it takes about a quarter of an hour
# and 10 GB of disk, which are given back at the end. On a busy machine: GOFLAGS=-p=1 GOMAXPROCS=1 make backends.
set -eu

COLLECTOR=0.145.0
JAEGER=1.76.0      # Jaeger 2's module still counts from 1
PROMETHEUS=0.315.0 # Prometheus 3.15's module

cd "$(dirname "$0")/.."
mkdir -p "${OTELIER_BACKENDS:=build/backends}"
out=$(cd "$OTELIER_BACKENDS" && pwd)
manifest=$(pwd)/collector-config/builder.yaml
work=$out/.work # survives a failure, so that the next attempt goes on from there

say() { printf '%s\n' "backends: $*"; }

if ! command -v go >/dev/null; then
    say "skipped, nothing was built: there is no Go here. Install it (https://go.dev/dl), then run 'make backends' again."
    exit 0
fi

# Settings of this script only; the caller's own Go keeps its caches.
export GOMODCACHE="$work/modules" GOCACHE="$work/cache" GOBIN="$work/bin" CGO_ENABLED=0 GOWORK=off
FLAGS="-trimpath -modcacherw"

# wanted NAME STAMP: true when $out/NAME was not built from what STAMP says.
wanted() {
    if [ -x "$out/$1" ] && [ "$(cat "$out/$1.version" 2>/dev/null)" = "$2" ]; then
        say "$1 is there"
        return 1
    fi
    say "building $1 ($2) ..."
    rm -f "$out/$1.version"
}

built() { # built NAME STAMP FILE
    mv "$3" "$out/$1"
    printf '%s\n' "$2" >"$out/$1.version"
    say "built $out/$1"
}

# `go install module@version` refuses modules with a `replace`; in a writable copy the module's own go.sum
# still checks every dependency.
copy_of() { # copy_of MODULE VERSION: print the folder
    stored=$(go mod download -json -modcacherw "$1@v$2" | sed -n 's/.*"Dir": "\(.*\)",*/\1/p')
    rm -rf "$work/source"
    cp -R "$stored" "$work/source"
    chmod -R u+w "$work/source"
    printf '%s\n' "$work/source"
}

stamp="$COLLECTOR, manifest $(cksum <"$manifest" | cut -d' ' -f1)"
if wanted otelcol "$stamp"; then
    # shellcheck disable=SC2086  # the flags are words
    nice -n 19 go install $FLAGS "go.opentelemetry.io/collector/cmd/builder@v$COLLECTOR"
    # The manifest's output_path is relative.
    (cd "$work" && GOFLAGS="${GOFLAGS:-} -modcacherw" nice -n 19 "$GOBIN/builder" --config="$manifest")
    built otelcol "$stamp" "$work/otelcol/otelcol"
fi

if wanted jaeger "$JAEGER"; then
    source=$(copy_of github.com/jaegertracing/jaeger "$JAEGER")
    # shellcheck disable=SC2086
    (cd "$source" && nice -n 19 go build $FLAGS -ldflags "-s -w" -o "$work/jaeger" ./cmd/jaeger)
    built jaeger "$JAEGER" "$work/jaeger"
fi

if command -v prometheus >/dev/null; then
    say "prometheus is there: $(command -v prometheus)"
elif wanted prometheus "$PROMETHEUS"; then
    source=$(copy_of github.com/prometheus/prometheus "$PROMETHEUS")
    # shellcheck disable=SC2086
    (cd "$source" && nice -n 19 go build $FLAGS -ldflags "-s -w" -o "$work/" ./cmd/promtool ./cmd/prometheus)
    built promtool "$PROMETHEUS" "$work/promtool"
    built prometheus "$PROMETHEUS" "$work/prometheus"
fi

rm -rf "$work"
