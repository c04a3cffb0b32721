"""The guide `docs/jaeger.md` on the real thing: its service, its commands, its searches and its queries."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from otelier import names
from tests.backends.clients import Collector, Jaeger, Prometheus, Span, model_calls, tree
from tests.backends.guide import ADDRESS, START, block, blocks, moved, rows, service
from tests.backends.programs import environment, eventually

TICKETS = (("alice", "s-1"), ("alice", "s-2"), ("bob", "s-3"))
AGENTS = ("triage", "billing")
ROUNDS = 2
MODEL_CALLS = ROUNDS * len(TICKETS) * len(AGENTS)

FIRST_START = block("shell", f"OTEL_METRICS_EXPORTER=none\nexport OTEL_LOGS_EXPORTER=none\n{START}")
START_WITH_COLLECTOR = block("shell", f"OTEL_METRIC_EXPORT_INTERVAL=10000\n{START}")


def shell(text: str) -> str:
    return subprocess.run(["bash", "-ec", text], env=environment(), check=True, capture_output=True, text=True).stdout


def send_tickets(url: str) -> None:
    """Send each ticket once, the page's own by the page's own command."""
    shell(moved(block("shell", "/tickets"), {ADDRESS: url}))
    for user, session in TICKETS[1:]:
        ticket = {"user": user, "session": session, "text": "I was charged twice."}
        assert httpx.post(f"{url}/tickets", json=ticket).status_code == 200


def who(span: Span) -> tuple[str, str, str]:
    return span["tags"][names.USER_ID], span["tags"][names.SESSION_ID], span["tags"][names.AGENT_NAME]


def expected(rounds: int) -> Counter[tuple[str, str, str]]:
    return Counter((user, session, agent) for user, session in TICKETS for agent in AGENTS for _ in range(rounds))


# --- straight to Jaeger ----------------------------------------------------------------------------------------
def start_without_collector(jaeger: Jaeger, name: str) -> str:
    return moved(
        FIRST_START, {"http://localhost:4318": jaeger.otlp_http, "SERVICE_NAME=support": f"SERVICE_NAME={name}"}
    )


def arrived(jaeger: Jaeger, name: str, number: int) -> Callable[[], bool]:
    return lambda: len(model_calls(jaeger.traces(name))) == number


def test_traces_reach_jaeger_without_a_collector(
    jaeger: Jaeger, free_port: Callable[[], int], tmp_path: Path
) -> None:  # fmt: skip
    """The first commands of the page bring each model call to Jaeger with its user, session and agent, and no error."""
    with service(start_without_collector(jaeger, "direct"), free_port(), tmp_path) as url:
        send_tickets(url)
    eventually(arrived(jaeger, "direct", len(TICKETS) * len(AGENTS)), "the arrival of every model call")
    assert Counter(map(who, model_calls(jaeger.traces("direct")))) == expected(1)
    said = [line for line in (tmp_path / "service.log").read_text().splitlines() if not line.startswith("INFO:")]
    assert said == []


def test_flush_at_shutdown_saves_what_sigterm_loses(
    jaeger: Jaeger, free_port: Callable[[], int], tmp_path: Path
) -> None:  # fmt: skip
    """With the page's `lifespan` everything arrives although SIGTERM ends the service at once."""
    start = start_without_collector(jaeger, "lifespan")
    port = free_port()
    # The page shows how the application is made; the route of the service has to come after that.
    source = block("python", "lifespan") + "\napp.post('/tickets')(open_ticket)\n"
    with service(start, port, tmp_path, source=source, stop=signal.SIGTERM) as url:
        send_tickets(url)
    eventually(arrived(jaeger, "lifespan", len(TICKETS) * len(AGENTS)), "the arrival of every model call")


# --- through the Collector -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def sent(
    collector: Collector,
    jaeger: Jaeger,
    prometheus: Prometheus,
    free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The page's service has answered each ticket twice and ended, and what it sent is where it belongs."""
    # More often than on the page, which is made for people.
    places = {"http://localhost:4318": collector.otlp_http, "INTERVAL=10000": "INTERVAL=1000"}
    with service(moved(START_WITH_COLLECTOR, places), free_port(), tmp_path_factory.mktemp("service")) as url:
        for sent in range(1, ROUNDS + 1):
            send_tickets(url)
            # Waited for in each round: a rate needs two scrapes that differ.
            number = sent * len(TICKETS) * len(AGENTS)
            query = f'sum(gen_ai_client_operation_duration_seconds_count{{job="support"}}) == {number}'
            eventually(lambda query=query: prometheus.query(query), "the arrival of every metric point")
    eventually(arrived(jaeger, "support", MODEL_CALLS), "the arrival of every model call")


@pytest.mark.usefixtures("sent")
def test_every_model_call_says_who_and_which_agent(jaeger: Jaeger) -> None:
    """Each model call in Jaeger carries its user, session and agent, and stands in the trace of its request."""
    traces = [trace for trace in jaeger.traces("support") if model_calls([trace])]
    assert Counter(map(who, model_calls(traces))) == expected(ROUNDS)
    assert len(traces) == ROUNDS * len(TICKETS)
    for trace in traces:
        assert {span["tags"][names.AGENT_NAME] for span in model_calls([trace])} == set(AGENTS)
        # The span of the request's arrival ended before anybody said who it is for.
        users = {span["tags"].get(names.USER_ID) for span in trace if not span["operationName"].endswith("receive")}
        assert len(users) == 1


@pytest.mark.usefixtures("sent")
def test_the_trace_looks_as_on_the_page(jaeger: Jaeger) -> None:
    """The tree on the page is the trace of its ticket, and its table is what the first model call carries."""
    shown = {names.SESSION_ID: "s-1", names.AGENT_NAME: "triage"}
    (trace, *_) = jaeger.traces("support", json.dumps(shown))
    assert tree(trace, (names.USER_ID, names.AGENT_NAME)) == block("text", "POST /tickets")
    tags = model_calls([trace])[0]["tags"]
    table = rows("What you see")
    assert {name: tags.get(name) for name in table} == table
    assert {names.USER_ID, names.SESSION_ID, names.AGENT_NAME, names.RESOLVED_AGENT_ID} <= set(table)


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ({names.USER_ID: "alice"}, 2),
        ({names.USER_ID: "bob"}, 1),
        ({names.USER_ID: "nobody"}, 0),
        ({names.AGENT_NAME: "billing"}, 3),
        ({names.USER_ID: "bob", names.AGENT_NAME: "billing"}, 1),
        ({names.SESSION_ID: "s-2"}, 1),
    ],
)
def test_traces_are_found_by_tags(jaeger: Jaeger, tags: dict[str, str], found: int) -> None:
    """Jaeger's search by tags finds the traces of a user, a session and an agent, and no others."""
    assert len(jaeger.traces("support", json.dumps(tags))) == ROUNDS * found


@pytest.mark.usefixtures("sent")
def test_the_search_of_the_page_finds_traces(jaeger: Jaeger) -> None:
    """The page's command finds what the page's tags say, written as its search form takes them."""
    command = block("shell", "/api/traces")
    (searched,) = [text for text in blocks("text") if text.startswith("user.id=")]
    written = dict(word.split("=") for word in searched.split())
    assert json.dumps(written) in command
    answer = json.loads(shell(moved(command, {"http://localhost:16686": jaeger.query})))
    assert len(answer["data"]) == ROUNDS * 2


def per_agent(found: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Each agent's value in an answer of Prometheus, summed over its other labels."""
    values: Counter[str] = Counter()
    for each in found:
        values[each["metric"][names.AGENT_NAME.replace(".", "_")]] += float(each["value"][1])
    return dict(values)


@pytest.mark.usefixtures("sent")
def test_prometheus_counts_each_call_once(prometheus: Prometheus) -> None:
    """Calls arrive per agent as often as they happened, under the service's name."""
    calls = prometheus.query('gen_ai_client_operation_duration_seconds_count{job="support"}')
    assert per_agent(calls) == dict.fromkeys(AGENTS, ROUNDS * len(TICKETS))


@pytest.mark.usefixtures("sent")
def test_the_tokens_of_traces_and_metrics_agree(prometheus: Prometheus, jaeger: Jaeger) -> None:
    """The tokens per agent are the same number in Prometheus and on the spans in Jaeger."""
    on_spans: Counter[str] = Counter()
    for span in model_calls(jaeger.traces("support")):
        on_spans[span["tags"][names.AGENT_NAME]] += span["tags"][names.INPUT_TOKENS] + span["tags"][names.OUTPUT_TOKENS]
    assert per_agent(prometheus.query('gen_ai_client_token_usage_sum{job="support"}')) == dict(on_spans)


@pytest.mark.usefixtures("sent")
@pytest.mark.parametrize("query", blocks("promql"))
def test_the_queries_of_the_page_answer(prometheus: Prometheus, query: str) -> None:
    """Each PromQL block of the page gives a value above zero for each agent."""
    values = per_agent(prometheus.query(query))
    assert all(values[agent] > 0 for agent in AGENTS)  # the demonstration's stand beside them, and came only once


@pytest.mark.usefixtures("sent")
def test_no_series_has_a_user_or_a_session(prometheus: Prometheus) -> None:
    """Neither labels nor their values in Prometheus tell of users and sessions."""
    series = prometheus.series()
    assert any(found["__name__"] == "gen_ai_client_token_usage_bucket" for found in series)
    told = {part for found in series for pair in found.items() for part in pair}
    assert told.isdisjoint({"alice", "bob", "s-1", "s-2", "s-3", "user_id", "session_id"})


@pytest.mark.usefixtures("sent")
def test_exemplars_lead_to_traces(prometheus: Prometheus, jaeger: Jaeger) -> None:
    """An exemplar of a duration names the trace and span of one of the calls it counted."""
    found = prometheus.exemplars('gen_ai_client_operation_duration_seconds_bucket{job="support"}')
    named = {
        (each["labels"]["trace_id"], each["labels"]["span_id"]) for series in found for each in series["exemplars"]
    }
    assert named
    assert named <= {(span["traceID"], span["spanID"]) for span in model_calls(jaeger.traces("support"))}


@pytest.mark.usefixtures("sent")
def test_the_file_has_what_jaeger_has(collector: Collector, jaeger: Jaeger) -> None:
    """The file holds the same spans as Jaeger, no more and no fewer, and the metrics besides."""
    in_file = [(span["traceId"], span["spanId"]) for span in collector.records("Spans", "support")]
    in_jaeger = [(span["traceID"], span["spanID"]) for trace in jaeger.traces("support") for span in trace]
    assert Counter(in_file) == Counter(in_jaeger)
    assert {names.OPERATION_DURATION, names.TOKEN_USAGE} <= {
        metric["name"] for metric in collector.records("Metrics", "support")
    }


@pytest.mark.usefixtures("sent")
def test_only_this_user_may_read_the_file(collector: Collector) -> None:
    """The file tells who asked what, so neither it nor its folder is open to others."""
    assert (collector.file.stat().st_mode & 0o077, collector.file.parent.stat().st_mode & 0o077) == (0, 0)


def test_the_doctor_finds_the_collector(collector: Collector) -> None:
    """`otelier doctor` in the service's environment finds nothing wrong, and something listening at the endpoint."""
    command = block("shell", "otelier doctor").strip()
    start = moved(START_WITH_COLLECTOR, {"http://localhost:4318": collector.otlp_http, START: f"{command} --json"})
    findings = json.loads(shell(start))
    assert [finding for finding in findings if finding["severity"] == "error"] == []
    assert any("listens at" in finding["what"] for finding in findings)
