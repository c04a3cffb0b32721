"""Compare the signals of `otelier.openai` with those of the official instrumentation, span by span.

    uv run --with opentelemetry-instrumentation-genai-openai==1.3b0 scripts/compare_openai CASSETTE_FOLDER
                                                                        [--semconv FOLDER]

Every recorded exchange is replayed under both, in each content mode and with a completion hook, sync and async, and
streams with each ending. Spans, metric points, events and what the hook gets are compared whole: names, attributes,
types of values, status, buckets, counts. What differs on purpose is in `differences.KNOWN`, with the reason; anything
else makes the command fail. With `--semconv` every attribute, value and piece of content of ours is also held against
the conventions as data.
"""

from __future__ import annotations

import argparse
import collections
import gc
import os
import sys
from pathlib import Path
from typing import Any

import openai
from differences import KNOWN, known, print_difference
from exchanges import Recorded, exchanges
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor as Official
from recording import KINDS, Recording, Signals
from semconv import Conventions

from otelier.openai import OpenAIInstrumentor as Ours

HOOKED = "hook"
"""Not a content mode: none goes onto signals, and a completion hook gets it."""
MODES = ("no_content", "span_only", "event_only", "span_and_event", HOOKED)


def asked() -> argparse.Namespace:
    """The command's arguments."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("cassettes", type=Path, help="folder of the recorded cassettes")
    parser.add_argument("--only", default="", help="part of the names of the exchanges to replay")
    parser.add_argument("--modes", default=",".join(MODES), help="content modes to replay in")
    parser.add_argument("--show", type=int, default=10, help="differences to print")
    parser.add_argument("--semconv", type=Path, help="folder of registry.json and schemas/, to check ours against")
    return parser.parse_args()


def signals(instrumentor: type[Any], mode: str, calls: list[tuple[str, Recorded]]) -> list[Signals]:
    """Make all *calls* in all ways with *instrumentor* on; return what it sent for each."""
    os.environ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"] = "no_content" if mode == HOOKED else mode
    recording = Recording(instrumentor(), hooked=mode == HOOKED)
    found: list[Signals] = []
    with recording.on():
        for _, call in calls:
            for _, run in call.ways():
                run()
                found.append(recording.take())
    return found


def main() -> int:
    """Replay everything and print the table."""
    options = asked()
    conventions = Conventions(options.semconv)
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    shown = 0
    calls = [call for call in exchanges(options.cassettes) if options.only in call[0]]
    print(f"{len(calls)} exchanges, openai {openai.__version__}", flush=True)
    modes = options.modes.split(",")
    gc.freeze()
    for mode in modes:
        labels = [f"{mode} {name} {way}" for name, call in calls for way, _ in call.ways()]
        for label, theirs, ours in zip(
            labels, *(signals(instrumentor, mode, calls) for instrumentor in (Official, Ours))
        ):
            counts["cases", mode] += 1
            counts["invalid", mode] += conventions.look(ours)
            for kind in KINDS:
                counts[kind, mode] += len(theirs[kind])
                if theirs[kind] == ours[kind]:
                    continue
                reasons = known(label, kind, theirs[kind], ours[kind])
                if None not in reasons:
                    counts["known", mode] += 1
                    continue
                counts["different", mode] += 1
                if shown < options.show:
                    shown += 1
                    print_difference(label, kind, theirs[kind], ours[kind])
    rows = ("cases", *KINDS, "known", "different", "invalid")
    print(f"{'':12}" + "".join(f"{mode:>16}" for mode in modes))
    for row in rows:
        print(f"{row:12}" + "".join(f"{counts[row, mode]:>16}" for mode in modes))
    print("".join(f"\nknown: {name}: {reason}" for name, reason in KNOWN.items()))
    print(f"\n{conventions.checked} values held against the conventions")
    print("".join(f"invalid, {count} times: {fault}\n" for fault, count in conventions.found.most_common()), end="")
    return 1 if any(counts[row, mode] for mode in modes for row in ("different", "invalid")) else 0


if __name__ == "__main__":
    sys.exit(main())
