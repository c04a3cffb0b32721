"""The fixture `otelier_spans` and `reset()`."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry.sdk.trace import TracerProvider

import otelier
from otelier.openai import OpenAIInstrumentor
from otelier.testing import OpenAIServer, SpanRecorder, reset
from otelier.testing._global_providers import _handler, as_global_providers

pytest_plugins = ["pytester"]

# What a library does when it is imported, before anybody has set a provider.
TRACER = trace.get_tracer("library")
LOGGER = _logs.get_logger("library")
METER = metrics.get_meter("library")
CALLS = METER.create_counter("library.calls")
LEVEL = METER.create_up_down_counter("library.level")
TOOK = METER.create_histogram("library.took")
HEAT = METER.create_gauge("library.heat")
WATCHED = METER.create_observable_gauge("library.watched", [lambda options: [metrics.Observation(7)]])


@TRACER.start_as_current_span("decorated")
def decorated():
    return trace.get_current_span().get_span_context().span_id


@TRACER.start_as_current_span("decorated async")
async def decorated_async():
    await asyncio.sleep(0)
    return trace.get_current_span().get_span_context().span_id


def library_metrics(recorder):
    return {name: points for name, points in recorder.metrics().items() if name.startswith("library.")}


# --- the recorder is the provider ------------------------------------------------------------------------------


def test_a_recorder_within_another(otelier_spans):
    """What a library took goes on to the outer recorder when the inner one is done, as where a test runs a test."""
    inner = SpanRecorder()
    with as_global_providers(inner):
        TRACER.start_span("inside").end()
    TRACER.start_span("after").end()
    CALLS.add(1)
    assert [span.name for span in inner.spans] == ["inside"]
    assert [span.name for span in otelier_spans.spans] == ["after"]
    assert otelier_spans.metrics()["library.calls"] == [{"attributes": {}, "value": 1}]


@pytest.mark.parametrize("run", ["first test", "second test", "third test"])
def test_what_a_library_took_at_import_follows_each_test(otelier_spans, run):
    """Tracers, loggers and meters that were taken before any provider was set write to the recorder of each test."""
    with TRACER.start_as_current_span("request"):
        TRACER.start_span("work").end()
        LOGGER.emit(body=run)
        CALLS.add(1)
        LEVEL.add(-1)
        TOOK.record(0.5)
        HEAT.set(21)
    assert decorated() == 3
    assert asyncio.run(decorated_async()) == 4
    assert [(span.name, span.context.span_id) for span in otelier_spans.spans] == [
        ("work", 2),
        ("request", 1),
        ("decorated", 3),
        ("decorated async", 4),
    ]
    assert [entry.body for entry in otelier_spans.logs] == [run]
    assert library_metrics(otelier_spans) == {
        "library.calls": [{"attributes": {}, "value": 1}],
        "library.heat": [{"attributes": {}, "value": 21}],
        "library.level": [{"attributes": {}, "value": -1}],
        "library.took": [{"attributes": {}, "count": 1, "sum": 0.5, "min": 0.5, "max": 0.5}],
        "library.watched": [{"attributes": {}, "value": 7}],
    }


HELD = {}


@pytest.mark.parametrize("run", ["first test", "second test"])
def test_what_is_taken_in_one_test_follows_the_next(otelier_spans, run):
    """A library that keeps a tracer, a meter or an instrument it made in a test does not write to the old recorder."""
    if not HELD:
        meter = metrics.get_meter("lazy")
        HELD["tracer"] = trace.get_tracer("lazy")
        HELD["logger"] = _logs.get_logger("lazy")
        HELD["meter"] = meter
        HELD["counter"] = meter.create_counter("library.lazy")
        meter.create_observable_counter("library.seen", [lambda options: [metrics.Observation(3)]])
        meter.create_observable_up_down_counter("library.held", [lambda options: [metrics.Observation(2)]])
    HELD["tracer"].start_span("work").end()
    HELD["counter"].add(1)
    if HELD["logger"].enabled():
        HELD["logger"].emit(body=run)
    assert [span.context.span_id for span in otelier_spans.spans] == [1]
    assert [entry.body for entry in otelier_spans.logs] == [run]
    assert library_metrics(otelier_spans) == {
        "library.held": [{"attributes": {}, "value": 2}],
        "library.lazy": [{"attributes": {}, "value": 1}],
        "library.seen": [{"attributes": {}, "value": 3}],
        "library.watched": [{"attributes": {}, "value": 7}],
    }


def test_the_global_providers_pass_for_the_recorders(otelier_spans):
    """Code that looks at the global providers, or adds to them, meets the recorder's."""
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)
    assert provider == otelier_spans.tracer_provider
    assert provider.force_flush()
    assert metrics.get_meter_provider() == otelier_spans.meter_provider
    assert _logs.get_logger_provider() == otelier_spans.logger_provider


def test_openai_calls_are_recorded_with_their_fields(otelier_spans):
    """openai is instrumented, the fields are stamped, and the ids and times are those of every run."""
    with (
        OpenAIServer() as server,
        openai.OpenAI(base_url=server.base_url, api_key="test") as client,
        otelier.context(user_id="alice", agent="triage"),
    ):
        client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Say this is a test"}]
        )
    assert otelier_spans.tree("user.id", "gen_ai.agent.name", "gen_ai.usage.input_tokens") == (
        "chat gpt-4o-mini CLIENT user.id='alice' gen_ai.agent.name='triage' gen_ai.usage.input_tokens=12"
    )
    span = otelier_spans.find("chat gpt-4o-mini")
    # The clock was asked once before: the agent was registered when it was named.
    assert [entry.event_name for entry in otelier_spans.logs] == ["otelier.agent.registered"]
    assert (span.context.trace_id, span.context.span_id, span.start_time) == (1, 1, 2 * 10**9)
    (duration,) = otelier_spans.metrics()["gen_ai.client.operation.duration"]
    assert (duration["count"], duration["attributes"]["gen_ai.agent.name"]) == (1, "triage")


def test_thread_pools_carry_the_context(otelier_spans):
    """Everything that `init` switches on is on."""
    otelier.init(app="orchestrator")
    with otelier.context(user_id="alice"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: otelier.get_context().user_id).result() == "alice"
    assert otelier.get_agent().name == "orchestrator"


# --- and then it is over ---------------------------------------------------------------------------------------


def test_nothing_is_left_behind(pytester):
    """After a test no provider is set, nothing is patched, no field and no name is there, and ids start anew."""
    pytester.makepyfile(
        """
        import concurrent.futures, openai, otelier, pytest
        from opentelemetry import _logs, metrics, trace

        create = openai.resources.chat.Completions.create

        def pools_carry():
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                pool.submit(int).result()
                with otelier.context(user_id="bob"):
                    return pool.submit(otelier.get_context).result().user_id == "bob"

        @pytest.mark.parametrize("name", ["one", "two"])
        def test_use(otelier_spans, name):
            otelier.init(app=name, env="test")
            otelier.set_context(user_id="alice")
            trace.get_tracer(__name__).start_span("work").end()
            assert otelier.get_agent().name == name
            assert otelier_spans.find("work").context.span_id == 1
            assert pools_carry()
            assert openai.resources.chat.Completions.create is not create

        def test_after():
            assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
            assert "Proxy" in type(metrics.get_meter_provider()).__name__
            assert "Proxy" in type(_logs.get_logger_provider()).__name__
            assert otelier.get_context().user_id is None
            assert otelier.get_agent().name is None
            assert not pools_carry()
            assert openai.resources.chat.Completions.create is create
        """
    )
    pytester.runpytest_subprocess("-W", "error", "-p", "no:randomly").assert_outcomes(passed=3)


def test_an_application_may_set_its_providers_later(pytester):
    """A global provider can still be set once after the tests, and what libraries hold finds it then."""
    pytester.makepyfile(
        """
        from opentelemetry import metrics, trace
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.trace import TracerProvider
        from otelier.testing import SpanRecorder

        TRACER = trace.get_tracer("library")
        COUNTER = metrics.get_meter("library").create_counter("library.calls")
        OWN = []

        def use():
            TRACER.start_span("work").end()
            COUNTER.add(1)

        def test_first(otelier_spans):
            use()
            assert otelier_spans.metrics()["library.calls"] == [{"attributes": {}, "value": 1}]

        def test_nobody():
            use()

        def test_own():
            own = SpanRecorder()
            OWN.append(own)
            trace.set_tracer_provider(own.tracer_provider)
            metrics.set_meter_provider(own.meter_provider)
            use()
            assert trace.get_tracer_provider() is own.tracer_provider
            assert len(own.spans) == 1
            assert own.metrics()["library.calls"] == [{"attributes": {}, "value": 1}]

        def test_again(otelier_spans):
            use()
            assert len(otelier_spans.spans) == 1

        def test_still_own():
            use()
            assert len(OWN[0].spans) == 2
            assert OWN[0].metrics()["library.calls"] == [{"attributes": {}, "value": 2}]
            assert isinstance(trace.get_tracer_provider(), TracerProvider)
            assert isinstance(metrics.get_meter_provider(), MeterProvider)
            assert type(metrics.get_meter_provider()) is MeterProvider
        """
    )
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=5)


def test_a_span_left_open_is_an_error(pytester):
    """A test that forgets to end a span does not pass, and the next one is not harmed."""
    pytester.makepyfile(
        """
        from opentelemetry import trace

        def test_forgets(otelier_spans):
            trace.get_tracer(__name__).start_span("forgotten")

        def test_next(otelier_spans):
            trace.get_tracer(__name__).start_span("ended").end()
            assert otelier_spans.open_spans == ()
        """
    )
    result = pytester.runpytest_subprocess("-W", "error")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*Spans were left open: 'forgotten'. A span that never ends is never exported.*"])


def test_a_fixture_may_end_its_span_after_the_test(otelier_spans):
    """Spans are counted when the test's own fixtures are done: `around` ends its span after this."""
    assert [span.name for span in otelier_spans.open_spans] == ["around the test"]


@pytest.fixture(autouse=True)
def around(request):
    if "otelier_spans" in request.fixturenames:
        request.getfixturevalue("otelier_spans")
        if request.function is test_a_fixture_may_end_its_span_after_the_test:
            with TRACER.start_as_current_span("around the test"):
                yield
            return
    yield


def test_pytest_starts_without_an_sdk():
    """Neither the plugin nor the room loads the SDK, openai or wrapt before a test asks for them."""
    program = (
        "import sys, otelier.testing, otelier.testing._plugin\n"
        "heavy = ('opentelemetry.sdk', 'opentelemetry.proto', 'openai', 'wrapt', 'http.server')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- reset -----------------------------------------------------------------------------------------------------


def test_reset_undoes_what_was_switched_on(caplog):
    """Names, fields, ids' namespace, patches and one-time warnings: a second start is like the first."""

    def start(app):
        recorder = SpanRecorder()
        otelier.init(app=app, tracer_provider=recorder.tracer_provider)
        otelier.set_context(user_id="alice", agent_id="a-1")
        otelier.set_context(agent="late")  # ignored while an id stands, with one warning
        otelier.set_context(agent="later")
        recorder.tracer_provider.get_tracer("tests").start_span("work").end()
        otelier.clear_context()
        with otelier.context(agent="billing"):
            return recorder.find("work").attributes["user.id"], otelier.get_agent().id, otelier.get_agent().source

    with caplog.at_level(logging.WARNING, "otelier"):
        first = start("shop")
        warned = len(caplog.records)
        reset()
        assert otelier.get_agent().name is None
        assert start("shop") == first
        assert len(caplog.records) == 2 * warned == 2
        reset()
        assert start("another shop")[1] != first[1]


def test_reset_takes_out_an_instrumentor_used_alone():
    """The instrumentor comes off also when `init` was never called."""
    create = openai.resources.chat.Completions.create
    OpenAIInstrumentor().instrument()
    assert openai.resources.chat.Completions.create is not create
    reset()
    assert openai.resources.chat.Completions.create is create
    assert not OpenAIInstrumentor().is_instrumented_by_opentelemetry


def test_reset_clears_the_current_context_only_of_ours():
    """The application's own baggage and span stay current."""
    from opentelemetry import baggage
    from opentelemetry.context import attach

    recorder = SpanRecorder()
    attach(baggage.set_baggage("tenant", "acme"))
    with recorder.tracer_provider.get_tracer("tests").start_as_current_span("request") as span:
        otelier.set_context(user_id="alice")
        reset()
        assert baggage.get_all() == {"tenant": "acme"}
        assert trace.get_current_span() is span
        assert otelier.get_context() == otelier.CallContext()
    reset()


# --- drift -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [trace.Tracer, _logs.Logger, metrics.Meter])
def test_every_public_method_of_the_api_is_switched(otelier_spans, kind):
    """A method that OpenTelemetry adds one day must not be lost between the library and the recorder."""
    switched = {
        trace.Tracer: trace.get_tracer("tests"),
        _logs.Logger: _logs.get_logger("tests"),
        metrics.Meter: metrics.get_meter("tests"),
    }[kind]
    public = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
    assert public <= set(vars(type(switched)))


# --- the page --------------------------------------------------------------------------------------------------


def test_the_tests_on_the_page_pass(pytester):
    """The tests that `docs/testing.md` shows run as they stand there."""
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def test_" in block]
    for number, block in enumerate(blocks):
        pytester.path.joinpath(f"test_block_{number}.py").write_text(block, encoding="utf-8")
    tests = sum(block.count("def test_") for block in blocks)
    assert tests >= 3
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=tests)


def test_records_of_logging_are_among_the_logs(otelier_spans, caplog):
    """What a program logs by `logging` is recorded with the fields and the span, from the level it is let through."""
    caplog.set_level(logging.INFO, logger="shop")
    with otelier.context(user_id="alice"), trace.get_tracer("shop").start_as_current_span("request") as span:
        logging.getLogger("shop").info("sold %d", 3, extra={"parcel": 7})
        logging.getLogger("shop").debug("not let through")
    (entry,) = otelier_spans.logs
    assert (entry.body, entry.severity, entry.scope) == ("sold 3", "INFO", "shop")
    assert (entry.attributes["user.id"], entry.attributes["parcel"]) == ("alice", 7)
    assert entry.span_id == f"{span.get_span_context().span_id:016x}"


def test_records_of_instrumented_logging_are_there_once(otelier_spans):
    """Where OpenTelemetry has the records of `logging` already, each is recorded once."""
    handler = _handler(None)
    logging.getLogger().addHandler(handler)
    try:
        logging.getLogger("shop").warning("sold out")
    finally:
        logging.getLogger().removeHandler(handler)
    assert [entry.body for entry in otelier_spans.logs] == ["sold out"]


def test_logging_is_as_it_was_after_the_test(pytester):
    """The fixture's handler goes with the test."""
    pytester.makepyfile(
        """
        import logging

        def handlers():
            return [type(handler).__name__ for handler in logging.getLogger().handlers].count("LoggingHandler")

        def test_first(otelier_spans):
            assert handlers() == 1

        def test_second():
            assert handlers() == 0
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
