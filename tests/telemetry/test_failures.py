"""Facts of an exception, which hold no word of its message."""

from __future__ import annotations

import asyncio
import traceback

import httpx
import openai
import pytest

from otelier.telemetry import errors_in, failure_of, is_leaving, stack_of

REQUEST = httpx.Request("POST", "https://api.example/v1")


def of_status(status, body=None):
    """An error as the client raises it."""
    response = httpx.Response(status, request=REQUEST, headers={"x-request-id": "req_7"})
    return openai.APIStatusError("Alice may not do this", response=response, body=body)


class Odd(Exception):
    """An exception of the application that has the names of a provider's facts, and a property that raises."""

    code, type, param, request_id = "Alice", "Alice", "Alice", "Alice"

    @property
    def status_code(self):
        raise RuntimeError("Alice")


def test_a_providers_error_has_its_facts():
    """HTTP status, code, type and parameter of the provider, and the id of the request."""
    body = {"code": "context_length_exceeded", "type": "invalid_request_error", "param": "messages[0].content"}
    assert failure_of(of_status(400, body)).summary == (
        "openai.APIStatusError (status 400, code context_length_exceeded, type invalid_request_error, "
        "param messages[0].content, request_id req_7)"
    )


@pytest.mark.parametrize("value", ["Alice Liddell", "x" * 200, ["Alice"], {"a": "Alice"}, None, "Alice\n"])
def test_facts_that_are_none_are_left_out(value):
    """A provider may write anything where a code belongs: what has not the form of one is left out."""
    summary = failure_of(of_status(400, {"code": value, "type": value, "param": value})).summary
    assert summary == "openai.APIStatusError (status 400, request_id req_7)"


@pytest.mark.parametrize("name", ["code", "type", "param"])
@pytest.mark.parametrize("value", ["sk-proj-" + "aB3dE6gH9j" * 2, "AKIA" + "ABCDEFGH23456789"], ids=["openai", "aws"])
def test_a_fact_that_is_a_secret_is_redacted(name, value):
    """A key has the form of a code, and a provider may repeat one."""
    summary = failure_of(of_status(400, {name: value})).summary
    assert value not in summary
    assert f"{name} [REDACTED:" in summary


def test_a_request_id_that_is_a_secret_is_redacted():
    """The id of a request comes from a header, which anything between may write."""
    error = of_status(400)
    error.request_id = "AKIA" + "ABCDEFGH23456789"
    assert "request_id [REDACTED:aws-key]" in failure_of(error).summary


def test_a_transport_error_names_the_class_of_its_cause():
    """A cause between is named by its class, without a word of its message."""
    error = openai.APIConnectionError(request=REQUEST)
    error.__cause__ = httpx.ConnectError("to Alice")
    assert failure_of(error).summary == "openai.APIConnectionError (cause httpx.ConnectError)"


def test_an_application_may_call_its_attributes_as_it_likes():
    """Only an error of the client has a provider's facts."""
    assert failure_of(Odd("Alice")).summary == f"{__name__}.Odd"


def test_an_exception_that_is_made_oddly():
    """An exception of a class without a module, as code that makes classes may give, has its name and no facts."""
    failure = failure_of(type("OddError", (Exception,), {"__module__": None})("Alice"))
    assert (failure.type, failure.facts) == ("OddError", ())


def test_http_errors_of_others_have_their_status():
    """The status of a response is a number, whoever raises it."""
    error = httpx.HTTPStatusError("Alice", request=REQUEST, response=httpx.Response(404, request=REQUEST))
    assert failure_of(error).summary == "httpx.HTTPStatusError (status 404)"


def test_a_group_names_what_it_holds():
    """Of an exception group the classes of its members are named."""
    group = Exception("Alice")
    group.exceptions = (ValueError("Alice"), KeyError("Alice"), "no exception")
    assert failure_of(group).summary == "Exception (of ValueError, KeyError)"
    assert "holds KeyError" in stack_of(group)


def test_a_stack_has_places_and_no_words():
    """File, line and function of each frame, of causes too, and nothing of any message."""

    def inner(name):
        raise KeyError(name)

    try:
        try:
            inner("Alice")
        except KeyError as exc:
            raise ValueError("Alice") from exc
    except ValueError as exc:
        lines = stack_of(exc).splitlines()
        assert "Alice" in traceback.format_exc()
    assert lines[0] == "ValueError"
    assert lines[2] == "caused by KeyError"
    assert lines[-1].startswith(f'  File "{__file__}", line ')
    assert lines[-1].endswith(", in inner")
    assert "Alice" not in "".join(lines)


def test_a_long_stack_is_cut():
    """Endless recursion is shown by its last frames."""

    def deeper():
        deeper()

    with pytest.raises(RecursionError) as raised:
        deeper()
    assert len(stack_of(raised.value).splitlines()) < 70


def group_of(*members):
    """A group as packages make them for Python 3.10."""
    group = Exception("Alice")
    group.exceptions = members
    return group


def test_an_exception_is_named_once():
    """Groups that share their members, hold themselves or are their own cause cost no more lines than exceptions."""
    shared = ValueError("Alice")
    for _ in range(6):
        shared = group_of(*[shared] * 8)
    shared.exceptions += (shared,)
    shared.__cause__ = shared
    assert stack_of(shared).splitlines() == ["Exception", *["holds Exception"] * 5, "holds ValueError"]


def test_the_stack_of_a_group_has_a_bound():
    """However wide and deep a group is, a stack has 512 lines, and says that it was cut."""
    wide = group_of(*[KeyError("Alice") for _ in range(100_000)])
    deep = ValueError("Alice")
    for _ in range(5_000):
        deep = group_of(deep)
    for group in (wide, deep):
        lines = stack_of(group).splitlines()
        assert len(lines) == 513
        assert lines[-1] == "[cut: the lines after these]"
    assert len(errors_in(wide)) == 9_999
    assert [error.args for error in errors_in(deep)] == [("Alice",)]
    assert failure_of(wide).summary == "Exception (of " + ", ".join(["KeyError"] * 8) + " and 99992 more)"


@pytest.mark.parametrize("package", ["trio", "greenlet"])
def test_other_schedulers_cancel_too(package):
    """What trio and greenlet raise where nobody waits any more is no failure, either."""
    name = {"trio": "Cancelled", "greenlet": "GreenletExit"}[package]
    kind = type(name, (BaseException,), {"__module__": f"{package}._core"})
    assert is_leaving(kind())
    assert not is_leaving(type(name, (Exception,), {"__module__": "app"})())


@pytest.mark.parametrize(
    ("error", "leaves"),
    [(asyncio.CancelledError(), True), (GeneratorExit(), True), (KeyboardInterrupt(), False), (None, False)],
)
def test_who_leaves(error, leaves):
    """A cancelled task and a closed generator leave; an interrupted program does not."""
    assert is_leaving(error) is leaves
