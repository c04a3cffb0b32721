"""What redaction costs, of secrets and personal data: prompts, megabytes ordinary or made to hurt.

Behind a megabyte stands how many times as long it took as a quarter of it: 4 is linear.

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


PERSONAL = ("a@b.", "@", "+49 30 ", "4111 1111 1111 1112 ", "4111111111111112", "1-2.3 ", "(030) ")


def best(text: str, rounds: int = 5, *, personal: bool = False) -> float:
    """Milliseconds of the fastest of *rounds*."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        redact(text, personal=personal)
        times.append(time.process_time() - started)
    return min(times) * 1e3


print(f"{len(PROSE) * 3:9,} characters of prose   {best(PROSE * 3, 1_000) * 1e3:9.1f} us")
for name, piece in [("prose", PROSE), ("JSON", JSON), *((repr(piece), piece) for piece in WORST)]:
    whole = (piece * (MEGABYTE // len(piece) + 1))[:MEGABYTE]
    taken = best(whole)
    print(f"1,000,000 characters of {name:18}{taken:9.1f} ms{taken / best(whole[: MEGABYTE // 4]):6.1f}")
print(f"{len(PROSE) * 3:9,} characters, personal   {best(PROSE * 3, 1_000, personal=True) * 1e3:9.1f} us")
for name, piece in [("prose", PROSE), ("JSON", JSON), *((repr(piece), piece) for piece in PERSONAL)]:
    whole = (piece * (MEGABYTE // len(piece) + 1))[:MEGABYTE]
    taken = best(whole, personal=True)
    print(f"1,000,000 characters of {name:18}{taken:9.1f} ms{taken / best(whole[: MEGABYTE // 4], personal=True):6.1f}")
messages = [{"role": "user", "parts": [{"type": "text", "content": PROSE}]}] * 20
started = time.process_time()
for _ in range(100):
    redact_value(messages)
print(f"       20 messages as nested data {(time.process_time() - started) * 1e4:9.1f} us")
