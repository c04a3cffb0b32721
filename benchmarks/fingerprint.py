"""Cost of identifying an agent by its prompt: time and memory per prompt, and how many prompts are mistaken for others.

Run: uv run python benchmarks/fingerprint.py

| figure | limit |
|---|---|
| a prompt of 2,000 characters never seen before | 40 us |
| a prompt of any size and shape never seen before | 100 us |
| collisions among 10,000 prompts | 0 |

The limits hold for a machine that has nothing else to do: the first line tells how long splitting and joining a text
takes now, and every figure but those of memory goes up and down with it.

A prompt seen before is looked up by its text, which is a new `str` in each call of a program that builds it anew.
Prompts "with dates" have words in them that are masked or might be.
"""

from __future__ import annotations

import gc
import random
import resource
import time
import tracemalloc
from collections.abc import Callable
from statistics import median, quantiles

from otelier.identity import fingerprint_of, prompt_fingerprint, use_fingerprint

ROUNDS, PROMPTS = 400, 10_000
SIZES = (1_000, 2_000, 10_000, 100_000)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
DICE = random.Random(1)
VOCABULARY = ["".join(DICE.choices(LETTERS, k=DICE.randint(2, 9))) for _ in range(5_000)]
ENDS = (",", ".", ":", "", "", "", "", "", "", "", "", "")
DATES = ("November 16, 2026", "2026-11-20", "Monday, March 3, 2026", "10:30 pm", "GPT-4o mini", "may", "pro")
CHARS = 20_000


def words_of(letters: str, length: int) -> str:
    return " ".join("".join(DICE.choices(letters, k=length)) for _ in range(CHARS // (length + 1)))


WORST: dict[str, Callable[[], str]] = {
    "words of one letter": lambda: words_of(LETTERS, 1),
    "words of three letters, all new": lambda: words_of(LETTERS, 3),
    "digits": lambda: words_of("0123456789", 1),
    "hashes of four digits": lambda: words_of("0123456789abcdef", 4),
    "digits and words": lambda: "7 a " * CHARS,
    "dates": lambda: "Monday, November 16, 2026 " * CHARS,
    "short dates and words": lambda: "nov 5 a " * CHARS,
    "months without a number": lambda: "nov, sat, may, " * CHARS,
    "models": lambda: "gpt mini " * CHARS,
    "e-mails": lambda: "abc@example.com " * CHARS,
    "URLs": lambda: "https://example.com/a?b=c " * CHARS,
    "base64": lambda: "".join(DICE.choices(LETTERS + LETTERS.upper() + "0123456789+/", k=CHARS)),
    "one word of 10 MB": lambda: "a" * 10_000_000,
    "one number of 10 MB": lambda: "1" * 10_000_000,
    "white space of 10 MB": lambda: " \n" * 5_000_000,
    "control characters": lambda: "\x00a" * CHARS,
    "brackets": lambda: "( " * CHARS,
    "accents, in pieces": lambda: prose(CHARS).replace("e", "e\u0301"),
    "accents": lambda: "\u00e9 " * CHARS,
    "marks in the wrong order": lambda: "a" + "\u0301\u0316" * CHARS,
    "marks, then lower ones": lambda: "a" + "\u0301" * 1_000 + "\u0316" * CHARS,
    "letters that grow": lambda: "\ufdfa" * CHARS,
    "letters that grow when folded": lambda: "\u0390 " * CHARS,
    "squared words": lambda: "\u3300" * CHARS,
    "wide letters": lambda: "\uff21" * CHARS,
    "dots": lambda: "\u2026 " * CHARS,
    "Russian": lambda: prose(CHARS).translate({ord(letter): 0x430 + place for place, letter in enumerate(LETTERS)}),
    "Chinese": lambda: "\u4f60\u662f\u8ba1\u8d39\u52a9\u624b\uff0c\u7528 3 \u53e5\u8bdd\u3002" * CHARS,
    "Chinese and numbers": lambda: "\u4f601" * CHARS,
    "Arabic numbers": lambda: "\u0665 " * CHARS,
    "Korean, in pieces": lambda: "\u1112\u1161\u11ab" * CHARS,
    "emoji": lambda: "\U0001f600" * CHARS,
}


def prose(size: int, *, dated: float = 0.0) -> str:
    """A prompt of *size* characters like no other; *dated* is the share of words that are dates or might be."""
    words = ["You", "are", "".join(DICE.choices(LETTERS, k=7)), "today", "is", DICE.choice(DATES)]
    chars = sum(map(len, words))
    while chars < size:
        words.append(DICE.choice(DATES if DICE.random() < dated else VOCABULARY) + DICE.choice(ENDS))
        chars += len(words[-1]) + 1
    return " ".join(words)[:size]


def timed(prompts: list[str], function: Callable[[str], object]) -> float:
    """Microseconds for one of *prompts*: the fastest tenth, since whoever else uses the machine only adds."""
    times: list[float] = []
    for prompt in prompts:
        began = time.perf_counter()
        function(prompt)
        times.append((time.perf_counter() - began) * 1e6)
    return quantiles(times, n=10)[0]


def fresh(text: str) -> str:
    """The same text as another object, whose hash is not known yet."""
    return "".join((text[:1], text[1:]))


def speed() -> None:
    texts = [prose(2_000) for _ in range(ROUNDS)]
    now = timed(texts, lambda text: " ".join(text.split()))
    print(f"splitting and joining 2,000 characters: {now:.1f} us")


def times() -> None:
    print("prompt      seen before   never seen   with dates")
    for size in SIZES:
        rounds = ROUNDS if size < 100_000 else ROUNDS // 8
        known = prose(size)
        fingerprint_of(known)
        cached = timed([fresh(known) for _ in range(rounds)], fingerprint_of)
        new = timed([prose(size) for _ in range(rounds)], prompt_fingerprint)
        dated = timed([prose(size, dated=0.05) for _ in range(rounds)], prompt_fingerprint)
        print(f"{size / 1000:5.0f} kB {cached:13.1f} us {new:9.1f} us {dated:9.1f} us")


def shapes() -> None:
    figures = {}
    for what, make in WORST.items():
        text = make()
        figures[what] = timed([text[:3_000] + text[3_000:] for _ in range(20)] * 5, prompt_fingerprint)
    worst = sorted(figures, key=lambda what: -figures[what])
    print(f"prompts of {len(worst)} odd shapes, never seen: median {median(figures.values()):.0f} us; the longest:")
    for what in worst[:6]:
        print(f"    {figures[what]:5.0f} us  {what}")


def memory() -> None:
    use_fingerprint(None)
    use_fingerprint(prompt_fingerprint)  # which forgets what is kept of prompts
    prompts = [f"You serve {number}. {prose(100)}" + "zebra " * 2_000 for number in range(PROMPTS // 10)]
    gc.collect()
    tracemalloc.start()
    before, resident = tracemalloc.get_traced_memory()[0], peak()
    for repeat in range(10):
        for prompt in prompts:
            fingerprint_of(f"{prompt[:20]} {LETTERS[repeat] * 7} {prompt}")
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(
        f"memory after {PROMPTS:,} distinct prompts of 12 kB: {kept / 1e6:.1f} MB kept, {peak() - resident} kB more RSS"
    )


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def collisions() -> None:
    prompts = {prose(DICE.randint(30, 2_000)) for _ in range(PROMPTS)}
    taken = len(prompts) - len(set(map(prompt_fingerprint, prompts)))
    print(f"collisions among {len(prompts):,} prompts: {taken}")


if __name__ == "__main__":
    speed()
    times()
    shapes()
    memory()
    collisions()
    speed()
