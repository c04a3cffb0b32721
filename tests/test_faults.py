"""The guard: a fault of ours is told once, counted always, and never reaches the program."""

from __future__ import annotations

import ast
import logging
import threading
from pathlib import Path

import pytest
from opentelemetry import metrics

import otelier
from otelier import names
from otelier.faults import MAX_PLACES, count_fault, on_reset, report_fault, run_resets, warn_once
from otelier.telemetry import report_total
from otelier.telemetry._losses import count_lost
from otelier.testing import SpanRecorder
from tests.telemetry.metering import run


def fault(kind=ValueError, message="it says: my prompt"):
    try:
        raise kind(message)
    except kind as exc:
        return exc


def test_a_fault_is_logged_once_per_place_and_type(quiet_faults, caplog):
    """The same fault in the same place is told once; another type or another place is told too."""
    for place, kind in [("a", ValueError), ("a", ValueError), ("a", KeyError), ("b", ValueError), ("b", ValueError)]:
        report_fault(place, fault(kind))
    assert len(caplog.records) == 3
    assert {(record.name, record.levelname) for record in caplog.records} == {("otelier", "ERROR")}


def test_a_fault_is_logged_with_its_traceback_and_without_its_message(quiet_faults, caplog):
    """Where it happened and its class are told; the message may hold a prompt and is not."""
    report_fault("telemetry.test", fault())
    assert "telemetry.test" in caplog.text
    assert "ValueError" in caplog.text
    assert "in fault" in caplog.text
    assert "my prompt" not in caplog.text


def test_a_fault_without_traceback_is_logged(quiet_faults, caplog):
    """An exception that was never raised has no frames, and is told all the same."""
    report_fault("telemetry.test", ValueError())
    assert "no traceback" in caplog.text


def test_faults_are_counted_by_place():
    """`otelier.internal.errors` counts each fault of a bounded set of places, also with a provider set late."""
    printed = run(
        f"""
        import logging
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from otelier.faults import report_fault

        logging.getLogger("otelier").addHandler(logging.NullHandler())
        logging.getLogger("otelier").propagate = False
        report_fault("before", ValueError())
        reader = InMemoryMetricReader()
        metrics.set_meter_provider(MeterProvider([reader]))
        for _ in range(3):
            report_fault("telemetry.test", ValueError())
        for number in range(200):
            report_fault(f"place {{number}}", ValueError())
        data = reader.get_metrics_data()
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        values = {{point.attributes["{names.FAULT_PLACE}"]: point.value for point in metric.data.data_points}}
        print(metric.name, values["telemetry.test"], len(values), sum(values.values()))
        """
    )
    assert printed == f"{names.INTERNAL_ERRORS} 3 128 203"


def test_faults_are_counted_with_the_provider_that_was_given(quiet_faults):
    """`otelier.internal.errors` goes to the meter provider of `init`, as our other metrics do, from then on."""
    report_fault("before", fault())
    for _ in range(2):
        recorder = SpanRecorder()
        otelier.init(tracer_provider=recorder.tracer_provider, meter_provider=recorder.meter_provider)
        report_fault("telemetry.test", fault())
        points = [point for point in recorder.metric_points if point.name == names.INTERNAL_ERRORS]
        assert [(point.attributes[names.FAULT_PLACE], point.value) for point in points] == [("telemetry.test", 1)]


def test_our_own_tests_see_every_fault():
    """`raise_faults(True)` raises what is reported."""
    exc = fault()
    with pytest.raises(ValueError, match="my prompt") as caught:
        report_fault("telemetry.test", exc)
    assert caught.value is exc


def test_a_failing_log_handler_stops_nothing(quiet_faults, monkeypatch):
    """Neither a fault nor a warning nor a loss raises when logging itself fails."""
    tried = []

    class Failing(logging.Handler):
        def emit(self, record):
            tried.append(record.levelname)
            raise OSError("disk full")

    monkeypatch.setattr(logging.getLogger("otelier"), "handlers", [Failing()])
    report_fault("telemetry.test", fault())
    warn_once("test", "disk %s", "full")
    count_lost("traces", "queue_full", 3, "DocsExporter")
    report_total()
    assert tried == ["ERROR", "WARNING", "WARNING", "WARNING"]


def test_a_failing_meter_stops_nothing(quiet_faults, monkeypatch, caplog):
    """A fault is logged though it cannot be counted."""

    def broken(*_):
        raise RuntimeError("no meter")

    monkeypatch.setattr(metrics, "get_meter", broken)
    report_fault("telemetry.test", fault())
    assert len(caplog.records) == 1


def test_a_handler_that_reports_a_fault_does_not_recurse(quiet_faults, monkeypatch):
    """A handler of ours that fails while it is told of a fault ends there."""
    seen = []

    class Ours(logging.Handler):
        def emit(self, record):
            seen.append(record)
            report_fault("telemetry.handler", fault(KeyError))
            count_fault("telemetry.handler")

    monkeypatch.setattr(logging.getLogger("otelier"), "handlers", [Ours()])
    report_fault("telemetry.test", fault())
    assert len(seen) == 1


def test_a_warning_comes_once_per_key(caplog):
    """One WARNING per process and key, from eight threads at once too."""
    threads = [threading.Thread(target=warn_once, args=("key", "%s gave way.", "it")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    warn_once("other key", "%s gave way.", "that")
    assert sorted(record.getMessage() for record in caplog.records) == ["it gave way.", "that gave way."]
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_warnings_have_a_bound(caplog):
    """A key made of values by mistake cannot fill memory or the log."""
    for number in range(1_000):
        warn_once(f"key {number}", "again")
    assert len(caplog.records) == 256


def test_a_reset_forgets_what_was_told(caplog):
    """After a reset a test sees its own warning."""
    warn_once("key", "once")
    run_resets()
    warn_once("key", "once")
    assert len(caplog.records) == 2


def test_rooms_are_reset_youngest_first(monkeypatch):
    """A room that stands on another is undone before it; `on_reset` returns the callback."""
    monkeypatch.setattr("otelier.faults._resets", [])
    order = []
    for room in ("lower", "upper"):
        assert on_reset(callback := lambda room=room: order.append(room)) is callback
    run_resets()
    assert order == ["upper", "lower"]


def test_the_guard_loads_no_sdk_and_no_metrics():
    """The context rooms need the guard alone, and it is part of what `import otelier` costs."""
    printed = run(
        """
        import sys
        from otelier.faults import MAX_PLACES, on_reset, report_fault, warn_once
        print([name for name in sys.modules if name.startswith("opentelemetry")])
        """
    )
    assert printed == "[]"


def test_the_room_asks_for_the_api_only():
    """Nothing of the signals room loads the SDK, openai or wrapt."""
    printed = run(
        """
        import sys
        import otelier.telemetry
        for name in otelier.telemetry.__all__:
            getattr(otelier.telemetry, name)
        print([name for name in ("opentelemetry.sdk", "wrapt", "openai") if name in sys.modules])
        """
    )
    assert printed == "[]"


SOURCE = Path(otelier.__file__).parent
CALLS = {"report_fault", "count_fault", "warn_once", "attempt"}


def places_in(path):
    """The places and keys that a module writes as literals, also as the beginning of one."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in CALLS and node.args:
                yield from ((node.func.id, one) for one in literals_in(node.args[0]))
            for keyword in node.keywords:
                if keyword.arg == "place":
                    yield from (("Patches", one) for one in literals_in(keyword.value))


def literals_in(node):
    """Texts of a literal, or the beginnings of a formatted one."""
    first = node.values[0] if isinstance(node, ast.JoinedStr) else node
    return [first.value] if isinstance(first, ast.Constant) and isinstance(first.value, str) else []


def test_every_place_begins_with_its_package():
    """A place, and a warning's key, names the package that caught the fault, then the job; the places are few."""
    counted = set()
    for path in sorted(set(SOURCE.rglob("*.py")) - {SOURCE / "faults.py"}):
        package = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for call, place in places_in(path):
            room, _, job = place.partition(".")
            assert room == package, f"{path}: {place}"
            assert job or place.endswith(".") or call == "Patches", f"{path}: {place}"
            if call == "Patches":
                counted |= {f"{place}.patch", f"{place}.import_hook"}
            elif call != "warn_once":
                counted.add(place)
    assert len(counted) > 30
    assert len(counted) < MAX_PLACES, sorted(counted)
