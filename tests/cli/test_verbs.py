"""`otelier approve`, `reject`, `signal`, `cancel` and `resume`: what they do to one run and to many."""

from __future__ import annotations

import asyncio
import signal
import subprocess

from tests.cli.children import OTELIER, environment
from tests.cli.test_runs import Shop
from tests.cli.test_watch import plain, terminal
from tests.cli.working import working


def test_decisions_are_made_for_several_at_once(place):
    """Ids as arguments and from stdin; each that fails is a line on stderr, and the exit code is 1."""
    with working(place):
        shop = Shop(place)
        for number in range(4):
            shop.start("order", f"r{number}", "o")
        for number in range(4):
            shop.has(f"r{number}", "waiting approval")
        options = ("--name", "refund", "--approver", "ada", "--role", "admin", "--comment", "fine")
        done = shop.otelier("approve", "r0", "nope", "-", *options, stdin="r1\n\nr0\n")
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
        assert "otelier: There is no run 'nope'" in done.stderr
        assert done.stdout == "✓ r0 approved 'refund' by ada\n✓ r1 approved 'refund' by ada\n"
        assert "rejected 'refund' by ada" in shop.out("reject", "r2", *options)
        refused = shop.otelier("reject", "r3", "--name", "refund", "--role", "guest")
        assert refused.exit_code == 1
        assert "needs the role 'admin', and the roles given are 'guest'" in refused.stderr
        for name, decision in (("r0", "approved"), ("r2", "rejected")):
            shop.has(name, "completed")
            assert shop.data("show", name)["result"] == [decision, "ada", "fine"]
        again = shop.otelier("reject", "r0", *options)
        assert "it was approved by 'ada'" in again.stderr


def test_signals_cancel_and_resume(place):
    """Each run is told, and a line says so."""
    with working(place):
        shop = Shop(place)
        shop.start("paid", "a")
        shop.start("paid", "b")
        said = shop.out("signal", "a", "--name", "paid", "--payload", '{"sum": 3}')
        assert said == "✓ a was sent 'paid'\n"
        shop.has("a", "completed")
        assert shop.data("show", "a")["result"] == {"sum": 3}
        assert "goes on as it was" in shop.out("resume", "b")
        assert shop.out("cancel", "a", "b") == "✓ a had completed already\n✓ b is being cancelled\n"
        shop.has("b", "cancelled")
        assert "\n· signal paid" in shop.out("show", "b")  # it waits no longer
        assert "cannot be resumed" in shop.otelier("resume", "b").stderr


def _heeds_ctrl_c() -> None:
    """Take a Ctrl-C as a program in a terminal does, also where the tests run in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_decision_without_a_worker_waits_and_says_so(tmp_path):
    """After 5 seconds it tells what it waits for; interrupted, it tells that the decision is kept, which it is."""
    path = tmp_path / "runs.db"
    with working(path):
        shop = Shop(path)
        shop.start("order", "r", "o-1")
        shop.has("r", "waiting approval")
    command = [OTELIER, "approve", "r", "--name", "refund", "--role", "admin", "--engine", shop.engine]
    process = subprocess.Popen(
        command, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=_heeds_ctrl_c
    )
    assert process.stderr is not None
    told = ""
    while "waiting for a worker to take the decision about 'refund'" not in told or "No worker drives" not in told:
        line = process.stderr.readline()
        assert line, told
        told += line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "What was asked for is kept" in err
    with working(path):
        shop.has("r", "completed")


def test_without_runs_the_lists_say_so(place):
    """In one sentence beside an output that is empty, or `[]`, and with exit code 0."""
    with working(place):
        shop = Shop(place)
        for command, told in (("runs", "There are no runs yet."), ("approvals", "No run waits for a decision.")):
            for options, out in (((), ""), (("--json",), "[]\n")):
                done = shop.otelier(command, *options)
                assert (done.exit_code, done.stdout, done.stderr) == (0, out, f"otelier: {told}\n")


def test_a_verb_that_is_interrupted_says_what_it_did_not_ask_for(tmp_path):
    """Decisions wait for a worker; after Ctrl-C it tells which ids are left, and a terminal was told how far it is."""
    path, ids = tmp_path / "runs.db", [f"paid-{number}" for number in range(120)]
    with working(path):
        shop = Shop(path)
        shop.start("order", "r", "o-1")
        shop.has("r", "waiting approval")

    async def fill() -> None:
        for name in ids:
            await shop.client.start("shop", "paid", workflow_id=name)

    asyncio.run(fill())
    with terminal(80, "approve", "r", *ids, "--name", "refund", "--role", "admin", "--engine", shop.engine) as shown:
        shown.until("waiting for a worker to take the decision about 'refund': 1 to 50 of 121")
        shown.type("\x03")
        assert shown.end() == 130
    told = " ".join(plain(shown.text).split())
    assert "The 71 ids from 'paid-49' on were not asked for." in told


def test_decisions_that_cannot_be_made_are_told(place):
    """After the deadline, of a name that is not asked for, and of a run that is not there: a line for each run."""
    with working(place, "tests.cli.desk:desk"):
        shop = Shop(place)
        shop.start("refund", "late", 0.02, service="desk")
        shop.start("refund", "asks", 61, service="desk")
        shop.has("late", "completed")
        shop.has("asks", "waiting approval")
        done = shop.otelier("approve", "late", "asks", "nobody", "--name", "refund", "--approver", "ann")
        assert (done.exit_code, done.stdout) == (1, "✓ asks approved 'refund' by ann\n")
        late, nobody = done.stderr.splitlines()
        assert late.startswith("otelier: Cannot approve 'refund' of run 'late': it expired at 20")
        assert nobody.startswith("otelier: There is no run 'nobody'")
        shop.start("refund", "other", 61, service="desk")
        shop.has("other", "waiting approval")
        told = shop.otelier("reject", "other", "--name", "refunds").stderr
        assert "Cannot reject 'refunds' of run 'other': the run does not wait for that decision." in told
        assert "It waits for 'refund'" in told


def test_of_two_who_decide_at_once_one_holds(place):
    """The other one is told who was first, and nothing is decided twice."""
    with working(place):
        shop = Shop(place)
        shop.start("order", "r", "o")
        shop.has("r", "waiting approval")
        options = ["r", "--name", "refund", "--role", "admin", "--engine", shop.engine]
        both = [
            subprocess.Popen(
                [OTELIER, verb, *options, "--approver", who],
                env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for verb, who in (("approve", "ann"), ("reject", "bob"))
        ]  # fmt: skip
        told = [one.communicate(timeout=60) for one in both]
        codes = [one.returncode for one in both]
        assert sorted(codes) == [0, 1]
        first, other = ("ann", told[1]) if codes[0] == 0 else ("bob", told[0])
        assert f"by '{first}' at 20" in other[1]
        assert "the first decision holds" in other[1]
        shop.has("r", "completed")
        assert shop.data("show", "r")["result"][1] == first
