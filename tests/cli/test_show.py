"""The demo's page: its tables, colours and durations."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from otelier.cli.demo._report import MODEL_HOST, ServerRequests, signals
from otelier.cli.demo._tables import Colours, bar, duration, received_table, signal_table, trace_table, usage_table
from tests.cli.records import MS, call, log, points, span


def shown(table, width=100):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def handed_over():
    root = span("POST /agents/{name}/chat", 0, 1200, kind="SERVER", service="support")
    asking = span("POST", 450, 600, parent=root, agent="billing", kind="CLIENT", service="support")
    there = {"agent": "auditor", "service": "payments", "otelier__caller__agent__name": "billing"}
    served = span("POST /reviews", 480, 600, parent=asking, kind="SERVER", **there)
    return [
        root,
        call(0, 400, parent=root, service="support"),
        asking,
        served,
        span("look up payments", 500, 540, parent=served, **there),
        call(600, 1200, parent=root, agent="billing", service="support", status="ERROR", error__type="openai.Busy"),
        span("POST /agents/{name}/chat http send", 1199, 1200, parent=root, asgi__event__type="http.response.start"),
    ]


def test_a_trace_with_its_timing():
    """Each span stands below its parent with its duration, when it ran, its service, agent, caller and user."""
    assert shown(trace_table(handed_over(), Colours())) == [
        " span                       duration  tokens  when        service   agent    called by  user",
        "─" * 99,
        " POST /agents/{name}/chat     1.20 s          ━━━━━━━━━━  support   triage              acme/alice",
        " ├─ chat gpt-4.1              400 ms    10+5  ━━━         support   triage              acme/alice",
        " ├─ POST                      150 ms              ━       support   billing             acme/alice",
        " │  └─ POST /reviews          120 ms              ━       payments  auditor  billing    acme/alice",
        " │     └─ look up payments     40 ms              ━       payments  auditor  billing    acme/alice",
        " ├─ chat gpt-4.1 ✗ Busy       600 ms    10+5       ━━━━━  support   billing             acme/alice",
        " └─ 1 ASGI message",
    ]


def test_a_trace_in_80_columns():
    """A narrow table keeps time, tokens, agent and user; bars and the calling agent make way."""
    assert shown(trace_table(handed_over(), Colours(), width=80), width=80) == [
        " span                       duration  tokens  service   agent    user",
        "─" * 76,
        " POST /agents/{name}/chat     1.20 s          support   triage   acme/alice",
        " ├─ chat gpt-4.1              400 ms    10+5  support   triage   acme/alice",
        " ├─ POST                      150 ms          support   billing  acme/alice",
        " │  └─ POST /reviews          120 ms          payments  auditor  acme/alice",
        " │     └─ look up payments     40 ms          payments  auditor  acme/alice",
        " ├─ chat gpt-4.1 ✗ Busy       600 ms    10+5  support   billing  acme/alice",
        " └─ 1 ASGI message",
    ]


def test_what_each_server_was_sent():
    """The fields have the names that `set_context` has; one that came with some requests only says so."""
    rows = [
        ServerRequests(server="support", requests=3, senders=(), fields={}),
        ServerRequests(
            server="payments", requests=2, senders=("support",), fields={"user.id": 2, "gen_ai.agent.name": 1}
        ),
        ServerRequests(server=MODEL_HOST, requests=5, senders=("payments", "support"), fields={}),
        ServerRequests(server=MODEL_HOST, requests=1, senders=(), fields={}),
    ]
    assert shown(received_table(rows)) == [
        " server        requests  from               fields in their baggage",
        "─" * 68,
        " support              3  its users          none",
        " payments             2  support            user_id, agent (1 of 2)",
        " model's host         5  payments, support  none",
        " model's host         1  unknown            none",
    ]


def test_calls_per_agent_and_user():
    """One row for each agent and user, agents apart, the sum at the end."""
    assert shown(usage_table(handed_over(), Colours())) == [
        " agent    user        calls  input  output  errors     p50     p95",
        "─" * 67,
        " billing  acme/alice      1     10       5       1  600 ms  600 ms",
        "",
        " triage   acme/alice      1     10       5       0  400 ms  400 ms",
        "",
        " all                      2     20      10       1  500 ms  590 ms",
    ]


def test_calls_of_nobody_are_shown_as_such():
    """A call without agent and user has a row that says so."""
    assert any(line.startswith(" none   none") for line in shown(usage_table([call(agent=None, user=None)], Colours())))


def test_counts_of_the_signals():
    """Each service has its column; metrics never carry a user, and the table says so."""
    told = signals(handed_over(), [log(service="payments")], points(1, 2, 3, service="support"))
    head, _, *rows = shown(signal_table(told))
    assert head.split() == ["signal", "support", "payments", "test", "all", "with", "user", "with", "agent"]
    assert [row.split("  ")[0].strip() for row in rows] == [
        "spans", "· calls to the model", "log records", "· agents registered", "metric points",
    ]  # fmt: skip
    assert rows[0].split() == ["spans", "4", "2", "1", "7", "7", "7"]
    assert rows[4].split() == ["metric", "points", "3", "0", "0", "3", "never", "3"]


def test_long_names_fit_in_100_columns():
    """What is too long is cut, and no line breaks; in 80, each row keeps time, tokens, agent and user."""
    deep = [
        span("a request with a very long name that goes on and on", 0, 100, user="a-tenant/a-user-with-a-long-name")
    ]
    for number in range(8):
        deep.append(span(f"step {number} of something that is described at length", 0, 100, parent=deep[-1]))
    deep.append(call(0, 100, parent=deep[-1], agent="billing"))
    lines = shown(trace_table(deep, Colours()))
    assert len(lines) == 2 + len(deep)
    assert max(map(len, lines)) <= 100
    head, line, *rows = shown(trace_table(deep, Colours(), width=80), width=80)
    assert head.split() == ["span", "duration", "tokens", "service", "agent", "user"]
    assert max(map(len, (head, line, *rows))) <= 80
    kept = [row.split("…")[1].split() for row in rows]
    steps = [["100", "ms", "test", "triage", "acme/alice"]] * 8
    assert kept[0][:-1] == ["100", "ms", "test", "triage"]
    assert kept[0][-1].startswith("a-tenant/a-user")
    assert kept[1:] == [*steps, ["100", "ms", "10+5", "test", "billing", "acme/alice"]]


def test_no_spans_make_empty_tables():
    """Nothing is shown as nothing, not as an error."""
    assert len(shown(trace_table([], Colours()))) == 2
    assert shown(usage_table([], Colours()))[-1].split()[:3] == ["all", "0", "0"]


def test_a_bar_shows_when_a_span_ran():
    """It is never empty, also for a moment at the very end."""
    assert bar(span("a", 50, 75), 0, 100 * MS, 8) == "    ━━"
    assert bar(span("a", 100, 100), 0, 100 * MS, 8) == "       ━"
    assert bar(span("a", 0, 0), 0, 0) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 ms"), (0.00996, "10 ms"), (0.9994, "999 ms"), (0.9996, "1.00 s"), (12.345, "12.35 s")],
)
def test_durations_in_their_own_unit(seconds, text):
    """A duration has the digits that a reader wants, and rounding never yields 1000 ms."""
    assert duration(seconds) == text
