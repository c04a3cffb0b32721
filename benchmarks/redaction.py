"""Cost of redacting secrets and personal data: prompts, and megabytes of ordinary or adversarial text.

Behind a megabyte stands how many times as long it took as a quarter of it: 4 is linear.

Run: uv run python benchmarks/redaction.py
"""

from __future__ import annotations

import time

from otelier.redaction import redact, redact_value

MEGABYTE = 1_000_000
PROSE = (
    "The quick brown fox explains tokenization: a token is a piece of text, and the key idea is simple. "
    "Passengers pass by; see https://example.com/a?b=c. "
)
JSON = '{"role": "user", "content": "What is the key?", "id": "550e8400-e29b-41d4-a716-446655440000", "n": 12}, '
PIECES = (
    *("eyJ", "eyJaaaaaaaa.", "sk-", "sk-aaaaaaa-", "xoxb-", "SG.", "SG.aaaaaaaaaaaaaaaaaaaa.", "ghp_", "gsk_A1"),
    *("_A1bcdefghijkl", "_", "__a1", "-a1", "-", ".", ".A", "-us1", "~", "Q~", "$2b$", "AKIA", "SKa", "A"),
    *("dapi", ":A", "1:A", "sha256~", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----END ", "://", "://a:"),
    *("://a:b@", "://a:b/", "://@", "https://a:@@@", "@", "a@", "a@b.", "a.b.", "a@a.a.", "%40a", "x%40b."),
    *("[at]a.", "&aaaa-", "&key=", "?sig=", "signature=", "@tcp(", "a:@tcp(", "bearer ", "basic "),
    *("basic aaaaaaaa", "authorization: ", "authorization: a=b,", 'authorization: digest a="b', "cookie: a"),
    *("cookie=a=", "password=", "password=x ", "password: x y ", 'password="', "password='\"", "password\\\\"),
    *('password\\"', 'secret=a("', 'secret:\\"', "token:        ", "token        ", "token is 1"),
    *("token is a", "key=", "key=key", '"key": "', "key key ", "pass pass ", 'tokens: ["', 'keys={"a'),
    *("secrets: [", '{"name": "password", ', '{"name": "password" type:', 'value": "a", "name'),
    *("--password ", "--a-a-a-", "---", "-p a ", "-u a", "curl -u ", "<password>", "<a", "</", "<password>a<"),
    *("login a password ", "phrase: abc ", "phrase abc abc abc abc", "\u5bc6\u7801:"),
    *("\u043f\u0430\u0440\u043e\u043b\u044c ", "p\u00e4ssword ", "\u200b", "a\u200b", "\uff11", "\u00a0"),
    *("\u0130", "\\", '"', "'", "1", "12", "1 ", "1-", "+1 ", "+1 1 1 1 ", "+49 30 ", "(030) ", "1-2.3 "),
    *("4111 1111 1111 1112 ", "4111111111111112", "0 00 0", "DE89", "DE89 3704 ", "AA00", "123-45-"),
    *("123-45-6789 ", "phone 1", "phone", "tel tel ", '[{"a":', "[", "{", "a", " ", "\n", "ab1"),
    *("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"),
)
"""What a text is made of that shall take long: near misses, and what opens without closing."""


def best(text: str, rounds: int = 5, *, personal: bool = False) -> float:
    """Milliseconds of the fastest of *rounds*."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        redact(text, personal=personal)
        times.append(time.process_time() - started)
    return min(times) * 1e3


print(f"{len(PROSE) * 3:9,} characters of prose   {best(PROSE * 3, 1_000) * 1e3:9.1f} us")
for name, piece in (("prose", PROSE), ("JSON", JSON)):
    whole = (piece * (MEGABYTE // len(piece) + 1))[:MEGABYTE]
    taken = best(whole)
    print(f"1,000,000 characters of {name:18}{taken:9.1f} ms{taken / best(whole[: MEGABYTE // 4]):6.1f}")
plain = taken
print(f"{len(PROSE) * 3:9,} characters, personal   {best(PROSE * 3, 1_000, personal=True) * 1e3:9.1f} us")
times = []
for piece in PIECES:
    whole = (piece * (MEGABYTE // len(piece) + 1))[:MEGABYTE]
    times.append((best(whole, 1, personal=True), piece, whole))
for taken, piece, whole in sorted(times, reverse=True)[:5]:
    ratio = taken / best(whole[: MEGABYTE // 4], 1, personal=True)
    longer = taken / plain
    print(f"1,000,000 characters of {piece!r:18.18}{taken:9.1f} ms{ratio:6.1f}{longer:8.1f} times as long as JSON")
print(f"{len(times)} texts made to take long, the median {sorted(times)[len(times) // 2][0]:.1f} ms")
messages = [{"role": "user", "parts": [{"type": "text", "content": PROSE}]}] * 20
started = time.process_time()
for _ in range(100):
    redact_value(messages)
print(f"       20 messages as nested data {(time.process_time() - started) * 1e4:9.1f} us")
