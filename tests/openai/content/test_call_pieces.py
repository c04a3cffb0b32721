"""Pieces of streamed tool calls: which of them are one call."""

from __future__ import annotations

import pytest

from otelier.openai import CallPieces


@pytest.mark.parametrize(
    ("before", "piece", "is_another"),
    [
        ([("c-1", "search", "{}")], ("c-1", "search"), False),
        ([("c-1", "search", "")], ("c-2", "search"), True),
        ([("c-1", "search", "{}")], (None, ""), False),
        ([(None, "search", "{}")], (None, ""), False),
        ([(None, "search", "")], (None, "search"), False),
        ([(None, "search", "")], (None, "look_up"), True),
        ([(None, "search", '{"a": ["}"')], (None, "search"), False),
        ([(None, "search", '{"a": ["}"'), (None, "", "]} ")], (None, "search"), True),
        ([(None, "search", '{"a": "\\'), (None, "", '"}')], (None, "search"), False),
        ([(None, "search", '{"a": "\\\\'), (None, "", '"}')], (None, "search"), True),
        ([(None, "run_sql", "SELECT f(x[1])")], (None, "run_sql"), False),
    ],
)
def test_what_begins_another_call(before, piece, is_another):
    """Another id does, or without ids another name, or the name once more behind an object that is closed."""
    pieces = CallPieces()
    for one in before:
        pieces.add(*one)
    assert pieces.end_before(*piece) is is_another
    assert pieces.end_before(*piece) is is_another  # asked again


def test_each_piece_is_looked_at_once():
    """However many pieces repeat the name, none is looked at again: the consumer's loop waits for it."""
    looked_at = 0

    class Counting(list[str]):
        def __getitem__(self, key):
            nonlocal looked_at
            found = super().__getitem__(key)
            looked_at += len(found)
            return found

    pieces = CallPieces()
    pieces.written = Counting()
    for _ in range(100):
        assert not pieces.end_before(None, "search")
        pieces.add(None, "search", '["}"')
    assert looked_at == 99
