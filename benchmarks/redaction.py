"""What redaction costs: a short prompt, a megabyte of ordinary text, a megabyte made to hurt.

Run: uv run python benchmarks/redaction.py
"""

from __future__ import annotations

import time

from otelier.signals import redact, redact_value

MEGABYTE = 1_000_000
PROSE = (
    "The quick brown fox explains tokenization: a token is a piece of text, and the key idea is simple. "
    "Passengers pass by; see https://example.com/a?b=c. "
)
JSON = '{"role": "user", "content": "What is the key?", "id": "550e8400-e29b-41d4-a716-446655440000", "n": 12}, '
WORST = ("eyJ", "sk-", "://a:b@", "password=", "password: x y ", 'password="', "authorization: ", "-----BEGIN ")


def best(text: str, rounds: int = 5) -> float:
    """Milliseconds of the fastest of *rounds*."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        redact(text)
        times.append(time.perf_counter() - started)
    return min(times) * 1e3


print(f"{len(PROSE) * 3:9,} characters of prose   {best(PROSE * 3, 1_000) * 1e3:9.1f} us")
for name, piece in [("prose", PROSE), ("JSON", JSON), *((repr(piece), piece) for piece in WORST)]:
    print(f"1,000,000 characters of {name:18}{best((piece * (MEGABYTE // len(piece) + 1))[:MEGABYTE]):9.1f} ms")
messages = [{"role": "user", "parts": [{"type": "text", "content": PROSE}]}] * 20
started = time.perf_counter()
for _ in range(100):
    redact_value(messages)
print(f"       20 messages as nested data {(time.perf_counter() - started) * 1e4:9.1f} us")
