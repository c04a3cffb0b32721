"""Workflows: code that goes on where it was after a crash, and tells one trace of it."""

__all__: list[str] = []
