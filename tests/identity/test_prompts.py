"""Agents known by their prompts: how many a process knows, and recipes of the user's own."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import tracemalloc
from enum import Enum

import pytest

import otelier
from otelier.faults import report_fault
from otelier.identity import (
    agent_id_for,
    fingerprint_of,
    fingerprint_of_id,
    prompt_fingerprint,
    resolve_fingerprint,
)
from tests.programs import run


def warnings(caplog):
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    return [line for line in said if not line.startswith("No OpenTelemetry provider")]


def test_a_prompts_fingerprint():
    """The standard recipe's, the same each time; of blank prompts there is none."""
    assert fingerprint_of("You bill.") == fingerprint_of("You  BILL.") == prompt_fingerprint("You bill.")
    assert [fingerprint_of(text) for text in ("", "  ", "\n\u3000")] == [None, None, None]


def test_a_stored_prompts_id_is_not_masked():
    """The ids of two prompts that the provider stores differ in digits only, and are two agents."""
    one, two = fingerprint_of_id("pmpt_0001"), fingerprint_of_id("pmpt_0002")
    assert one != two
    assert one == fingerprint_of_id("pmpt_0001") != fingerprint_of("pmpt_0001")


def test_the_agent_that_a_fingerprint_names():
    """Its name is the first eight digits, its id derived from the whole; both are the same in every process."""
    fingerprint = prompt_fingerprint("You bill.")
    found = resolve_fingerprint(fingerprint)
    assert found == otelier.AgentIdentity(
        id=agent_id_for(fingerprint), name=f"agent-{fingerprint[4:12]}", source="fingerprint", fingerprint=fingerprint
    )


@pytest.mark.parametrize("fingerprint", ["billing-v2", "fp1:short", "fp2:" + "a" * 64, "fp1:" + "You are " * 8])
def test_the_agent_that_another_recipe_names(fingerprint):
    """What is no SHA-256 of ours stands in no name: eight digits of the id do."""
    assert resolve_fingerprint(fingerprint).name == f"agent-{agent_id_for(fingerprint)[:8]}"


def test_too_many_prompts(caplog):
    """10,000 distinct prompts in one process are at most 200 agents, with one warning; known ones stay known."""
    otelier.init()
    found = [fingerprint_of(f"You serve customer {letters(number)}.") for number in range(10_000)]
    assert len(set(found) - {None}) == 200
    assert found[200:] == [None] * 9_800
    assert fingerprint_of("You serve customer a.") == found[0]
    (warning,) = warnings(caplog)
    assert "200" in warning
    assert "customer" not in warning


def letters(number):
    """A word without digits, which would be masked."""
    return str(number).translate(str.maketrans("0123456789", "abcdefghij"))


def test_memory_is_bounded():
    """Of many distinct long prompts a few are kept, and of these the beginning: less than 1 MB."""

    def ask(numbers):
        for number in numbers:
            fingerprint_of(f"You serve {letters(number)}. " * 1_000)

    ask(range(500))  # as many as are kept, and more
    tracemalloc.start()
    try:
        ask(range(500, 2_000))
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 2e6  # also what took the place of what was kept before


def test_several_threads(caplog):
    """Eight threads that bring 300 prompts at once, each in an order of its own, get the same answers: 200 agents."""
    otelier.init()
    prompts = [f"You serve {letters(number)}." for number in range(300)]
    answers: list[dict[str, str | None]] = []
    barrier = threading.Barrier(8)

    def ask(seed):
        own = random.Random(seed).sample(prompts, len(prompts))
        barrier.wait()
        answers.append({prompt: fingerprint_of(prompt) for prompt in own})

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert all(answer == answers[0] for answer in answers)
    known = {prompt: found for prompt, found in answers[0].items() if found is not None}
    assert len(known) == 200
    assert known == {prompt: prompt_fingerprint(prompt) for prompt in known}
    assert len(warnings(caplog)) == 1


FORKING = """
import json, os, sys, threading, warnings
from otelier.identity import fingerprint_of, prompt_fingerprint

warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads is what this is about
number = 0


def ask():
    global number
    while True:
        number += 1
        fingerprint_of(f"You serve {str(number).translate(str.maketrans('0123456789', 'abcdefghij'))}.")


sys.setswitchinterval(1e-5)
threading.Thread(target=ask, daemon=True).start()
while not number:
    pass
ended = []
for _ in range(20):
    child = os.fork()
    if child == 0:
        os._exit(0 if fingerprint_of("You bill.") in (prompt_fingerprint("You bill."), None) else 1)
    ended.append(os.waitpid(child, 0)[1])
print(json.dumps(ended))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_of_a_busy_parent():
    """A process that forks while another thread brings prompts does not leave its child waiting for that thread."""
    assert run(FORKING, measured=False).answer == [0] * 20


PREPARING = """
import json
import otelier
from otelier.identity import _dates, _fingerprint


def ready():
    return [cached.cache_info().currsize for cached in (_dates.dates, _fingerprint._patterns)]


otelier.set_context(agent="billing", agent_id="a-1")
otelier.get_agent()
imported = ready()
otelier.activate()
print(json.dumps([imported, ready()]))
"""


def test_patterns_are_compiled_when_otelier_is_switched_on():
    """The import does not pay for patterns and the table of dates, and neither does the first call to a model."""
    assert run(PREPARING).answer == [[0, 0], [1, 1]]


def test_a_prompt_is_asked_about_once():
    """The prompts of late are kept, 256 of them: one that comes back after more than that is asked about again."""
    asked = []
    otelier.init(fingerprint=lambda text: asked.append(text) or "one")
    for _ in range(3):
        assert fingerprint_of("You bill.") == "one"
    assert asked == ["You bill."]
    for number in range(255):
        fingerprint_of(f"You are {number}.")
    fingerprint_of("You bill.")
    assert asked.count("You bill.") == 1
    for number in range(256):
        fingerprint_of(f"You were {number}.")
    fingerprint_of("You bill.")
    assert asked.count("You bill.") == 2


def test_another_recipe():
    """`init(fingerprint=)` is given the text and answers for it; `None` means that this prompt names nobody."""
    otelier.init(fingerprint=lambda text: "billing" if "bill" in text else None)
    assert fingerprint_of("You bill.") == fingerprint_of("You bill, too.") == "billing"
    assert fingerprint_of("You ship.") is None


def test_a_recipe_gets_the_beginning_of_a_long_prompt():
    """A prompt of 10 MB is cut before the recipe sees it."""
    sizes = []
    otelier.init(fingerprint=lambda text: sizes.append(len(text)) or "one")
    assert fingerprint_of("You bill. " * 1_000_000) == "one"
    assert sizes == [10_000]


def test_no_recipe():
    """`init(fingerprint=None)` switches fingerprints off, and `init()` on again."""
    otelier.init(fingerprint=None)
    assert fingerprint_of("You bill.") is None
    assert fingerprint_of_id("pmpt_1") is None
    otelier.init()
    assert fingerprint_of("You bill.") == prompt_fingerprint("You bill.")


@pytest.mark.parametrize("wrong", ["fp1", 1, ["fp1"], True], ids=repr)
def test_what_cannot_be_called_is_refused(wrong):
    """It is the program's own mistake, so `init` says so."""
    with pytest.raises(TypeError, match=r"init\(fingerprint=\) must be a function or `None`, not a"):
        otelier.init(fingerprint=wrong)


class Color(str, Enum):
    """A text that is more than a text."""

    RED = "red"


def test_a_subclass_of_text_is_taken_down_to_its_text():
    """What goes out is plain text."""
    otelier.init(fingerprint=lambda text: Color.RED)
    found = fingerprint_of("You bill.")
    assert (found, type(found)) == ("red", str)


@pytest.mark.parametrize(
    "answer",
    [1, b"fp", "", " \n", "a" * 257, "a\x00b", "\ud800", ["fp"], ..., True],
    ids=lambda answer: ascii(answer)[:20],
)
def test_wrong_answers_count_as_none(answer, caplog):
    """What is no text that can be sent is no fingerprint, and one warning says what is wanted."""
    otelier.init(fingerprint=lambda text: answer)
    assert [fingerprint_of(f"You bill {word}.") for word in ("here", "there")] == [None, None]
    (warning,) = warnings(caplog)
    assert warning.startswith(f"init(fingerprint=) gave a {type(answer).__name__} that cannot be sent")


def test_a_raising_recipe_counts_as_none(caplog):
    """It never reaches the caller; one warning names the exception's type and nothing of the prompt."""

    def raising(text):
        raise ValueError(text)

    otelier.init(fingerprint=raising)
    assert [fingerprint_of(f"s3cret {word}") for word in ("here", "there")] == [None, None]
    (warning,) = warnings(caplog)
    assert "ValueError" in warning
    assert "s3cret" not in caplog.text


def test_a_slow_recipe_is_given_up(caplog, monkeypatch):
    """One that takes longer than 0.1 s is said once, and after ten such prompts not asked any more."""
    asked = []

    def slow(text):
        asked.append(text)
        clock[0] += 0.2
        return "slow"

    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    otelier.init(fingerprint=slow)
    found = [fingerprint_of(f"You are {letters(number)}.") for number in range(30)]
    assert found == ["slow"] * 10 + [None] * 20
    assert len(asked) == 10
    first, last = warnings(caplog)
    assert "100 ms" in first
    assert "switched off" in last


def test_a_recipe_that_is_asked_while_it_works():
    """A recipe that asks a model itself is not asked about the prompt it uses for that, now or later."""
    asked = []

    def asking(text):
        asked.append(text)
        inner = fingerprint_of("You name agents.")
        return f"{inner}/{text}"

    otelier.init(fingerprint=asking)
    assert fingerprint_of("You bill.") == "None/You bill."
    assert asked == ["You bill."]
    assert fingerprint_of("You name agents.") == "None/You name agents."


def test_an_interrupt_is_not_swallowed():
    """Ctrl-C in a recipe ends the program like anywhere else, and the recipe is asked again afterwards."""

    def interrupted(text):
        if not seen:
            seen.append(text)
            raise KeyboardInterrupt
        return "one"

    seen = []
    otelier.init(fingerprint=interrupted)
    with pytest.raises(KeyboardInterrupt):
        fingerprint_of("You bill.")
    assert fingerprint_of("You bill.") == "one"


def test_a_late_app_leaves_the_ids_of_prompts(caplog):
    """The first agent fixes the namespace, also one that is known by its prompt."""
    otelier.init()
    before = resolve_fingerprint("fp1:one").id
    otelier.init(app="late")
    assert resolve_fingerprint("fp1:one").id == before
    assert otelier.get_agent().name == "late"
    (warning,) = warnings(caplog)
    assert "OTELIER_APP" in warning


def test_no_fault_is_reported(caplog):
    """A recipe's failures are the user's, not faults of otelier."""
    otelier.init(fingerprint=lambda text: 1 / 0)
    fingerprint_of("You bill.")
    assert report_fault.__name__ not in caplog.text
    assert [record.levelname for record in caplog.records if record.levelno > logging.WARNING] == []
