"""A tool that fails: what the model is told, and where its author finds the place."""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import sys
import threading

import pytest
from opentelemetry.sdk.trace import SpanProcessor

import otelier
from otelier import RunContext, tool
from otelier.agents import _telemetry
from otelier.errors import AgentLimitError, ToolError
from otelier.interceptors import StopExecution

SECRET = "postgres://user:hunter2@db/x"
KINDS = pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])


class MembersError(Exception):
    """A group as packages make them for Python 3.10."""

    def __init__(self, message, exceptions):
        super().__init__(message)
        self.exceptions = tuple(exceptions)


def raising(error, *, is_async=False, **options):
    """A tool called `work` that raises *error*."""

    @tool(name="work", **options)
    def work() -> str:
        raise error

    @tool(name="work", **options)
    async def work_async() -> str:
        raise error

    return work_async if is_async else work


def told_by(model, made):
    """What the model is told of one call."""
    model.says([("work", {})], "Done.")
    result = model.agent(made).run("Go").wait()
    assert result.output == "Done."
    return result.tool_calls[0]


@KINDS
def test_the_model_is_told_class_and_redacted_message(model, is_async):
    """No secret of a message reaches the model; the error itself stands in the result, unchanged."""
    call = told_by(model, raising(KeyError(SECRET), is_async=is_async))
    assert call.result == "Error: KeyError: 'postgres://user:[REDACTED:password]@db/x'"
    assert call.error.args == (SECRET,)


@KINDS
def test_bytes_in_a_message_reach_nobody(model, otelier_spans, capture_content, is_async):
    """Neither the model, nor the span, nor the log record has more of them than type, size and hash."""
    capture_content("span_and_event")
    image = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4).decode()
    call = told_by(model, raising(ValueError(f"bad data:image/png;base64,{image}"), is_async=is_async))
    (entry,) = [one for one in otelier_spans.logs if one.event_name == "otelier.tool.failed"]
    span = otelier_spans.find("execute_tool work")
    for told in (call.result, entry.attributes["exception.message"], span.status.description):
        assert "[bytes: image/png, size 1032, sha256:" in told
        assert image[:60] not in told


@KINDS
def test_one_log_record_has_the_stack_and_no_word_of_the_message(model, otelier_spans, is_async):
    """It is an ERROR in the trace of the run, in the call's span, with class, file, line and function of each frame."""
    told_by(model, raising(KeyError(f"canary {SECRET}"), is_async=is_async))
    (entry,) = [one for one in otelier_spans.logs if one.event_name == "otelier.tool.failed"]
    span = otelier_spans.find("execute_tool work")
    assert (entry.severity, entry.body) == ("ERROR", "Tool 'work' raised KeyError.")
    assert (entry.trace_id, entry.span_id) == (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}")
    assert entry.attributes["exception.type"] == "KeyError"
    assert entry.attributes["gen_ai.tool.name"] == "work"
    assert entry.attributes["gen_ai.agent.name"] == "triage"
    function = "work_async" if is_async else "work"
    assert entry.attributes["exception.stacktrace"].splitlines()[-1].endswith(f", in {function}")
    assert __file__ in entry.attributes["exception.stacktrace"]
    assert "canary" not in repr(otelier_spans.logs)
    assert "canary" not in repr(otelier_spans.records)


def test_with_content_on_the_record_has_the_message_redacted(model, otelier_spans, capture_content):
    """Whoever may see content sees what went wrong, without secrets."""
    capture_content("EVENT_ONLY")
    told_by(model, raising(KeyError(SECRET)))
    (entry,) = [one for one in otelier_spans.logs if one.event_name == "otelier.tool.failed"]
    assert entry.attributes["exception.message"] == "'postgres://user:[REDACTED:password]@db/x'"


def test_what_the_model_does_wrong_is_no_failure_of_a_tool(model, otelier_spans):
    """Unknown names and arguments that do not fit are told to the model, and leave no record."""
    model.says([("work", {"a": 1}), ("nothing", {}), ("work", "{")], "Done.")
    model.agent(raising(ValueError(), on_error=lambda error: "asked")).run("Go").wait()
    assert "asked" not in repr(model.told())
    assert [one for one in otelier_spans.logs if one.event_name == "otelier.tool.failed"] == []


async def said_later(error):
    return f"later: {type(error).__name__}"


ANSWERS = {
    "text": (lambda error: f"No luck: {type(error).__name__}", "No luck: KeyError"),
    "data": (lambda error: {"failed": True}, '{"failed":true}'),
    "async": (said_later, "later: KeyError"),
    "nothing": (lambda error: None, "Error: KeyError: 'gone'"),
}


@KINDS
@pytest.mark.parametrize(("on_error", "told"), ANSWERS.values(), ids=ANSWERS)
def test_on_error_says_what_the_model_is_told(model, otelier_spans, on_error, told, is_async):
    """In place of class and message; the call has failed all the same."""
    call = told_by(model, raising(KeyError("gone"), is_async=is_async, on_error=on_error))
    assert (call.result, type(call.error)) == (told, KeyError)
    assert otelier_spans.find("execute_tool work").attributes["error.type"] == "KeyError"


def test_on_error_of_a_method_and_of_a_tool_that_takes_too_long(model):
    """It goes with the tool to the object it is bound to, and is asked about a timeout, too."""

    class Shop:
        @tool(name="work", timeout_s=0.05, on_error=lambda error: type(error).__name__)
        async def work(self, ctx: RunContext) -> str:
            await asyncio.Event().wait()

    assert told_by(model, Shop().work).result == "TimeoutError"


def test_on_error_may_stop_the_run(model):
    """By `StopExecution`, as a tool may."""

    def stops(error):
        raise StopExecution("We are closed.")

    model.says([("work", {})])
    assert model.agent(raising(KeyError("x"), on_error=stops)).run("Go").output == "We are closed."


def test_on_error_that_fails_is_a_failure_itself(model, otelier_spans):
    """The model is told of it, and both leave a record."""

    def fails(error):
        raise TypeError("not so")

    assert told_by(model, raising(KeyError("x"), on_error=fails)).result == "Error: TypeError: not so"
    failed = [one.attributes["exception.type"] for one in otelier_spans.logs if one.event_name == "otelier.tool.failed"]
    assert failed == ["KeyError", "TypeError"]


def exits_over(error):
    sys.exit(3)


async def exits_later_over(error):
    sys.exit(3)


def hands_on_an_exit(error):
    return exits_later_over(error)


async def gives_up(error):
    raise asyncio.CancelledError


async def cancels_itself(error):
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


LEAVING = {
    "exit": (exits_over, SystemExit),
    "async exit": (exits_later_over, SystemExit),
    "exit in what it returns": (hands_on_an_exit, SystemExit),
    "cancellation": (gives_up, asyncio.CancelledError),
    "own cancellation": (cancels_itself, asyncio.CancelledError),
}


@KINDS
@pytest.mark.parametrize(("on_error", "kind"), LEAVING.values(), ids=LEAVING)
def test_on_error_that_exits_or_cancels_ends_neither_loop_nor_run(model, otelier_spans, on_error, kind, is_async):
    """Its failure counts as a tool's: the model is told, and nobody else is cancelled."""
    call = told_by(model, raising(KeyError("x"), is_async=is_async, on_error=on_error))
    assert (call.result.split(": ")[1], type(call.error)) == (kind.__name__, kind)
    assert otelier_spans.find("execute_tool work").attributes["error.type"].endswith(kind.__name__)


def test_on_error_of_a_plain_function_leaves_the_loop_free(model):
    """It has a thread like a plain tool, in the context of the call, and may wait there for the loop."""
    seen = []

    async def main():
        loop, free = asyncio.get_running_loop(), threading.Event()

        def waits(error):
            loop.call_soon_threadsafe(free.set)
            seen.append((otelier.get_context().user_id, free.wait(60)))
            return "The loop went on."

        with otelier.context(user_id="alice"):
            return await model.agent(raising(KeyError("x"), on_error=waits)).run("Go")

    model.says([("work", {})], "Done.")
    assert asyncio.run(main()).tool_calls[0].result == "The loop went on."
    assert seen == [("alice", True)]


def test_on_error_may_delegate(model):
    """A plain one waits in its thread for another agent's run, as a plain tool may."""
    helper = model.agent(name="helper")
    model.says([("work", {})], "Try again.", "Done.")
    made = raising(KeyError("x"), on_error=lambda error: helper.run("What now?").output)
    result = model.agent(made, max_parallel_tools=1).run("Go").wait()
    assert (result.output, result.tool_calls[0].result) == ("Done.", "Try again.")


def test_on_error_that_reaches_a_limit_of_all_runs(model):
    """It ends the run, as in a tool: or the runs around it would ask without end."""
    helper = model.agent(name="helper")
    model.says([("work", {})])
    made = raising(KeyError("x"), on_error=lambda error: helper.run("What now?").output)
    with pytest.raises(AgentLimitError, match="max_model_calls=1"):
        model.agent(made, max_model_calls=1).run("Go").wait()


def test_on_error_that_is_no_function():
    """An error where it is written."""
    with pytest.raises(ToolError, match="`on_error` of tool 'work' is a str: it must be a function"):
        raising(KeyError(), on_error="sorry")


def test_a_group_names_what_failed_inside(model, otelier_spans):
    """Model and record are told of the members, and of those of groups in it."""
    group = MembersError("2 of them", [KeyError(SECRET), MembersError("1 of it", [ValueError("b")])])
    call = told_by(model, raising(group))
    assert call.result == (
        "Error: MembersError: 2 of them [KeyError: 'postgres://user:[REDACTED:password]@db/x'; ValueError: b]"
    )
    (entry,) = [one for one in otelier_spans.logs if one.event_name == "otelier.tool.failed"]
    assert "KeyError" in entry.attributes["exception.stacktrace"]


class WordedError(Exception):
    """An error that says when it is made text."""

    asked = 0

    def __str__(self):
        WordedError.asked += 1
        return "worded"


@KINDS
def test_a_group_of_any_shape_is_told(model, is_async):
    """A group that holds itself, or hundreds of groups in one another, ends no run; what is told is made text only."""
    deep = MembersError("inside", [ValueError("b")])
    for _ in range(600):
        deep = MembersError("outside", [deep])
    assert told_by(model, raising(deep, is_async=is_async)).result == ("Error: MembersError: outside [ValueError: b]")
    own = MembersError("own", [])
    own.exceptions = (own,)
    assert told_by(model, raising(own, is_async=is_async)).result == "Error: MembersError: own"
    wide = MembersError("wide", [WordedError() for _ in range(1_000)])
    before = WordedError.asked
    assert told_by(model, raising(wide, is_async=is_async)).result.endswith("; and 992 more]")
    assert WordedError.asked - before == 8


@KINDS
def test_a_stop_is_found_however_deep(model, is_async):
    """A stop inside hundreds of groups ends the run with its own result."""
    deep = StopExecution("enough")
    for _ in range(600):
        deep = MembersError("outside", [KeyError("a"), deep])
    model.says([("work", {})], "Done.")
    assert model.agent(raising(deep, is_async=is_async)).run("Go").wait().output == "enough"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="task groups came with Python 3.11")
def test_a_task_group_names_what_failed_inside(model):
    """As asyncio's own groups do not."""

    async def fails():
        raise KeyError("a")

    @tool(name="work")
    async def work() -> str:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())

    assert told_by(model, work).result.endswith("(1 sub-exception) [KeyError: 'a']")


def parses() -> str:
    argparse.ArgumentParser(exit_on_error=True).parse_args(["--unknown"])
    return ""


def exits() -> str:
    sys.exit("bye")


@pytest.mark.parametrize("timeout_s", [None, 30])
@KINDS
@pytest.mark.parametrize(("function", "told"), [(exits, "bye"), (parses, "2")], ids=["sys.exit", "argparse"])
def test_a_tool_that_exits_fails(model, otelier_spans, function, told, is_async, timeout_s):
    """Neither the loop nor the program ends: the model is told, and the loop serves other runs."""

    async def async_one() -> str:
        return function()

    made = tool(name="work", timeout_s=timeout_s)(async_one if is_async else function)

    async def main():
        model.says([("work", {})], "Done.")
        result = await model.agent(made).run("Go")
        await asyncio.sleep(0)
        return result

    result = asyncio.run(main())
    assert (result.output, result.tool_calls[0].result) == ("Done.", f"Error: SystemExit: {told}")
    assert type(result.tool_calls[0].error) is SystemExit
    assert otelier_spans.find("execute_tool work").attributes["error.type"] == "SystemExit"


def test_a_tool_that_exits_in_what_it_returns(model):
    """A plain tool that hands on a coroutine has the same."""

    async def later():
        sys.exit(3)

    assert told_by(model, tool(name="work")(lambda: later())).result == "Error: SystemExit: 3"


@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize("timeout_s", [None, 30])
def test_a_tool_that_cancels_its_own_task_cancels_nothing_else(model, awaits, timeout_s):
    """The model is told; neither the run nor who waits for it is cancelled."""

    @tool(name="work", timeout_s=timeout_s)
    async def work() -> str:
        asyncio.current_task().cancel()
        if awaits:
            await asyncio.sleep(0)
        return "done"

    async def main():
        model.says([("work", {})], "Done.")
        return await model.agent(work).run("Go")

    result = asyncio.run(main())
    assert (result.output, result.tool_calls[0].result) == ("Done.", "Error: CancelledError: ")


def test_a_tool_that_fails_after_its_timeout_is_not_logged(model, caplog):
    """asyncio logs the message of an error that nobody looks at; here somebody does."""

    @tool(name="work", timeout_s=0.05)
    async def work() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("canary")

    @tool(name="work", timeout_s=0.05)
    async def stays() -> str:
        with contextlib.suppress(asyncio.CancelledError):  # and does so once more, at the end of the loop
            await asyncio.Event().wait()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        raise ValueError("canary")

    for made in (work, stays):
        assert told_by(model, made).result == "Error: TimeoutError: It took more than 0.05 s."
    assert "canary" not in caplog.text


def test_a_failed_tool_is_told_where_logs_go_to(model, otelier_spans):
    """`init(logger_provider=)` holds for it as for all records."""
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

    provider, exporter = LoggerProvider(shutdown_on_exit=False), InMemoryLogRecordExporter()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    otelier.init(app="shop", logger_provider=provider)
    told_by(model, raising(KeyError("x")))
    names = [one.log_record.event_name for one in exporter.get_finished_logs()]
    assert "otelier.tool.failed" in names


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("at", ["execute_tool work", "invoke_agent triage"])
def test_an_exit_in_a_span_processor_reaches_whoever_waits_for_the_run(model, otelier_spans, at, streams):
    """It does not end the loop out of a call's task, or a stream's."""

    class Exits(SpanProcessor):
        def on_end(self, span):
            if span.name == at:
                sys.exit(3)

    async def drained(events):
        async for _ in events:
            pass

    async def main():
        agent = model.agent(tool(name="work")(lambda: "done"))
        with pytest.raises(SystemExit, match="3"):
            await (drained(agent.stream("Go")) if streams else agent.run("Go"))
        await asyncio.sleep(0)
        return "went on"

    otelier_spans.tracer_provider.add_span_processor(Exits())
    model.says([("work", {}), ("work", {})], "Done.")
    assert asyncio.run(main()) == "went on"


def test_a_fault_in_telling_of_a_failure(model, monkeypatch, quiet_faults, caplog):
    """A fault of ours in the event of a failed call costs the event; the model is told of the failure."""

    def broken(*_args, **_kwargs):
        raise LookupError

    monkeypatch.setattr(_telemetry, "emit_event", broken)

    @tool
    def fails() -> str:
        raise ValueError("nothing there")

    model.says([("fails", {})], "Done.")
    assert model.agent(fails).run("Go").output == "Done."
    assert "nothing there" in model.told()[0]
    assert "agents.failures" in caplog.text
