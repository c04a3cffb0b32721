"""The tree of errors: one base, standard parents, facts as attributes."""

from __future__ import annotations

import inspect
import pickle

import pytest

from otelier import errors
from otelier.errors import OtelierError

ALL = [error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, Exception)]
each_error = pytest.mark.parametrize("error", ALL)


@each_error
def test_one_except_covers_all(error):
    """Whatever otelier raises on purpose is an `OtelierError`."""
    assert issubclass(error, OtelierError)


def test_the_errors_of_a_subject_have_one_parent():
    """One `except` covers what goes wrong with models, or with agents, and leaves the others."""
    of_llm = {error for error in ALL if issubclass(error, errors.LlmError)} - {errors.LlmError}
    assert of_llm == {
        *(errors.AnswerError, errors.RefusalError, errors.UnfinishedAnswerError),
        *(errors.ToolArgumentsError, errors.UnknownToolError, errors.ClientUseError),
    }
    assert not any(issubclass(error, errors.AgentError) for error in of_llm)


@each_error
def test_the_tree_in_the_docstring_is_complete(error):
    """The picture at the top of the module shows every error, beside its standard parent or below its own."""
    (line,) = [
        line for line in (errors.__doc__ or "").splitlines() if f" {error.__name__} " in f" {line.strip('│├└─ ')} "
    ]
    for parent in error.__bases__:
        assert parent is Exception or issubclass(parent, OtelierError) or f"({parent.__name__})" in line


@each_error
def test_every_error_is_documented(error):
    """A handler reads what happened and what the error keeps."""
    assert error.__doc__
    taken = inspect.signature(error.__init__).parameters.values()
    for fact in (parameter.name for parameter in taken if parameter.kind is parameter.KEYWORD_ONLY):
        assert f"{fact}:" in error.__doc__


def test_facts_stand_on_the_error():
    """Handlers need no regular expression."""
    error = errors.ContextValueError("too long", field="user_id", reason="a long text")
    assert (error.field, error.reason) == ("user_id", "a long text")
    assert errors.SettingError("unreadable", setting="OTELIER_APP").setting == "OTELIER_APP"
    assert errors.MissingExtraError("not installed", extra="cli").extra == "cli"
    assert errors.ToolArgumentsError("no JSON", tool="search", call_id="call_1").tool == "search"
    assert errors.UnknownToolError("unknown", tool="search").tool == "search"
    assert errors.AnswerError("no JSON", problems=["age: missing"]).problems == ("age: missing",)
    assert str(errors.MissingExtraError("not installed", extra="cli")) == "not installed"


@each_error
def test_errors_cross_processes(error):
    """A pickled error is the same error again, with its message and its facts."""
    taken = inspect.signature(error.__init__).parameters.values()
    facts = {one.name: ("a",) for one in taken if one.kind is one.KEYWORD_ONLY}
    made = error("what happened", **facts)
    again = pickle.loads(pickle.dumps(made))
    assert (type(again), str(again), vars(again)) == (error, str(made), vars(made))
    assert vars(again) == facts
