"""The demo's refund: its bank, what it does if the run does not go on, and how the trace over a crash is shown."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import threading
import urllib.request

import pytest
from rich.console import Console

from otelier import Client, Worker, workflow
from otelier.cli.demo import _refund
from otelier.cli.demo._bank import Bank
from otelier.cli.demo._processes import Service
from otelier.cli.demo._recovery import recovery_lines, recovery_table, run_trace
from otelier.cli.demo._refund import Refund, RefundError
from otelier.testing import SpanEvent
from tests.cli.records import MS, call, span


def ask(bank, key):
    request = urllib.request.Request(f"{bank.url}/payments/o-1", headers={"idempotency-key": key}, method="POST")
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def test_the_bank_books_each_key_once():
    """A second request with a key is answered, and books nothing; the first answer is kept back until it may go."""
    with Bank() as bank:
        answers = []
        first = threading.Thread(target=lambda: answers.append(ask(bank, "k1")))
        first.start()
        assert bank.wait(60)
        assert (answers, list(bank.bookings)) == ([], ["k1"])
        bank.answer()
        first.join()
        assert [*answers, ask(bank, "k1"), ask(bank, "k2")] == [
            "payments/o-1 booked",
            "payments/o-1 was booked before",
            "payments/o-1 booked",
        ]
        assert (bank.requests, list(bank.bookings)) == (["k1", "k1", "k2"], ["k1", "k2"])


@workflow
async def fails(ctx):
    raise ValueError("no such order")


def test_a_refund_that_does_not_go_on():
    """A run that failed is an error with its cause and the worker's output, instead of a wait without end."""

    async def wait():
        async with Worker("refunds", modules=[fails], engine="memory:") as worker:
            await worker.start(fails, workflow_id=_refund.WORKFLOW_ID)
            await _refund._asked(Client("memory:"), Service("nothing:app", {}))

    with pytest.raises(RefundError, match=r"(?s)'refund-o-17' does not go on: failed, .*no such order.*Output"):
        asyncio.run(wait())


def test_what_does_not_come(monkeypatch, tmp_path):
    """A wait has an end, and a decision that is refused is an error with the command and its words."""
    with pytest.raises(RefundError, match=r"otelier approve r-1 --name refund` ended with 1: otelier: There are no"):
        _refund._decide(["approve", "r-1", "--name", "refund"], f"file:{tmp_path / 'runs.db'}")
    monkeypatch.setattr(_refund, "START_TIMEOUT_S", 0.0)
    with pytest.raises(RefundError, match="Waited in vain until the bank answers"):
        _refund._until(lambda: False, "the bank answers")


def refunded():
    """A run whose first process was killed in `reserve`."""
    root = span("POST /refunds", 0, 100, kind="SERVER", service="helpdesk", agent=None)
    first, second = ({"service.name": "refunds", "service.instance.id": number} for number in "12")
    event = SpanEvent(name="otelier.workflow.recovered", time_ns=4_000 * MS, attributes={})
    run = dataclasses.replace(
        span("invoke_workflow refund", 50, 5_000, parent=root, otelier__run__id="r-1"), events=(event,), resource=second
    )
    assess = dataclasses.replace(span("run_step assess", 100, 500, parent=run), resource=first)
    chat = dataclasses.replace(call(200, 500, parent=assess), resource=first)
    reserve = dataclasses.replace(
        span("run_step reserve", 500, 4_500, parent=run, otelier__step__executions=2), resource=second
    )
    send = span("POST /refunds http send", 99, 100, parent=root, service="helpdesk", asgi__event__type="http.x")
    return [chat, assess, root, run, reserve, send]


def shown(width):
    trace = run_trace([*refunded(), span("other", trace=2)], "r-1")
    console = Console(file=io.StringIO(), width=width)
    console.print(recovery_table(trace, width=width))
    outcome = Refund(
        workflow_id="r-1",
        exit_code=-9,
        decided="otelier approve r-1",
        status="completed",
        result="paid",
        bank_requests=("a", "a", "b"),
        bookings=("a", "b"),
    )
    for line in recovery_lines(trace, outcome):
        console.print(line)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


SENTENCES = [
    " SIGKILL ended worker 1 in run_step reserve. Worker 2 began the body again after 4.0 s (↻),",
    " took the results that were recorded, and did that step a second time (×2).",  # noqa: RUF001
    " The bank got 3 requests with 2 idempotency keys, and booked 2; the model was asked once.",
    " A person decided: otelier approve r-1",
]


def test_a_trace_over_a_crash():
    """Each span has its process; where the body began again, and what began twice, is marked and told."""
    assert shown(100) == [
        " span                         duration  when                  process",
        "─" * 72,
        " POST /refunds                  100 ms  ━                     helpdesk",
        " ├─ invoke_workflow refund ↻    4.95 s  ━━━━━━━━━━━━━━━━━━━━  refunds 2",
        " │  ├─ run_step assess          400 ms  ━━                    refunds 1",
        " │  │  └─ chat gpt-4.1          300 ms   ━                    refunds 1",
        " │  └─ run_step reserve ×2      4.00 s    ━━━━━━━━━━━━━━━━    refunds 2",  # noqa: RUF001
        " └─ 1 ASGI message",
        *SENTENCES,
    ]


def test_a_trace_over_a_crash_in_few_columns():
    """A narrow table has no bars."""
    assert shown(80)[2:4] == [
        " POST /refunds                  100 ms  helpdesk",
        " ├─ invoke_workflow refund ↻    4.95 s  refunds 2",
    ]
