"""A scripted model for every test of this folder."""

from __future__ import annotations

from tests.scripted import model  # noqa: F401 -- a fixture
