"""What knowing an agent by its prompt costs: time and memory per prompt, and how many prompts are taken for others.

Run: uv run python benchmarks/fingerprint.py

| figure | limit |
|---|---|
| a prompt of 2,000 characters never seen before | 40 us |
| a prompt of any size never seen before, of words that others were made of | 100 us |
| twice the text, made of what is worst for it, in the time of the text | 3 |
| collisions among 10,000 prompts | 0 |

A prompt seen before is looked up by its text, which is a new `str` in each call of a program that builds it anew.
Prompts "with new words" have every tenth word from nowhere else: names, ids, another language.
"""

from __future__ import annotations

import gc
import random
import time
import tracemalloc
from collections.abc import Callable
from itertools import accumulate
from statistics import quantiles

from otelier.identity import fingerprint_of, prompt_fingerprint, use_fingerprint

ROUNDS, PROMPTS = 400, 10_000
SIZES = (1_000, 2_000, 10_000, 100_000)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
DICE = random.Random(1)
VOCABULARY = ["".join(DICE.choices(LETTERS, k=DICE.randint(2, 9))) for _ in range(5_000)]
OFTEN = list(accumulate(1 / rank for rank in range(1, len(VOCABULARY) + 1)))
"""How often each word is said: the second half as often as the first, as people talk."""
ENDS = (",", ".", ":", "", "", "", "", "", "", "", "", "")
DATES = ("November 16, 2026", "2026-11-20", "Monday, March 3, 2026")

WORST: dict[str, Callable[[int], str]] = {
    "one word": lambda n: "a" * n,
    "one number": lambda n: "1" * n,
    "months with dots": lambda n: "nov....." * (n // 8),
    "months before no number": lambda n: "nov, sat, may, " * (n // 15),
    "dates": lambda n: "nov 3 " * (n // 6),
    "commas and digits": lambda n: "1,1" * (n // 3),
    "models and variants": lambda n: "gpt mini " * (n // 9),
    "almost models": lambda n: "xgpt" * (n // 4),
    "at signs and dots": lambda n: "a@b." * (n // 4),
    "edges": lambda n: "(" * n,
    "marks in the wrong order": lambda n: "a" + "\u0316\u0301" * (n // 2),
    "marks, then lower ones": lambda n: "a" + "\u0301" * (n // 2) + "\u0316" * (n // 2),
    "letters that grow": lambda n: "\ufdfa" * n,
    "control characters": lambda n: "\x00a" * (n // 2),
    "Chinese with numbers": lambda n: "\u4f601" * (n // 2),
}


def prose(size: int, *, new: float = 0.0) -> str:
    """A prompt of *size* characters like no other; *new* is the share of words that no other prompt has."""
    words = ["You", "are", "".join(DICE.choices(LETTERS, k=7)), "today", "is", DICE.choice(DATES)]
    chars = sum(map(len, words))
    while chars < size:
        fresh = DICE.random() < new
        word = "".join(DICE.choices(LETTERS, k=9)) if fresh else DICE.choices(VOCABULARY, cum_weights=OFTEN)[0]
        words.append(word + DICE.choice(ENDS))
        chars += len(words[-1]) + 1
    return " ".join(words)[:size]


def us(prompts: list[str], fingerprint: Callable[[str], object]) -> float:
    """Microseconds for one of *prompts*: the fastest tenth, since whoever else uses the machine only adds."""
    times: list[float] = []
    for prompt in prompts:
        began = time.perf_counter()
        fingerprint(prompt)
        times.append((time.perf_counter() - began) * 1e6)
    return quantiles(times, n=10)[0] if len(times) > 1 else times[0]


def fresh(text: str) -> str:
    """The same text as another object, whose hash is not known yet."""
    return "".join((text[:1], text[1:]))


def times() -> None:
    for _ in range(300):  # the words that a process has met after a while
        prompt_fingerprint(prose(8_000))
    print("prompt      seen before   never seen   with new words")
    for size in SIZES:
        rounds = ROUNDS if size < 100_000 else ROUNDS // 8
        known = prose(size)
        fingerprint_of(known)
        cached = us([fresh(known) for _ in range(rounds)], fingerprint_of)
        new = us([prose(size) for _ in range(rounds)], prompt_fingerprint)
        strange = us([prose(size, new=0.1) for _ in range(rounds)], prompt_fingerprint)
        print(f"{size / 1000:5.0f} kB {cached:13.1f} us {new:9.1f} us {strange:13.1f} us")


def worst() -> None:
    figures: dict[str, tuple[float, float]] = {}
    for what, make in WORST.items():
        once, twice = (min(us([fresh(make(size))], prompt_fingerprint) for _ in range(7)) for size in (2_400, 4_800))
        figures[what] = twice / once, twice
    what = max(figures, key=lambda name: figures[name][0])
    print(f"twice the text, at worst ({what}): {figures[what][0]:.2f} times the work")
    what = max(figures, key=lambda name: figures[name][1])
    print(f"longest, whatever it is made of ({what}, 4,800 characters): {figures[what][1]:.0f} us")


def memory() -> None:
    use_fingerprint(None)
    use_fingerprint(prompt_fingerprint)  # which forgets what is kept of prompts
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(PROMPTS):
        fingerprint_of(prose(8_000, new=0.1))
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    print(f"memory kept after {PROMPTS:,} distinct prompts of 8,000 characters: {kept / 1e6:.1f} MB")


def collisions() -> None:
    prompts = {prose(DICE.randint(30, 3_000)) for _ in range(PROMPTS)}
    taken = len(prompts) - len(set(map(prompt_fingerprint, prompts)))
    print(f"collisions among {len(prompts):,} prompts: {taken}")


if __name__ == "__main__":
    times()
    worst()
    collisions()
    memory()
